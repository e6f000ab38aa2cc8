"""The embedded default corpus: sentences of our own grammar, spoken by espeak-ng.

Needs no download and no root. No voice and no sentence is in two of train, dev and test. The same
seed and sizes give the same files, byte for byte, with the same espeakng-loader, soxr and
soundfile.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from asr.corpora.espeak import require_espeak
from asr.corpora.sentences import Sentence, draw_distinct_sentences
from asr.corpora.synthetic_voices import Voice, voices
from asr.corpora.synthetic_worker import SAMPLE_RATE, SpokenLine
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.whole_file import make_writable

SPLITS = ("train", "dev", "test")
Progress = Callable[[int, int], None]

_RATE_WPM = (125, 165)
_PITCH = (35, 65)
_PITCH_RANGE = (35, 65)
_LEVEL_DB = (-28.0, -20.0)
_NOISE_DB = (-72.0, -58.0)
_SILENCE_S = (0.08, 0.2)
_MARKER = "synthetic.json"
_FORMAT = 1  # to be raised when the same plan comes to sound different


@dataclass(frozen=True)
class PreparedSplit:
    """One written manifest: its size and hours of speech."""

    name: str
    manifest: Path
    num_utterances: int
    num_speakers: int
    duration_s: float


@dataclass(frozen=True)
class SyntheticCorpus:
    """The three manifests; `reused` where they were there already."""

    train: PreparedSplit
    dev: PreparedSplit
    test: PreparedSplit
    reused: bool


def prepare_synthetic(
    out: Path | str,
    *,
    train: int = 2000,
    dev: int = 120,
    test: int = 300,
    seed: int = 0,
    progress: Progress | None = None,
) -> SyntheticCorpus:
    """Speak the corpus into OUT/audio and write OUT/train.jsonl, dev.jsonl and test.jsonl.

    A finished corpus of the same seed and sizes is left as it is. The manifests come last: where
    there is a manifest, all of its audio is there.

    Args:
        train, dev, test: number of utterances, about 2.5 seconds each. test does not change with
            the other two, nor dev with train.
        progress: called with the number of utterances spoken so far and of all.

    Raises:
        UsageError: a size below 1.
        AsrError: espeak-ng is not installed or does not work; OUT cannot be written, or holds other
            files of these names.
    """
    sizes = {"train": train, "dev": dev, "test": test}
    if min(sizes.values()) < 1:
        raise UsageError(f"every split needs at least 1 utterance, got {sizes}")
    out = Path(out)
    plan = draw_plan(sizes, seed)
    marker = _marker(plan, sizes, seed)
    if _is_finished(out, marker):
        return _describe(out, reused=True)
    require_espeak()
    _refuse_foreign_files(out)
    make_writable(out)
    with tempfile.TemporaryDirectory(dir=out, prefix=".audio.") as workplace:
        durations = _speak(plan, Path(workplace), progress)
        _write_marker(Path(workplace) / "audio", marker)
        for split in SPLITS:
            (out / f"{split}.jsonl").unlink(missing_ok=True)
        _replace_folder(Path(workplace) / "audio", out / "audio")
    for split in SPLITS:
        write_manifest(out / f"{split}.jsonl", _utterances(out, plan[split], durations))
    return _describe(out, reused=False)


@dataclass(frozen=True)
class PlannedUtterance:
    """An utterance before it is spoken: who says what, and how."""

    voice: Voice
    sentence: Sentence
    line: SpokenLine

    @property
    def utterance_id(self) -> str:
        return Path(self.line.path).stem


Plan = dict[str, list[PlannedUtterance]]


def draw_plan(sizes: dict[str, int], seed: int) -> Plan:
    """Everything there is to say: per split, sentences that no other split has."""
    rng = random.Random(f"{seed}/sentences")
    # Drawn for test first, so that a larger training set does not change what is tested.
    sentences = iter(draw_distinct_sentences(sum(sizes.values()), rng))
    return {
        split: _plan_split(split, [next(sentences) for _ in range(sizes[split])], seed)
        for split in reversed(SPLITS)
    }


def _plan_split(split: str, sentences: Sequence[Sentence], seed: int) -> list[PlannedUtterance]:
    rng = random.Random(f"{seed}/{split}")
    speakers: list[Voice] = []
    planned = []
    for index, sentence in enumerate(sentences):
        if not speakers:
            speakers = _shuffled(voices(split), rng)
        planned.append(_plan_utterance(split, index, speakers.pop(), sentence, rng))
    return planned


def _plan_utterance(
    split: str, index: int, voice: Voice, sentence: Sentence, rng: random.Random
) -> PlannedUtterance:
    def draw(bounds: tuple[float, float]) -> float:
        return round(bounds[0] + rng.random() * (bounds[1] - bounds[0]), 3)

    line = SpokenLine(
        path=f"{split}/{voice.speaker_id}/{voice.speaker_id}-{index:05d}.flac",
        text=sentence.spoken,
        voice=voice.espeak_name,
        rate_wpm=round(draw(_RATE_WPM)),
        pitch=round(draw(_PITCH)),
        pitch_range=round(draw(_PITCH_RANGE)),
        level_db=draw(_LEVEL_DB),
        noise_db=draw(_NOISE_DB),
        lead_s=draw(_SILENCE_S),
        trail_s=draw(_SILENCE_S),
        seed=int(rng.random() * 2**31),
    )
    return PlannedUtterance(voice, sentence, line)


def _shuffled(items: Sequence[Voice], rng: random.Random) -> list[Voice]:
    """Shuffled through random() alone, whose sequence Python promises to keep."""
    return sorted(items, key=lambda _: rng.random())


def _marker(plan: Plan, sizes: dict[str, int], seed: int) -> dict[str, object]:
    """What tells one corpus from another."""
    lines = json.dumps([asdict(planned.line) for split in SPLITS for planned in plan[split]])
    return {
        "format": _FORMAT,
        "seed": seed,
        **sizes,
        "plan_sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def _is_finished(out: Path, marker: dict[str, object]) -> bool:
    if not all((out / f"{split}.jsonl").is_file() for split in SPLITS):
        return False
    try:
        found = json.loads((out / "audio" / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and all(found.get(key) == marker[key] for key in marker)


def _refuse_foreign_files(out: Path) -> None:
    if (out / "audio" / _MARKER).is_file():
        return
    for path in (out / "audio", *(out / f"{split}.jsonl" for split in SPLITS)):
        if path.exists():
            raise AsrError(
                f"{path} is there and is not of a synthetic corpus; it will not be overwritten: "
                "choose another folder"
            )


def _write_marker(audio: Path, marker: dict[str, object]) -> None:
    made_with = {name: version(name) for name in ("espeakng-loader", "soxr", "soundfile")}
    text = json.dumps({**marker, "made_with": made_with}, indent=1) + "\n"
    (audio / _MARKER).write_text(text, encoding="utf-8")


def _replace_folder(new: Path, place: Path) -> None:
    """Put `new` in its place; what was there goes where `new` was, to be removed with it."""
    if place.exists():
        place.rename(new.with_name("replaced"))
    new.rename(place)


def _speak(plan: Plan, workplace: Path, progress: Progress | None) -> dict[str, float]:
    """Write WORKPLACE/audio; seconds by path.

    In one fresh process, or it would not be repeatable; and test first, or the sound of it would
    depend on what was said in training.
    """
    lines = [planned.line for split in reversed(SPLITS) for planned in plan[split]]
    plan_file = workplace / "plan.jsonl"
    with plan_file.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(line)) + "\n" for line in lines)
    durations: dict[str, float] = {}
    for num_samples, line in zip(_run_worker(plan_file, workplace), lines, strict=True):
        durations[line.path] = num_samples / SAMPLE_RATE
        if progress is not None:
            progress(len(durations), len(lines))
    return durations


def _run_worker(plan_file: Path, workplace: Path) -> Iterator[int]:
    """The number of samples of each utterance, as it is written."""
    package_root = str(Path(__file__).parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "asr.corpora.synthetic_worker"]
    with (
        (workplace / "errors.txt").open("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [*command, str(plan_file), str(workplace / "audio")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": search_path},
        ) as worker,
    ):
        assert worker.stdout is not None
        try:
            for answer in worker.stdout:
                yield int(answer)
        except BaseException:
            worker.kill()
            raise
        if worker.wait() != 0:
            errors.seek(0)
            said = errors.read().strip() or f"exit status {worker.returncode}"
            raise AsrError(f"speech synthesis failed: {said.splitlines()[-1]}")


def _utterances(
    out: Path, planned: Sequence[PlannedUtterance], durations: dict[str, float]
) -> Iterator[Utterance]:
    for item in planned:
        yield Utterance(
            utterance_id=item.utterance_id,
            audio_path=out / "audio" / item.line.path,
            text=item.sentence.text,
            duration_s=durations[item.line.path],
            speaker_id=item.voice.speaker_id,
            extra={"accent": item.voice.accent, "voice": item.voice.espeak_name},
        )


def _describe(out: Path, *, reused: bool) -> SyntheticCorpus:
    train, dev, test = (_describe_split(split, out / f"{split}.jsonl") for split in SPLITS)
    return SyntheticCorpus(train, dev, test, reused)


def _describe_split(split: str, manifest: Path) -> PreparedSplit:
    utterances = read_manifest(manifest)
    return PreparedSplit(
        name=split,
        manifest=manifest,
        num_utterances=len(utterances),
        num_speakers=len({utterance.speaker_id for utterance in utterances}),
        duration_s=sum(utterance.duration_s for utterance in utterances),
    )
