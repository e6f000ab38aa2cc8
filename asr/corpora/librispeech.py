"""LibriSpeech's layout: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac with one .trans.txt a chapter.

Source: V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "Librispeech", ICASSP 2015. Audio may also be
.opus, .mp3 or .wav under the same names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio import AudioError, probe
from asr.corpora.fetch import locate
from asr.corpora.openslr import RESOURCES, SUBSETS
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, write_manifest
from asr.parallel import parallel_map

_AUDIO_SUFFIXES = (".flac", ".opus", ".mp3", ".wav")


@dataclass(frozen=True)
class PreparedSubset:
    """One written manifest and what stood in the way of the rest.

    Attributes:
        problems: a line for each utterance left out: a transcript without audio, audio without a
            transcript, unreadable or empty audio.
        num_published: utterances that the subset has as published.
    """

    name: str
    manifest: Path
    num_utterances: int
    num_speakers: int
    duration_s: float
    problems: tuple[str, ...]
    num_published: int


def prepare_librispeech(
    data_dir: Path | str, subsets: Sequence[str], out: Path | str
) -> list[PreparedSubset]:
    """Write OUT/<subset>.jsonl for each subset found under `data_dir`.

    `data_dir` is the folder that holds the subsets, or one that holds that folder as `LibriSpeech`.

    Raises:
        UsageError: a subset that LibriSpeech does not have.
        AsrError: a subset's folder is missing or has no utterance with audio.
    """
    check_subsets(subsets)
    folders = [locate(Path(data_dir), name) for name in subsets]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise AsrError(
            f"no folder {', '.join(missing)}; let it be downloaded (without --no-download or "
            "data.download=false), or name the folder that holds it with --data-dir (data.data_dir "
            "in a recipe)"
        )
    return [_prepare_subset(folder, Path(out)) for folder in folders]


def check_subsets(subsets: Sequence[str]) -> None:
    """Raise UsageError for none, or for one that LibriSpeech does not have."""
    unknown = [name for name in subsets if name not in SUBSETS]
    if unknown or not subsets:
        raise UsageError(
            f"LibriSpeech has no subset {', '.join(unknown) or '(none given)'}; "
            f"there are: {', '.join(SUBSETS)}"
        )


def _prepare_subset(folder: Path, out: Path) -> PreparedSubset:
    genders = _read_genders(folder.parent / "SPEAKERS.TXT")
    texts, problems = _read_transcripts(folder)
    audio = {
        path.stem: path for path in sorted(folder.rglob("[!.]*")) if path.suffix in _AUDIO_SUFFIXES
    }
    problems += [
        f"{audio[name]}: audio without a transcript" for name in audio if name not in texts
    ]
    problems += [f"{folder}: no audio for transcript {name}" for name in texts if name not in audio]
    names = [name for name in sorted(texts) if name in audio]
    durations = parallel_map(_duration, (audio[name] for name in names))
    utterances = []
    for name, duration in zip(names, durations, strict=True):
        if isinstance(duration, str):
            problems.append(duration)
            continue
        speaker = name.split("-")[0]
        extra = {"gender": genders[speaker]} if speaker in genders else {}
        utterances.append(
            Utterance(name, audio[name], texts[name], duration, speaker_id=speaker, extra=extra)
        )
    if not utterances:
        raise AsrError(
            f"{folder} has no utterance with both audio ({' '.join(_AUDIO_SUFFIXES)}) and a "
            f"transcript; {len(problems)} problems, the first: {(problems or ['no files'])[0]}"
        )
    manifest = out / f"{folder.name}.jsonl"
    write_manifest(manifest, utterances)
    return PreparedSubset(
        name=folder.name,
        manifest=manifest,
        num_utterances=len(utterances),
        num_speakers=len({utterance.speaker_id for utterance in utterances}),
        duration_s=sum(utterance.duration_s for utterance in utterances),
        problems=tuple(problems),
        num_published=RESOURCES[folder.name].num_utterances,
    )


def _duration(path: Path) -> float | str:
    """Seconds of audio, or what is wrong with the file."""
    try:
        duration_s = probe(path).duration_s
    except AudioError as error:
        return str(error)
    return duration_s if duration_s > 0 else f"{path}: holds no audio"


def _read_transcripts(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Texts by utterance id, and problems, from every visible *.trans.txt below `folder`."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    for path in sorted(folder.rglob("[!.]*.trans.txt")):
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            problems.append(f"{path}: not UTF-8 text ({error.reason}); convert the file (iconv)")
            continue
        for number, line in enumerate(lines, start=1):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            if name in texts:
                problems.append(f"{path}:{number}: utterance {name} has two transcripts")
            elif not text.strip():
                problems.append(f"{path}:{number}: utterance {name} has an empty transcript")
            else:
                texts[name] = text.strip()
    return texts, problems


def _read_genders(path: Path) -> dict[str, str]:
    """Speaker id -> "F" or "M" from SPEAKERS.TXT; empty where the table is not there."""
    if not path.is_file():
        return {}
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows = (line.split("|") for line in lines if not line.startswith(";"))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
