"""The weights of a language model, found on a development set.

The network runs once; every trial decodes the same log-probabilities, over phones where the network
writes them. First a grid of language-model
weights and word bonuses at one beam size, then other beam sizes at the best of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asr.breakdown import judged_words
from asr.bundle import Decoding, load_bundle
from asr.confidence import (
    Calibration,
    ConfidenceQuality,
    confidence_quality,
    fit_calibration,
)
from asr.decoder import (
    GREEDY,
    Decoder,
    alphabet_of,
    bind_language_model,
    lexicon_of,
    search_options,
)
from asr.decoding.beam import BeamDecoder, BeamOptions
from asr.decoding.hypothesis import LogProbs
from asr.errors import UsageError
from asr.evaluate import for_each_waveform
from asr.export import save_with_language_model
from asr.facts import UtteranceFacts
from asr.manifest import Utterance, read_manifest
from asr.scoring import CorpusScore, score
from asr.text import get_normalizer
from asr.transcribe import Recognizer
from asr.transcript import Transcript

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Grid:
    """What to try.

    Attributes:
        lm_weights: weights of the language model.
        word_bonuses: bonuses a word (ln).
        beam_size: prefixes kept while weight and bonus are searched.
        more_beam_sizes: tried afterwards with the best weight and bonus.
        acoustic_scale: what the network's log-probabilities are multiplied by, in every trial.
    """

    lm_weights: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
    word_bonuses: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0)
    beam_size: int = 32
    more_beam_sizes: tuple[int, ...] = (16, 64, 128)
    acoustic_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.lm_weights or not self.word_bonuses:
            raise UsageError("the grid needs at least one weight and one word bonus")
        for lm_weight in self.lm_weights:
            for word_bonus in self.word_bonuses:
                BeamOptions(lm_weight=lm_weight, word_bonus=word_bonus, beam_size=self.beam_size)
        for beam_size in self.more_beam_sizes:
            BeamOptions(beam_size=beam_size)
        BeamOptions(acoustic_scale=self.acoustic_scale)

    @property
    def num_trials(self) -> int:
        """Number of times that the set is decoded with the language model."""
        beams = set(self.more_beam_sizes) - {self.beam_size}
        return len(set(self.lm_weights)) * len(set(self.word_bonuses)) + len(beams)


@dataclass(frozen=True)
class Trial:
    """One way to decode, and its word error rate on the set (a fraction)."""

    decoding: Decoding
    wer: float


@dataclass(frozen=True)
class CalibrationTrial:
    """Word confidences of one decoder on the set, as the decoder gives them and calibrated."""

    calibration: Calibration
    before: ConfidenceQuality
    after: ConfidenceQuality


@dataclass(frozen=True)
class Tuning:
    """All trials on one manifest.

    Attributes:
        greedy_wer: word error rate without a language model, a fraction.
        surface: trials of weight and bonus, in the order of the grid.
        beams: trials of beam sizes at the best of them, smallest first.
        greedy_confidence, beam_confidence: of greedy decoding and of the best trial; None where
            nothing was recognised.
        failures: a line for each utterance whose audio could not be read; left out of every trial.
    """

    manifest: Path
    num_utterances: int
    greedy_wer: float
    grid: Grid
    surface: tuple[Trial, ...]
    beams: tuple[Trial, ...]
    greedy_confidence: CalibrationTrial | None
    beam_confidence: CalibrationTrial | None
    failures: tuple[str, ...]

    @property
    def best(self) -> Trial:
        """The lowest word error rate; among equals the smallest beam, then the first of the grid."""
        return _best(self.beams)

    @property
    def edges(self) -> tuple[str, ...]:
        """Names of the weights whose best value is the last or first of several in the grid."""
        best = self.best.decoding
        found = []
        for name, value, tried in (
            ("lm-weights", best.lm_weight, self.grid.lm_weights),
            ("word-bonuses", best.word_bonus, self.grid.word_bonuses),
        ):
            if len(set(tried)) > 1 and value in (min(tried), max(tried)):
                found.append(name)
        return tuple(found)


@dataclass(frozen=True)
class _Decoded:
    """What one decoder makes of the set, confidences not calibrated."""

    transcripts: dict[str, Transcript]
    score: CorpusScore


@dataclass(frozen=True)
class _Set:
    """A development set after the network: log-probabilities and reference of each utterance."""

    log_probs: dict[str, LogProbs]
    references: dict[str, str]
    failures: tuple[str, ...]


def tune(
    manifest: Path | str,
    recognizer: Recognizer,
    lm: Path | str | None = None,
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Decode `manifest` with every combination of the grid.

    Args:
        lm: language model; None: the one in the recognizer's bundle.
        progress: called with the number of trials done and of all trials.

    Raises:
        UsageError: neither `lm` nor a language model in the bundle.
        LanguageModelError: a language model that cannot be used with this recognizer.
        AsrError: no audio of the manifest can be read.
    """
    grid, bundle = grid or Grid(), recognizer.bundle
    path = lm or bundle.language_model
    if path is None:
        raise UsageError("the model has no language model of its own: name one with --lm")
    lexicon = lexicon_of(bundle)
    language_model = bind_language_model(bundle, path, lexicon)
    prepared = _run_network(read_manifest(manifest), recognizer)
    done = 0

    def make(decoding: Decoding) -> Decoder:
        over_phones = lexicon is not None
        options = search_options(decoding, over_phones=over_phones)
        beam = BeamDecoder(alphabet_of(bundle, lexicon), options, language_model)
        return Decoder(beam=beam, over_phones=over_phones)

    def run(decoding: Decoding) -> Trial:
        nonlocal done
        trial = Trial(decoding, _decode(prepared, recognizer, make(decoding)).score.wer)
        done += 1
        if progress:
            progress(done, grid.num_trials)
        return trial

    surface = tuple(
        run(Decoding(lm_weight, word_bonus, grid.beam_size, grid.acoustic_scale))
        for word_bonus in sorted(set(grid.word_bonuses))
        for lm_weight in sorted(set(grid.lm_weights))
    )
    best = min(surface, key=lambda trial: trial.wer)
    beams = [
        run(replace(best.decoding, beam_size=beam_size))
        for beam_size in sorted(set(grid.more_beam_sizes) - {grid.beam_size})
    ]
    beams = sorted([best, *beams], key=lambda trial: trial.decoding.beam_size)
    greedy = _decode(prepared, recognizer, GREEDY)
    decoder = make(_best(beams).decoding)
    return Tuning(
        Path(manifest), len(prepared.references), greedy.score.wer, grid, surface, tuple(beams),
        _calibrate(greedy), _calibrate(_decode(prepared, recognizer, decoder)), prepared.failures,
    )  # fmt: skip


