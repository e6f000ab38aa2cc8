"""One's own recordings: which of the known layouts a folder has, and how that shows.

The layouts, in the order in which they are looked for; the first that fits is taken.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpora.commonvoice import find_commonvoice, list_commonvoice
from asr.corpora.kaldi import find_data_folders, list_kaldi
from asr.corpora.listing import (
    SUBSETS,
    Listing,
    ending,
    is_audio,
    joined,
    walk_files,
    with_subset,
    without_ending,
)
from asr.corpora.ljspeech import is_ljspeech, list_ljspeech
from asr.corpora.sidecar import TEXT_SUFFIXES, list_folder
from asr.corpora.subtitles import list_subtitles, pair_subtitles
from asr.corpora.tabular import (
    TABLE_SUFFIXES,
    TableColumns,
    find_columns,
    list_table,
    read_table,
)
from asr.errors import AsrError, UsageError

_PREFERRED_TABLES = ("metadata", "manifest", "transcripts", "transcript", "all", "validated")
_LIBRISPEECH = ".trans.txt"


@dataclass(frozen=True)
class Guess:
    """What a folder was taken for.

    Attributes:
        layout: the command that prepares this layout alone (`asr prepare LAYOUT`).
        why: what in the folder shows it.
    """

    layout: str
    why: str
    listing: Listing


def guess(folder: Path | str, *, encoding: str = "utf-8") -> Guess:
    """Find out how the recordings in `folder` are laid out, and list them.

    Raises:
        AsrError: no such folder, nothing that looks like audio with texts, or LibriSpeech, which has
            a command of its own.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AsrError(f"no folder {folder}: name the folder that holds your recordings")
    quick: tuple[Callable[[Path, str], Guess | None], ...] = (_kaldi, _commonvoice, _ljspeech)
    for look in (*quick, _tables):
        found = look(folder, encoding)
        if found:
            return found
    files = list(walk_files(folder))
    found = _beside(folder, files, encoding)
    if found:
        return found
    raise AsrError(_nothing_found(folder, files))


def _kaldi(folder: Path, encoding: str) -> Guess | None:
    folders = find_data_folders(folder)
    if not folders:
        return None
    where = "" if folders == [folder] else f" in {', '.join(one.name for one in folders)}"
    return Guess(
        "kaldi", f"wav.scp and text are there{where}", list_kaldi(folder, encoding=encoding)
    )


def _commonvoice(folder: Path, encoding: str) -> Guess | None:
    root = find_commonvoice(folder)
    if root is None:
        return None
    why = f"tables with path, sentence and client_id beside {root / 'clips'}"
    return Guess("commonvoice", why, list_commonvoice(folder, encoding=encoding))


def _ljspeech(folder: Path, encoding: str) -> Guess | None:
    if not is_ljspeech(folder):
        return None
    why = "metadata.csv has lines id|text and no header"
    return Guess("ljspeech", why, list_ljspeech(folder, encoding=encoding))


def _tables(folder: Path, encoding: str) -> Guess | None:
    """One table of audio and texts, or one for each of train, dev and test."""
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if ending(one.name) in TABLE_SUFFIXES)
    paths = [folder / name for name in names if (folder / name).is_file()]
    fitting = [path for path in paths if _names_audio_and_text(path, encoding)]
    if not fitting:
        return None
    sets = [path for path in fitting if path.stem.lower() in SUBSETS]
    if {SUBSETS[path.stem.lower()] for path in sets} > {"train"}:
        listings = [with_subset(list_table(path, encoding=encoding), path.stem) for path in sets]
        why = f"{', '.join(path.name for path in sets)} name audio and texts"
        return Guess("table", why, replace(joined(listings), layout=f"tables: {why}"))
    preferred = [path for path in fitting if path.stem.lower() in _PREFERRED_TABLES]
    chosen = preferred or fitting
    if len(chosen) > 1:
        listed = ", ".join(path.name for path in chosen)
        raise UsageError(
            f"{folder} has several tables of audio and texts ({listed}): choose one with "
            f"asr prepare table {chosen[0]} --split"
        )
    why = f"{chosen[0].name} names audio and texts"
    return Guess("table", why, list_table(chosen[0], encoding=encoding))


def _names_audio_and_text(path: Path, encoding: str) -> bool:
    try:
        find_columns(read_table(path, encoding), TableColumns())
    except AsrError:
        return False
    return True


def _beside(folder: Path, files: Sequence[str], encoding: str) -> Guess | None:
    """Texts or subtitles beside the audio: whichever more recordings have."""
    texts = {without_ending(path) for path in files if ending(path) in TEXT_SUFFIXES}
    recordings = [path for path in files if is_audio(path)]
    transcripts = sum(path.endswith(_LIBRISPEECH) for path in files)
    with_text = sum(without_ending(path) in texts for path in recordings)
    with_subtitles = len(pair_subtitles(folder, files)[0])
    if transcripts and not with_text:
        raise AsrError(
            f"{folder} looks like LibriSpeech ({transcripts} files *{_LIBRISPEECH}): use "
            "asr prepare librispeech -s SUBSET --data-dir FOLDER"
        )
    if with_subtitles and with_subtitles >= with_text:
        why = f"{with_subtitles} of {len(recordings)} recordings have subtitles beside them"
        return Guess("subtitles", why, list_subtitles(folder, files, encoding=encoding))
    if with_text:
        why = f"{with_text} of {len(recordings)} recordings have a .txt or .lab beside them"
        return Guess("folder", why, list_folder(folder, files, encoding=encoding))
    return None


def _nothing_found(folder: Path, files: Iterable[str]) -> str:
    endings = Counter(ending(path) or "no ending" for path in files)
    there = ", ".join(f"{number} x {one}" for one, number in endings.most_common(6))
    return (
        f"no recordings with texts found in {folder} (it holds {there or 'no files'}). Known are: "
        "a Kaldi data folder (wav.scp, text), Common Voice (train.tsv, clips/), LJSpeech "
        "(metadata.csv), a table of audio and texts (.csv, .tsv, .jsonl), and audio with .txt, .lab, "
        ".srt or .vtt beside it. Where a table has other column names: asr prepare table FILE "
        "--audio-column ... --text-column ..."
    )
