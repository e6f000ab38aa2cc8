"""The weights of a language model, found on a development set.

The network runs once for greedy decoding and once for the search; every trial decodes the same
log-probabilities, over phones where the network writes them.
First a grid of language-model weights and word bonuses at one beam size, then other beam sizes at the
best of them; all with a second pass, if there is a neural language model, whose other shares come last.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from asr.binding import (
    alphabet_of,
    bind_language_model,
    bind_rescorer,
    search_options,
    search_views,
)
from asr.breakdown import judged_words
from asr.bundle import DEFAULT_SHARE, Decoding, load_bundle
from asr.confidence import confidence_quality, fit_calibration
from asr.decoder import Decoder, Wanted, greedy_decoder
from asr.decoding.beam import BeamDecoder
from asr.decoding.hypothesis import Hypothesis, LogProbs
from asr.errors import AsrError, UsageError
from asr.evaluate import for_each_waveform
from asr.export import save_with_language_model
from asr.facts import UtteranceFacts
from asr.manifest import Utterance, read_manifest
from asr.rescoring import BoundRescorer, Rescoring
from asr.scoring import CorpusScore, score
from asr.segment import MAX_WINDOW_S
from asr.spelling import spelling_of
from asr.text import get_normalizer
from asr.transcribe import Recognizer
from asr.transcript import Transcript
from asr.tuning import CalibrationTrial, Grid, Trial, Tuning

Progress = Callable[[int, int], None]


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
    *,
    rnnlm: Path | str | None = None,
) -> Tuning:
    """Decode `manifest` with every combination of the grid.

    Args:
        lm: language model; None: the one in the recognizer's bundle.
        progress: called with the number of trials done and of all trials.
        rnnlm: neural language model for a second pass; None: the one in the bundle, if any.

    Raises:
        UsageError: neither `lm` nor a language model in the bundle.
        LanguageModelError: a language model that cannot be used with this recognizer.
        AsrError: no audio of the manifest can be read, or all is longer than a window.
    """
    grid, bundle = grid or Grid(), recognizer.bundle
    path = lm or bundle.language_model
    if path is None:
        raise UsageError("the model has no language model of its own: name one with --lm")
    search = _Search(recognizer, path, rnnlm or bundle.rnnlm)
    utterances, too_long = _that_fit(read_manifest(manifest))
    scale, views = grid.acoustic_scale, grid.views or search_views(bundle)
    if scale is None:
        scale = search_options(bundle.decoding, over_phones=False).acoustic_scale
    greedy = _greedily(utterances, recognizer)
    prepared = _run_network(utterances, recognizer, search.wanted, views)
    trials = _Trials(progress, grid.num_trials(rescored=search.rescorer is not None))

    def run(decoding: Decoding) -> Trial:
        return trials.add(decoding, _decode(prepared, recognizer, search.decoder(decoding)))

    share = grid.middle_share if search.rescorer else DEFAULT_SHARE
    surface = tuple(
        run(Decoding(lm_weight, word_bonus, grid.beam_size, scale, share, views))
        for word_bonus in sorted(set(grid.word_bonuses))
        for lm_weight in sorted(set(grid.lm_weights))
    )
    of_surface = trials.best
    beams = [
        run(replace(of_surface.decoding, beam_size=beam_size))
        for beam_size in sorted(set(grid.more_beam_sizes) - {grid.beam_size})
    ]
    beams = sorted([of_surface, *beams], key=lambda trial: trial.decoding.beam_size)
    rescored: list[Trial] = []
    if search.rescorer:
        first = trials.best
        others = [
            replace(first.decoding, rnnlm_share=other)
            for other in sorted(set(grid.rnnlm_shares) - {share})
        ]
        rescored = list(map(trials.add, others, _rescore(prepared, recognizer, search, others)))
        rescored = sorted([first, *rescored], key=lambda trial: trial.decoding.rnnlm_share)
    return Tuning(
        Path(manifest), len(prepared.references), greedy.score.wer, grid, surface, tuple(beams),
        tuple(rescored), _calibrate(greedy), _calibrate(trials.written),
        (*too_long, *prepared.failures),
    )  # fmt: skip


class _Trials:
    """Counts trials, and keeps the best so far with what it wrote.

    Attributes:
        best, written: there from the first trial on.
    """

    best: Trial
    written: _Decoded

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = 0

    def add(self, decoding: Decoding, decoded: _Decoded) -> Trial:
        found = Trial(decoding, decoded.score.wer)
        if not self._done or found.rank < self.best.rank:
            self.best, self.written = found, decoded
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)
        return found


class _Search:
    """Searches that differ in their options alone.

    Attributes:
        wanted: what they read: the networks' phones, or the tokens.
        rescorer: the neural language model of the second pass; None: there is none.
    """

    def __init__(self, recognizer: Recognizer, lm: Path | str, rnnlm: Path | str | None) -> None:
        self._bundle = recognizer.bundle
        self._language_model, self._lexicon = bind_language_model(self._bundle, lm)
        self.wanted: Wanted = "spelling" if self._lexicon is None else "phones"
        self.rescorer: BoundRescorer | None = None
        if rnnlm is not None:
            self.rescorer = bind_rescorer(self._bundle, rnnlm, self._language_model)

    def decoder(self, decoding: Decoding) -> Decoder:
        over_phones = self.wanted == "phones"
        options = search_options(decoding, over_phones=over_phones)
        beam = BeamDecoder(alphabet_of(self._bundle, self._lexicon), options, self._language_model)
        return Decoder(
            beam=beam,
            over_phones=over_phones,
            rescoring=self.rescoring(decoding),
            spelling=None if over_phones else spelling_of(self._bundle),
        )

    def rescoring(self, decoding: Decoding) -> Rescoring | None:
        if self.rescorer is None or decoding.rnnlm_share == 0:
            return None
        return Rescoring(self.rescorer, decoding.lm_weight, decoding.rnnlm_share)


def write_tuning(
    model: Path | str,
    tuning: Tuning,
    lm: Path | str | None = None,
    rnnlm: Path | str | None = None,
) -> Path:
    """Put what was found into the bundle at `model`, and copies of `lm` and `rnnlm` if given.

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
    return save_with_language_model(bundle, model, lm, rnnlm)


