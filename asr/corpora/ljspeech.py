"""LJSpeech's layout, which many single-speaker corpora share: metadata.csv beside wavs/.

Source: K. Ito, L. Johnson, "The LJ Speech Dataset", 2017. A line of metadata.csv is
``id|text|text with numbers and abbreviations spelt out``, without a header and without quoting; the
audio is wavs/ID.wav (or .flac, .opus, ...).
"""

from pathlib import Path

from asr.corpora.listing import Clip, Listing, Problem, Reason, audio_by_stem, is_audio
from asr.errors import AsrError
from asr.textfiles import read_lines
from asr.textrows import TEXT_KEYS

TABLE = "metadata.csv"
_AUDIO_FOLDERS = ("wavs", "wav", "audio", "clips", "")


def is_ljspeech(folder: Path) -> bool:
    """Whether `folder` has a metadata.csv of `id|text` lines without a header."""
    table = folder / TABLE
    if not table.is_file():
        return False
    with table.open(encoding="utf-8-sig", errors="replace") as lines:
        cells = lines.readline(100_000).rstrip("\r\n").split("|")
    names = {cell.strip().lower() for cell in cells}
    return len(cells) in (2, 3) and names.isdisjoint(TEXT_KEYS["reference"])


def list_ljspeech(folder: Path | str, *, encoding: str = "utf-8") -> Listing:
    """The clips of metadata.csv, with the spelt-out text where a line has one.

    Raises:
        AsrError: no metadata.csv in `folder`.
    """
    folder = Path(folder)
    table = folder / TABLE
    if not table.is_file():
        raise AsrError(f"no {table}: LJSpeech's layout is {TABLE} (id|text|text) beside wavs/")
    audio_folder, by_stem = _audio(folder)
    clips, problems = [], []
    for number, line in enumerate(read_lines(table, encoding), start=1):
        if not line.strip():
            continue
        where, cells = f"{table}:{number}", [cell.strip() for cell in line.split("|")]
        if len(cells) not in (2, 3) or not cells[0]:
            what = f"{len(cells)} cells, but a line is id|text or id|text|normalised text"
            problems.append(Problem(Reason.BAD_LINE, where, what))
            continue
        name = Path(cells[0]).stem if is_audio(cells[0]) else cells[0]
        path = by_stem.get(name, audio_folder / f"{name}.wav")
        clips.append(Clip(name, path, cells[-1] or cells[1], where))
    texts = {clip.utterance_id for clip in clips}
    problems += [
        Problem(Reason.NO_TEXT, str(path), f"{table.name} has no line for it")
        for name, path in by_stem.items()
        if name not in texts
    ]
    layout = f"LJSpeech: {TABLE} (id|text) beside {audio_folder.name or folder}/"
    return Listing(layout, tuple(clips), tuple(problems))


def _audio(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The folder of the recordings and its files by id."""
    for name in _AUDIO_FOLDERS:
        by_stem = audio_by_stem(folder / name)
        if by_stem:
            return folder / name, by_stem
    return folder / _AUDIO_FOLDERS[0], {}