def _best(trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: (trial.wer, trial.decoding.beam_size))


def write_tuning(model: Path | str, tuning: Tuning, lm: Path | str | None = None) -> Path:
    """Put what was found into the bundle at `model`, and a copy of the language model `lm` if given.

    Returns:
        The bundle's path.
    """
    greedy, beam = tuning.greedy_confidence, tuning.beam_confidence
    bundle = replace(
        load_bundle(model),
        decoding=tuning.best.decoding,
        greedy_calibration=greedy.calibration if greedy else None,
        beam_calibration=beam.calibration if beam else None,
    )
    return save_with_language_model(bundle, model, lm)


def _run_network(utterances: Sequence[Utterance], recognizer: Recognizer) -> _Set:
    log_probs, failures = for_each_waveform(
        utterances, recognizer.sample_rate, recognizer.log_probs
    )
    references = {
        utterance.utterance_id: utterance.text
        for utterance in utterances
        if utterance.utterance_id in log_probs
    }
    return _Set(log_probs, references, failures)


def _calibrate(decoded: _Decoded) -> CalibrationTrial | None:
    facts = {
        name: UtteranceFacts(confidences=tuple(word.confidence for word in transcript.words))
        for name, transcript in decoded.transcripts.items()
    }
    words = judged_words(decoded.score, facts)
    calibration, before = fit_calibration(words), confidence_quality(words)
    if calibration is None or before is None:
        return None
    after = confidence_quality(calibration.of(words))
    assert after is not None
    return CalibrationTrial(calibration, before, after)


def _decode(prepared: _Set, recognizer: Recognizer, decoder: Decoder) -> _Decoded:
    """What a recognizer with this decoder would write, against the references."""
    bundle = replace(recognizer.bundle, greedy_calibration=None, beam_calibration=None)
    writer = Recognizer(bundle, device=str(recognizer.device), decoder=decoder)
    hypotheses = decoder.decode_batch(list(prepared.log_probs.values()), torch.get_num_threads())
    transcripts = {
        name: writer.to_transcript(hypothesis, math.inf)
        for name, hypothesis in zip(prepared.log_probs, hypotheses, strict=True)
    }
    texts = {name: transcript.text for name, transcript in transcripts.items()}
    normalize = get_normalizer(bundle.normalizer)
    return _Decoded(transcripts, score(prepared.references, texts, normalize=normalize))