def _that_fit(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Those that a recognizer does not cut, and a line for each of the others.

    Where it would cut follows from the pauses: a trial of such a recording as a whole would measure
    what no recognizer does.
    """
    fitting = [one for one in utterances if one.duration_s <= MAX_WINDOW_S]
    left_out = [
        f"{one.utterance_id}: {one.duration_s:.0f} s, longer than {MAX_WINDOW_S:g}: left out"
        for one in utterances
        if one.duration_s > MAX_WINDOW_S
    ]
    if not fitting:
        raise AsrError(f"all utterances are left out, the first: {left_out[0]}")
    return fitting, left_out


def _run_network(
    utterances: Sequence[Utterance], recognizer: Recognizer, wanted: Wanted, views: int
) -> _Set:
    log_probs, failures = for_each_waveform(
        utterances,
        recognizer.sample_rate,
        partial(recognizer.log_probs, wanted=wanted, views=views),
    )
    return _Set(log_probs, _references(utterances, log_probs), failures)


def _references(utterances: Sequence[Utterance], heard: Container[str]) -> dict[str, str]:
    return {one.utterance_id: one.text for one in utterances if one.utterance_id in heard}


def _greedily(utterances: Sequence[Utterance], recognizer: Recognizer) -> _Decoded:
    """What greedy decoding writes, a batch after the other: a speller's pieces are many to keep."""
    writer = _uncalibrated(recognizer, greedy_decoder(recognizer.bundle))
    transcripts, _ = for_each_waveform(utterances, writer.sample_rate, writer.transcribe_batch)
    return _scored(transcripts, _references(utterances, transcripts), writer)


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
    utterances = list(prepared.log_probs.values())
    hypotheses = decoder.decode_batch(utterances, torch.get_num_threads())
    return _judge(prepared, recognizer, decoder, hypotheses)


def _rescore(
    prepared: _Set, recognizer: Recognizer, search: _Search, decodings: Sequence[Decoding]
) -> Iterator[_Decoded]:
    """The same of decodings that differ in their second pass: one search serves them all."""
    if not decodings:
        return
    decoder = search.decoder(decodings[0])
    assert decoder.beam is not None
    searched = [decoder.searched(one) for one in prepared.log_probs.values()]
    lattices = decoder.beam.lattices(searched, torch.get_num_threads())
    for decoding in decodings:
        rescoring = search.rescoring(decoding)
        if rescoring is None:
            yield _decode(prepared, recognizer, search.decoder(decoding))
        else:
            hypotheses = list(map(decoder.beam.follow, lattices, rescoring.choose(lattices)))
            yield _judge(prepared, recognizer, decoder, hypotheses)


def _judge(
    prepared: _Set, recognizer: Recognizer, decoder: Decoder, hypotheses: Sequence[Hypothesis]
) -> _Decoded:
    writer = _uncalibrated(recognizer, decoder)
    transcripts = {
        name: writer.to_transcript(hypothesis, math.inf)
        for name, hypothesis in zip(prepared.log_probs, hypotheses, strict=True)
    }
    return _scored(transcripts, prepared.references, writer)


def _uncalibrated(recognizer: Recognizer, decoder: Decoder) -> Recognizer:
    bundle = replace(recognizer.bundle, greedy_calibration=None, beam_calibration=None)
    return Recognizer(
        bundle, device=str(recognizer.device), precision=recognizer.precision, decoder=decoder
    )


def _scored(
    transcripts: dict[str, Transcript], references: Mapping[str, str], writer: Recognizer
) -> _Decoded:
    texts = {name: transcript.text for name, transcript in transcripts.items()}
    normalize = get_normalizer(writer.bundle.normalizer)
    return _Decoded(transcripts, score(references, texts, normalize=normalize))
