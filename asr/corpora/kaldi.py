"""Kaldi's data folder: wav.scp, text, and where they are there utt2spk, segments, spk2gender, ...

Source: https://kaldi-asr.org/doc/data_prep.html. An entry of wav.scp may be a shell command that
ends in a pipe; commands are never run here, such entries are refused and named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.corpora.listing import (
    SUBSETS,
    Clip,
    Listing,
    Problem,
    Reason,
    joined,
    subfolders,
    with_subset,
)
from asr.errors import AsrError
from asr.textfiles import TextFileError, read_lines

_LOOK_AT = 20  # entries of wav.scp that decide what relative paths are relative to
_TO_THE_END = -1.0  # in segments: the clip ends with its recording


@dataclass(frozen=True)
class _Lines:
    """Rest of the line by first word, and the line's number."""

    path: Path
    rest: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        return f"{self.path}:{self.numbers[key]}"


def find_data_folders(folder: Path) -> list[Path]:
    """`folder` if it is a data folder, else those right below it (data/train, data/dev, ...)."""
    candidates = [folder] if _is_data_folder(folder) else subfolders(folder)
    return [one for one in candidates if _is_data_folder(one)]


def _is_data_folder(folder: Path) -> bool:
    return (folder / "wav.scp").is_file() and (folder / "text").is_file()


def list_kaldi(
    folder: Path | str, *, audio_dir: Path | None = None, encoding: str = "utf-8"
) -> Listing:
    """The utterances of a data folder, or of the data folders right below `folder`, each a set.

    Args:
        audio_dir: what relative paths of wav.scp are relative to; None takes the data folder or, as
            Kaldi does, the current one: wherever the first files are found.
        encoding: of all the files; a byte order mark wins.

    Raises:
        AsrError: no data folder.
    """
    folder = Path(folder)
    folders = find_data_folders(folder)
    if not folders:
        raise AsrError(
            f"no Kaldi data folder at {folder} or right below it: expected the files wav.scp and text"
        )
    if folders == [folder]:
        return _list_folder(folder, audio_dir, encoding)
    return joined(with_subset(_list_folder(one, audio_dir, encoding), one.name) for one in folders)


def _list_folder(folder: Path, audio_dir: Path | None, encoding: str) -> Listing:
    problems: list[Problem] = []
    recordings = _read(folder / "wav.scp", problems, encoding)
    texts = _read(folder / "text", problems, encoding)
    base = audio_dir or _base(folder, recordings)
    paths = _audio_paths(recordings, base, problems)
    segments = _read(folder / "segments", problems, encoding) if _has_segments(folder) else None
    stretches = _stretches(segments, recordings, texts, problems)
    speakers = _read(folder / "utt2spk", problems, encoding)
    facts = _speaker_facts(folder, problems, encoding)
    clips = []
    for name, text in texts.rest.items():
        if name not in stretches:
            missing = f"no line of {'segments' if segments else 'wav.scp'} for {name}"
            problems.append(Problem(Reason.NO_AUDIO, texts.where(name), missing))
            continue
        recording, offset_s, end_s = stretches[name]
        if recording in paths:
            speaker = speakers.rest.get(name) or None
            extra = {fact: by_speaker[speaker] for fact, by_speaker in facts.items()
                     if speaker in by_speaker} if speaker else {}  # fmt: skip
            clips.append(
                Clip(name, paths[recording], text, texts.where(name), speaker, offset_s, end_s,
                     SUBSETS.get(folder.name.lower()), extra)
            )  # fmt: skip
        elif recording and segments:  # without segments the recording's own problem says it
            left_out = (
                f"{name}: its recording {recording} was left out ({recordings.where(recording)})"
            )
            problems.append(Problem(Reason.NO_AUDIO, texts.where(name), left_out))
    problems += [
        Problem(Reason.NO_TEXT, str(folder / "text"), f"no text for {name}")
        for name in stretches
        if name not in texts.rest
    ]
    names = "wav.scp, text" + "".join(
        f", {name}" for name in ("utt2spk", "segments") if (folder / name).is_file()
    )
    return Listing(f"Kaldi data folder: {names}", tuple(clips), tuple(problems))


