"""Bundle x manifest -> Recognizer -> scoring -> report."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio import AudioError
from asr.errors import AsrError
from asr.facts import ReportFacts, UtteranceFacts
from asr.manifest import Utterance, read_manifest
from asr.report import write_report
from asr.scoring import CorpusScore, score
from asr.segment import MAX_WINDOW_S
from asr.text import get_normalizer
from asr.transcribe import Recognizer
from asr.transcript import Transcript
from asr.utterances import load_utterance, measured
from asr.whole_file import make_writable

_Result = TypeVar("_Result")
_BATCH_S = 240.0
Loaded = NDArray[np.float32] | AudioError


@dataclass(frozen=True)
class Evaluation:
    """One evaluated manifest.

    Attributes:
        audio_s: seconds of audio that were transcribed.
        wall_s: seconds it took, decoding of audio included.
        failures: a line for each utterance whose audio could not be read; its words count as
            deleted.
    """

    manifest: Path
    score: CorpusScore
    report: Path
    audio_s: float
    wall_s: float
    failures: tuple[str, ...]

    def summary(self) -> str:
        """The result in a few lines."""
        counts = self.score.counts
        lines = [
            f"{self.manifest.stem}: WER {100 * self.score.wer:.2f} %, "
            f"CER {100 * self.score.cer:.2f} % on {len(self.score.utterances)} utterances, "
            f"{self.audio_s / 3600:.2f} h",
            f"  {counts.substitutions} substitutions, {counts.deletions} deletions, "
            f"{counts.insertions} insertions in {counts.num_reference} words; "
            f"{self.audio_s / self.wall_s:.0f} x real time",
        ]
        if self.failures:
            lines.append(f"  {len(self.failures)} utterances could not be read")
        return "\n".join([*lines, f"report: {self.report}"])


@dataclass(frozen=True)
class _Recognized:
    """Transcripts by utterance id, and a line for each utterance that could not be read."""

    transcripts: dict[str, Transcript]
    failures: tuple[str, ...]

    @property
    def audio_s(self) -> float:
        return sum(transcript.duration_s for transcript in self.transcripts.values())


def evaluate(manifest: Path | str, recognizer: Recognizer, out: Path | str) -> Evaluation:
    """Transcribe every utterance of `manifest`, score it, write the report into the folder `out`.

    References are normalised with the bundle's normaliser. Raises AsrError where no audio at all
    can be read, and before any work where `out` cannot be written.
    """
    manifest, out = Path(manifest), Path(out)
    utterances = read_manifest(manifest)
    make_writable(out)
    started = time.perf_counter()
    recognized = _Recognized(
        *for_each_waveform(utterances, recognizer.sample_rate, partial(transcribe_all, recognizer))
    )
    wall_s = time.perf_counter() - started
    corpus_score = score_texts(
        {utterance.utterance_id: utterance.text for utterance in utterances},
        {name: transcript.text for name, transcript in recognized.transcripts.items()},
        recognizer.bundle.normalizer,
        speakers={
            utterance.utterance_id: utterance.speaker_id
            for utterance in utterances
            if utterance.speaker_id is not None
        },
    )
    facts = _facts(manifest, utterances, recognizer, recognized, wall_s)
    report = write_report(corpus_score, out, facts=facts)
    return Evaluation(
        manifest, corpus_score, report.html, recognized.audio_s, wall_s, recognized.failures
    )


def score_texts(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    normalizer: str,
    speakers: Mapping[str, str] | None = None,
) -> CorpusScore:
    """Score by utterance id, both sides normalised: what `asr evaluate` and validation count alike.

    A network may spell what the normaliser mends: an apostrophe at the edge of a word, or alone.
    """
    return score(
        references,
        hypotheses,
        speakers=speakers,
        normalize=get_normalizer(normalizer),
        normalizer=normalizer,
    )


def transcribe_all(
    recognizer: Recognizer, waveforms: Sequence[NDArray[np.float32]]
) -> list[Transcript]:
    """All in one batch, but for those of more than a window, which are cut as `asr transcribe` does."""
    longest = round(MAX_WINDOW_S * recognizer.sample_rate)
    short = iter(recognizer.transcribe_batch([one for one in waveforms if len(one) <= longest]))
    return [next(short) if len(one) <= longest else recognizer.transcribe(one) for one in waveforms]


def for_each_waveform(
    utterances: Sequence[Utterance],
    sample_rate: int,
    run: Callable[[list[NDArray[np.float32]]], Sequence[_Result]],
) -> tuple[dict[str, _Result], tuple[str, ...]]:
    """Run a batch function over a manifest's audio, in batches of similar length.

    Returns:
        Results by utterance id, and a line for each utterance whose audio cannot be read.

    Raises:
        AsrError: no audio at all can be read.
    """
    results: dict[str, _Result] = {}
    failures: list[str] = []
    for batch, loaded in _load_ahead(_length_batches(utterances), sample_rate):
        readable: list[tuple[str, NDArray[np.float32]]] = []
        for utterance, waveform in zip(batch, loaded, strict=True):
            if isinstance(waveform, AudioError):
                failures.append(f"{utterance.utterance_id}: {waveform}")
            else:
                readable.append((utterance.utterance_id, waveform))
        found = run([waveform for _, waveform in readable])
        results.update(zip([name for name, _ in readable], found, strict=True))
    if not results:
        raise AsrError(f"no audio of the manifest can be read; the first failure: {failures[0]}")
    return results, tuple(failures)


def _length_batches(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    """Batches of similar length, of at most _BATCH_S seconds with padding."""
    batches: list[list[Utterance]] = [[]]
    # a file that does not tell its length may be long
    lengths = [(measured(one).duration_s or _BATCH_S, one) for one in utterances]
    for seconds, utterance in sorted(lengths, key=lambda pair: pair[0]):
        if batches[-1] and (len(batches[-1]) + 1) * seconds > _BATCH_S:
            batches.append([])
        batches[-1].append(utterance)
    return batches


def _load_ahead(
    batches: Sequence[list[Utterance]], sample_rate: int
) -> Iterator[tuple[list[Utterance], list[Loaded]]]:
    """Each batch with its waveforms; threads decode the next batch meanwhile."""
    with ThreadPoolExecutor() as pool:

        def start(batch: list[Utterance]) -> list[Future[Loaded]]:
            return [pool.submit(_load, utterance, sample_rate) for utterance in batch]

        waiting = start(batches[0])
        for number, batch in enumerate(batches):
            loading, following = waiting, batches[number + 1 : number + 2]
            waiting = start(following[0]) if following else []
            yield batch, [future.result() for future in loading]


def _load(utterance: Utterance, sample_rate: int) -> Loaded:
    try:
        return load_utterance(utterance, sample_rate)
    except AudioError as error:
        return error


def _facts(
    manifest: Path,
    utterances: Sequence[Utterance],
    recognizer: Recognizer,
    recognized: _Recognized,
    wall_s: float,
) -> ReportFacts:
    training = recognizer.bundle.training
    return ReportFacts(
        title=f"{manifest.stem}: word error rate",
        system=f"{training.recipe or 'model'} ({recognizer.model_id or 'not saved'})",
        num_parameters=recognizer.bundle.num_parameters,
        decoder=recognizer.decoder.name,
        device=f"{recognizer.device}, {torch.get_num_threads()} threads, {recognizer.precision}",
        audio_s=recognized.audio_s,
        wall_s=wall_s,
        reference=str(manifest),
        utterances={
            utterance.utterance_id: _utterance_facts(utterance, recognized)
            for utterance in utterances
        },
    )


def _utterance_facts(utterance: Utterance, recognized: _Recognized) -> UtteranceFacts:
    transcript = recognized.transcripts.get(utterance.utterance_id)
    confidences = tuple(word.confidence for word in transcript.words) if transcript else None
    return UtteranceFacts(
        duration_s=utterance.duration_s or (transcript.duration_s if transcript else None),
        audio_path=utterance.audio_path,
        offset_s=utterance.offset_s,
        fields={key: str(value) for key, value in utterance.extra.items()},
        confidences=confidences,
    )


def report_names(manifests: Sequence[Path]) -> list[str]:
    """A folder name for the report of each manifest: its own name, with its folder's where two share it.

    >>> report_names([Path("a/test.jsonl"), Path("b/test.jsonl"), Path("b/dev.jsonl")])
    ['a-test', 'b-test', 'dev']
    >>> report_names([Path("x/a/test.jsonl"), Path("y/a/test.jsonl")])
    ['a-test', 'a-test-2']
    """
    stems = Counter(manifest.stem for manifest in manifests)
    names: list[str] = []
    for manifest in manifests:
        shared = stems[manifest.stem] > 1
        name = f"{manifest.absolute().parent.name}-{manifest.stem}" if shared else manifest.stem
        numbered = (f"{name}-{number}" for number in count(2))
        while name in names:
            name = next(numbered)
        names.append(name)
    return names
