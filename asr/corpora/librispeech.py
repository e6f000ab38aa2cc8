"""LibriSpeech's layout: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac with one .trans.txt a chapter.

Source: V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "Librispeech", ICASSP 2015. Audio may also be
.opus, .mp3 or .wav under the same names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audio import AudioError, probe
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, write_manifest
from asr.parallel import parallel_map

SUBSETS = (
    "train-clean-5", "train-clean-100", "train-clean-360", "train-other-500",
    "dev-clean", "dev-clean-2", "dev-other", "test-clean", "test-other",
)  # fmt: skip
_AUDIO_SUFFIXES = (".flac", ".opus", ".mp3", ".wav")
_WHERE_TO_GET = "LibriSpeech is at https://www.openslr.org/12, its 5-hour subset at /31"


@dataclass(frozen=True)
class PreparedSubset:
    """One written manifest and what stood in the way of the rest.

    Attributes:
        problems: a line for each utterance left out: a transcript without audio, audio without a
            transcript, unreadable or empty audio.
    """

    name: str
    manifest: Path
    num_utterances: int
    num_speakers: int
    duration_s: float
    problems: tuple[str, ...]


def prepare_librispeech(
    data_dir: Path | str, subsets: Sequence[str], out: Path | str
) -> list[PreparedSubset]:
    """Write OUT/<subset>.jsonl for each subset found under `data_dir`.

    `data_dir` is the folder that holds the subsets, or one that holds that folder as `LibriSpeech`.

    Raises:
        UsageError: a subset that LibriSpeech does not have.
        AsrError: a subset's folder is missing or has no utterance with audio.
    """
    unknown = [name for name in subsets if name not in SUBSETS]
    if unknown or not subsets:
        raise UsageError(
            f"LibriSpeech has no subset {', '.join(unknown) or '(none given)'}; "
            f"there are: {', '.join(SUBSETS)}"
        )
    root = find_root(Path(data_dir), subsets)
    genders = _read_genders(root / "SPEAKERS.TXT")
    return [_prepare_subset(root / name, Path(out), genders) for name in subsets]


def find_root(data_dir: Path, subsets: Iterable[str]) -> Path:
    """The folder under `data_dir` that holds all `subsets`; AsrError says which are missing."""
    candidates = (data_dir / "LibriSpeech", data_dir)
    for root in candidates:
        if all((root / name).is_dir() for name in subsets):
            return root
    root = next((root for root in candidates if root.is_dir()), data_dir)
    missing = [name for name in subsets if not (root / name).is_dir()]
    raise AsrError(
        f"no folder {', '.join(str(root / name) for name in missing)}; unpack the subset there or "
        f"name the folder that holds it with --data-dir (data.data_dir in a recipe). {_WHERE_TO_GET}"
    )


def _prepare_subset(folder: Path, out: Path, genders: dict[str, str]) -> PreparedSubset:
    texts, problems = _read_transcripts(folder)
    audio = {
        path.stem: path for path in sorted(folder.rglob("*")) if path.suffix in _AUDIO_SUFFIXES
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
    )


def _duration(path: Path) -> float | str:
    """Seconds of audio, or what is wrong with the file."""
    try:
        duration_s = probe(path).duration_s
    except AudioError as error:
        return str(error)
    return duration_s if duration_s > 0 else f"{path}: holds no audio"


def _read_transcripts(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Texts by utterance id, and problems, from every *.trans.txt below `folder`."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    for path in sorted(folder.rglob("*.trans.txt")):
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
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
