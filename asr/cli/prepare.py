"""`asr prepare`: audio and transcripts -> manifests."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import layouts

if TYPE_CHECKING:
    from asr.corpora.librispeech import PreparedSubset

_MAX_PROBLEMS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Turn a corpus into manifests.", no_args_is_help=True)
    group.command("librispeech")(librispeech)
    group.command("synthetic")(synthetic)
    layouts.register(group)
    app.add_typer(group, name="prepare")


def librispeech(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Subsets (train-clean-5, train-clean-100, ..., dev-clean, test-other) and files of "
            "language models (3-gram.pruned.1e-7.arpa.gz, librispeech-lexicon.txt, ...).",
        ),
    ] = None,
    subset: Annotated[
        list[str] | None, typer.Option("--subset", "-s", help="The same as NAME.")
    ] = None,
    data_dir: Annotated[
        Path,
        typer.Option(
            envvar="ASR_DATA",
            help="Folder that holds LibriSpeech/ or the subsets, or where they are put.",
        ),
    ] = Path("data"),
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the manifests.")] = Path(
        "data/librispeech"
    ),
    download: Annotated[bool, typer.Option(help="Download what is missing from OpenSLR.")] = True,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            help="Server to download from, like https://openslr.elda.org/resources; may be repeated."
        ),
    ] = None,
    remove_archives: Annotated[
        bool, typer.Option("--remove-archives", help="Delete an archive once it is unpacked.")
    ] = False,
) -> int:
    """LibriSpeech by name: download what is missing, and write one manifest a subset.

    Audio may also be .opus, .mp3 or .wav under the names of LibriSpeech.

    Example: asr prepare librispeech train-clean-5 dev-clean-2 --data-dir corpora -o manifests
    """
    from asr.audit_summary import brief_audit
    from asr.corpora.fetch import FetchOptions, fetch, locate, mirrors_from
    from asr.corpora.librispeech import prepare_librispeech
    from asr.corpora.openslr import find_resources
    from asr.corpora.progress import Reporter
    from asr.errors import AsrError

    resources = find_resources((*(names or ()), *(subset or ())))
    if download:
        options = FetchOptions(mirrors_from(mirror or ()), remove_archives)
        fetch(data_dir, [one.name for one in resources], options, Reporter())
    subsets = [one.name for one in resources if one.is_subset]
    prepared = prepare_librispeech(data_dir, subsets, out) if subsets else []
    for one in prepared:
        typer.echo(_line(one))
    if prepared:
        typer.echo(brief_audit([one.manifest for one in prepared]))
    for text in (one.name for one in resources if not one.is_subset):
        if not (path := locate(data_dir, text)).is_file():
            raise AsrError(f"no file {path}; without --no-download it is fetched")
        typer.echo(path)
    for one in prepared:
        _show_problems(one)
    return 1 if any(one.problems for one in prepared) else 0


def _line(subset: "PreparedSubset") -> str:
    published = subset.num_published
    part = "" if subset.num_utterances == published else f" (the whole subset has {published})"
    return layouts.manifest_line(subset) + part


def _show_problems(subset: "PreparedSubset") -> None:
    if not subset.problems:
        return
    print(f"{subset.name}: {len(subset.problems)} left out:", file=sys.stderr)
    for problem in subset.problems[:_MAX_PROBLEMS_SHOWN]:
        print(f"  {problem}", file=sys.stderr)
    if len(subset.problems) > _MAX_PROBLEMS_SHOWN:
        print(f"  and {len(subset.problems) - _MAX_PROBLEMS_SHOWN} more", file=sys.stderr)


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rspoken {done}/{total}", end="" if done < total else "\n", file=sys.stderr)


def synthetic(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for audio and manifests.")
    ] = Path("data/synthetic"),
    train: Annotated[int, typer.Option(help="Utterances to train on.")] = 2000,
    dev: Annotated[int, typer.Option(help="Utterances to choose the best checkpoint by.")] = 120,
    test: Annotated[int, typer.Option(help="Utterances to measure WER on.")] = 300,
    seed: Annotated[int, typer.Option(help="Same seed, same files, byte for byte.")] = 0,
) -> None:
    """Speak a small English corpus with espeak-ng: needs no download, extra `demo`.

    Voices and sentences of dev and test do not occur in train.
    """
    from asr.audit_summary import brief_audit
    from asr.corpora.synthetic import prepare_synthetic

    corpus = prepare_synthetic(
        out, train=train, dev=dev, test=test, seed=seed, progress=_show_progress
    )
    splits = (corpus.train, corpus.dev, corpus.test)
    for split in splits:
        typer.echo(layouts.manifest_line(split, "voices"))
    typer.echo(brief_audit([split.manifest for split in splits]))