def _has_segments(folder: Path) -> bool:
    return (folder / "segments").is_file()


def _read(path: Path, problems: list[Problem], encoding: str) -> _Lines:
    """The lines of a table by their first word; an empty table where there is no file."""
    rest: dict[str, str] = {}
    numbers: dict[str, int] = {}
    try:
        lines = read_lines(path, encoding) if path.is_file() else []
    except TextFileError as error:
        problems.append(Problem(Reason.BAD_LINE, str(path), str(error)))
        lines = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *more = line.split(maxsplit=1)
        if name in rest:
            what = f"{name} was on line {numbers[name]} before"
            problems.append(Problem(Reason.ID_TWICE, f"{path}:{number}", what))
            continue
        rest[name], numbers[name] = (more[0].strip() if more else ""), number
    return _Lines(path, rest, numbers)


def _base(folder: Path, recordings: _Lines) -> Path:
    some = [value for value in recordings.rest.values() if not value.endswith("|")][:_LOOK_AT]
    return next(
        (base for base in (folder, Path()) if any((base / value).is_file() for value in some)),
        folder,
    )


def _audio_paths(recordings: _Lines, base: Path, problems: list[Problem]) -> dict[str, Path]:
    """The file of each recording; commands are refused, one problem a recording."""
    paths = {}
    for name, value in recordings.rest.items():
        if value.endswith("|"):
            what = (
                f"{name} is a shell command ({value}): commands are not run. Write the audio it "
                "makes to a file, and name that here"
            )
            problems.append(Problem(Reason.COMMAND, recordings.where(name), what))
        elif not value:
            what = f"{name} has no file"
            problems.append(Problem(Reason.BAD_LINE, recordings.where(name), what))
        else:
            paths[name] = base / value
    return paths


_Stretch = tuple[str, float, float | None]  # recording, start and end in seconds


def _stretches(
    segments: _Lines | None, recordings: _Lines, texts: _Lines, problems: list[Problem]
) -> dict[str, _Stretch]:
    """Where each utterance is: in a recording by `segments`, else the recording of its name."""
    if segments is None:
        return {name: (name, 0.0, None) for name in recordings.rest}
    channels = _channels(segments)
    stretches: dict[str, _Stretch] = {}
    for name, rest in segments.rest.items():
        try:
            stretches[name] = _stretch(rest, recordings, channels)
        except ValueError as error:
            problems.append(Problem(Reason.BAD_LINE, segments.where(name), f"{name}: {error}"))
            if name in texts.rest:
                stretches[name] = ("", 0.0, None)  # said once, here
    return stretches


def _channels(segments: _Lines) -> dict[str, set[str]]:
    """The channels of each recording that lines of segments name (after the end)."""
    channels: dict[str, set[str]] = {}
    for cells in map(str.split, segments.rest.values()):
        if len(cells) == 4:
            channels.setdefault(cells[0], set()).add(cells[3])
    return channels


def _stretch(rest: str, recordings: _Lines, channels: Mapping[str, set[str]]) -> _Stretch:
    cells = rest.split()
    if len(cells) not in (3, 4):
        raise ValueError("a line of segments is 'utterance recording start end'")
    if len(named := channels.get(cells[0], set())) > 1:
        raise ValueError(
            f"segments name the channels {', '.join(sorted(named))} of the recording {cells[0]}: "
            "channels of one file are not told apart; write each channel to a file of its own"
        )
    recording, start_s, end_s = cells[0], float(cells[1]), float(cells[2])
    if recording not in recordings.rest:
        raise ValueError(f"wav.scp has no recording {recording}")
    return recording, start_s, None if end_s == _TO_THE_END else end_s


def _speaker_facts(
    folder: Path, problems: list[Problem], encoding: str
) -> dict[str, Mapping[str, str]]:
    """What spk2gender, spk2age and the like say: by fact, then by speaker."""
    names = sorted(path.name for path in folder.glob("spk2*") if path.is_file())
    return {
        name.removeprefix("spk2"): _read(folder / name, problems, encoding).rest
        for name in names
        if name not in ("spk2utt", "spk2") and "." not in name
    }
