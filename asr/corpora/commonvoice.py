"""Common Voice as it unpacks: train.tsv, dev.tsv, test.tsv, validated.tsv, ... beside clips/.

Source: R. Ardila et al., "Common Voice: A Massively-Multilingual Speech Corpus", LREC 2020. A clip
in train, dev or test is also in validated, which holds more; `client_id` is the speaker, and no
speaker is in two of the first three.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.corpora.listing import Clip, Listing, is_audio, joined, subfolders, with_subset
from asr.corpora.tabular import TableColumns, list_table
from asr.errors import AsrError, UsageError

OWN_SETS = ("train", "dev", "test")
_COLUMNS = TableColumns(audio="path", text="sentence", speaker="client_id")
_KEPT = ("age", "gender", "accents", "accent", "variant", "locale")


def find_commonvoice(folder: Path) -> Path | None:
    """The folder with the tables and clips/: `folder` or the one language in it."""
    inside = subfolders(folder)
    for root in [folder, *inside] if len(inside) == 1 else [folder]:
        if (root / "clips").is_dir() and _tables(root):
            return root
    return None


def list_commonvoice(
    folder: Path | str, subsets: Sequence[str] = (), *, encoding: str = "utf-8"
) -> Listing:
    """The clips of the named tables.

    Args:
        subsets: train, dev, test, validated, other, ...; none: the first three, or validated where
            they are not there.
        encoding: of the tables; a byte order mark wins.

    Raises:
        AsrError: no Common Voice in `folder`.
        UsageError: a table that is not there; names those that are.
    """
    root = find_commonvoice(Path(folder))
    if root is None:
        raise AsrError(
            f"no Common Voice in {folder}: expected train.tsv, dev.tsv, test.tsv or validated.tsv "
            "beside a folder clips, as the archive of a language unpacks"
        )
    there = _tables(root)
    own = [name for name in OWN_SETS if name in there]
    chosen = list(subsets) or own or ["validated"]
    missing = [name for name in chosen if name not in there]
    if missing:
        raise UsageError(f"{root} has no {', '.join(missing)}.tsv; there are: {', '.join(there)}")
    listings = [_list_subset(root, name, encoding) for name in chosen]
    layout = f"Common Voice: {', '.join(f'{name}.tsv' for name in chosen)} beside clips/"
    return replace(joined(listings), layout=layout)


def _list_subset(root: Path, name: str, encoding: str) -> Listing:
    table = root / f"{name}.tsv"
    listing = list_table(table, _COLUMNS, audio_dir=root / "clips", encoding=encoding)
    clips = tuple(map(_clip, listing.clips))
    return with_subset(replace(listing, clips=clips), name)


def _clip(clip: Clip) -> Clip:
    """Early releases leave the ending .mp3 out of `path`; votes and the like are not kept."""
    path = clip.audio_path
    if not is_audio(path.name):
        path = path.with_name(f"{path.name}.mp3")
    extra = {key: clip.extra[key] for key in _KEPT if key in clip.extra}
    return replace(clip, audio_path=path, extra=extra)


def _tables(root: Path) -> list[str]:
    """The names of the tables of clips in `root`."""
    return [path.stem for path in sorted(root.glob("*.tsv")) if _has_columns(path)]


def _has_columns(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        header = lines.readline(10_000).rstrip("\r\n").split("\t")
    return {"path", "sentence", "client_id"} <= set(header)
