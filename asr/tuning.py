"""What `asr tune` tries, and what it finds."""

from dataclasses import dataclass
from pathlib import Path

from asr.bundle import DEFAULT_SHARE, Decoding
from asr.confidence import Calibration, ConfidenceQuality
from asr.decoding.beam_options import BeamOptions
from asr.errors import UsageError
from asr.rescoring import check_share
from asr.warp import check_views


@dataclass(frozen=True)
class Grid:
    """What to try.

    Attributes:
        lm_weights: weights of the language model.
        word_bonuses: bonuses a word (ln).
        beam_size: prefixes kept while weight and bonus are searched.
        more_beam_sizes: tried afterwards with the best weight and bonus.
        acoustic_scale: what the network's log-probabilities are multiplied by, in every trial; None: as
            the bundle's are, and 1 where it says nothing.
        rnnlm_shares: of a neural language model in the language model's score, the middle one in all
            trials and the others at last.
        views: how often the network hears the speech, for every trial; None: as the bundle has it.
    """

    lm_weights: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
    word_bonuses: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0)
    beam_size: int = 32
    more_beam_sizes: tuple[int, ...] = (16, 64, 128)
    acoustic_scale: float | None = None
    rnnlm_shares: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    views: int | None = None

    def __post_init__(self) -> None:
        if not self.lm_weights or not self.word_bonuses:
            raise UsageError("the grid needs at least one weight and one word bonus")
        for lm_weight in self.lm_weights:
            for word_bonus in self.word_bonuses:
                BeamOptions(lm_weight=lm_weight, word_bonus=word_bonus, beam_size=self.beam_size)
        for beam_size in self.more_beam_sizes:
            BeamOptions(beam_size=beam_size)
        if self.acoustic_scale is not None:
            BeamOptions(acoustic_scale=self.acoustic_scale)
        if self.views is not None:
            check_views(self.views)
        for share in self.rnnlm_shares:
            check_share(share)

    @property
    def middle_share(self) -> float:
        """The neural language model's share while all else is searched."""
        shares = sorted(set(self.rnnlm_shares))
        return shares[len(shares) // 2] if shares else DEFAULT_SHARE

    def num_trials(self, *, rescored: bool) -> int:
        """Number of trials with the language model; `rescored`: with a second pass."""
        beams = set(self.more_beam_sizes) - {self.beam_size}
        more_shares = set(self.rnnlm_shares) - {self.middle_share} if rescored else ()
        return (
            len(set(self.lm_weights)) * len(set(self.word_bonuses)) + len(beams) + len(more_shares)
        )


@dataclass(frozen=True)
class Trial:
    """One way to decode, and its word error rate on the set (a fraction)."""

    decoding: Decoding
    wer: float

    @property
    def rank(self) -> tuple[float, int]:
        """Least where the trial is best: the lowest word error rate, among equals the smallest beam."""
        return self.wer, self.decoding.beam_size


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
        surface: trials of weight and bonus, in the order of the grid; with a neural language model a
            second pass belongs to each.
        beams: trials of beam sizes at the best of them, smallest first.
        rescored: trials of the neural language model's share at the best of those, smallest first; none
            where there is no such model.
        greedy_confidence, beam_confidence: of greedy decoding and of the best trial; None where
            nothing was recognised.
        failures: a line for each utterance that is left out of every trial: its audio could not be
            read, or is longer than the window that a recognizer cuts it into.
    """

    manifest: Path
    num_utterances: int
    greedy_wer: float
    grid: Grid
    surface: tuple[Trial, ...]
    beams: tuple[Trial, ...]
    rescored: tuple[Trial, ...]
    greedy_confidence: CalibrationTrial | None
    beam_confidence: CalibrationTrial | None
    failures: tuple[str, ...]

    @property
    def best(self) -> Trial:
        """The lowest word error rate; among equals the smallest beam, then the first that was tried."""
        return min((*self.beams, *self.rescored), key=lambda trial: trial.rank)

    @property
    def edges(self) -> tuple[str, ...]:
        """Names of the weights whose best value is the last or first of several in the grid."""
        best = self.best.decoding
        found = []
        for name, value, tried in (
            ("lm-weights", best.lm_weight, self.grid.lm_weights),
            ("word-bonuses", best.word_bonus, self.grid.word_bonuses),
            ("rnnlm-shares", best.rnnlm_share, self.grid.rnnlm_shares if self.rescored else ()),
        ):
            if len(set(tried)) > 1 and value in (min(tried), max(tried)):
                found.append(name)
        return tuple(found)
