"""The data step of a recipe: manifests of its splits, made from the corpus where they are missing."""

import sys
from pathlib import Path

from asr.corpora.fetch import FetchOptions, fetch, mirrors_from
from asr.corpora.librispeech import check_subsets, prepare_librispeech
from asr.corpora.progress import Reporter
from asr.corpora.synthetic import prepare_synthetic
from asr.errors import UsageError
from asr.training.config import DataConfig


def prepare(data: DataConfig) -> dict[str, tuple[Path, ...]]:
    """Manifests of the splits "train", "dev" and "test"; those of a corpus are made where missing.

    Raises:
        UsageError: a corpus that is not known, or nothing for training or development; "test" may be
            empty.
    """
    names: dict[str, list[str]] = {"train": data.train, "dev": data.dev, "test": data.test}
    for split, chosen in names.items():
        if not chosen and split != "test":
            raise UsageError(f"data.{split} is empty: name subsets or manifests")
    if data.corpus == "manifests":
        return {split: tuple(map(Path, chosen)) for split, chosen in names.items()}
    folder = Path(data.manifest_dir)
    if data.corpus == "librispeech":
        _librispeech(data, sorted({name for chosen in names.values() for name in chosen}), folder)
    elif data.corpus == "synthetic":
        sizes = data.sizes
        print(f"data: synthetic speech in {folder}: nothing to download", file=sys.stderr)
        corpus = prepare_synthetic(folder, train=sizes.train, dev=sizes.dev, test=sizes.test)
        done = "found" if corpus.reused else "spoke"
        print(f"{done} the synthetic corpus in {folder}", file=sys.stderr)
    else:
        raise UsageError(
            f"data.corpus must be librispeech, synthetic or manifests, not {data.corpus!r}"
        )
    return {
        split: tuple(folder / f"{name}.jsonl" for name in chosen) for split, chosen in names.items()
    }


def _librispeech(data: DataConfig, subsets: list[str], folder: Path) -> None:
    """Manifests of `subsets` in `folder`; what is missing is made, of audio that is fetched first."""
    missing = [name for name in subsets if not (folder / f"{name}.jsonl").is_file()]
    if not missing:
        return
    check_subsets(missing)
    if data.download:
        mirrors = mirrors_from([data.mirror] if data.mirror else [])
        fetch(data.data_dir, missing, FetchOptions(mirrors, data.remove_archives), Reporter())
    for subset in prepare_librispeech(data.data_dir, missing, folder):
        print(
            f"prepared {subset.manifest}: {subset.num_utterances} utterances, "
            f"{subset.duration_s / 3600:.2f} h, {len(subset.problems)} problems",
            file=sys.stderr,
        )
