"""What an audit finds: sizes, distributions, overlaps, and findings with their reasons.

Filled by `asr.audit`; `asr.audit_summary` and `asr.audit_page` render it, `asr.audit_drop` acts on it.
"""

import enum
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from asr.manifest import Utterance

_BINS = 30
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Reason(enum.StrEnum):
    """Why an utterance is wrong or suspicious; also what `asr info --drop` takes."""

    MISSING_AUDIO = "missing-audio"
    UNREADABLE_AUDIO = "unreadable-audio"
    DAMAGED_AUDIO = "damaged-audio"
    DURATION = "duration"
    SAMPLE_RATE = "sample-rate"
    SILENCE = "silence"
    CLIPPING = "clipping"
    EMPTY_TEXT = "empty-text"
    UNKNOWN_CHARACTERS = "unknown-characters"
    INFEASIBLE = "infeasible"
    SPEAKING_RATE = "speaking-rate"
    DUPLICATE_TEXT = "duplicate-text"
    DUPLICATE_AUDIO = "duplicate-audio"
    SHARED_ID = "shared-id"
    SHARED_SPEAKER = "shared-speaker"
    SHARED_TEXT = "shared-text"
    SHARED_AUDIO = "shared-audio"


FAILURES = frozenset((Reason.MISSING_AUDIO, Reason.UNREADABLE_AUDIO))
CONTENT_REASONS = frozenset((Reason.DAMAGED_AUDIO, Reason.SILENCE, Reason.CLIPPING))
EXPLANATIONS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.MISSING_AUDIO: "There is no such audio file.",
        Reason.UNREADABLE_AUDIO: "The audio cannot be read.",
        Reason.DAMAGED_AUDIO: "Decoding stopped early, or delivered less than was promised.",
        Reason.DURATION: "The manifest's duration is not the file's, or the clip ends after it.",
        Reason.SAMPLE_RATE: "Recorded at a lower sample rate than the model hears.",
        Reason.SILENCE: "Nothing in the clip is loud enough to be speech.",
        Reason.CLIPPING: "Overdriven: too many samples are at full scale.",
        Reason.EMPTY_TEXT: "Nothing is left of the text after normalisation.",
        Reason.UNKNOWN_CHARACTERS: "The text has characters that the alphabet lacks.",
        Reason.INFEASIBLE: "More tokens than the audio has encoder frames: CTC has no path.",
        Reason.SPEAKING_RATE: "Far faster or slower than the rest: the text may not be of this audio.",
        Reason.DUPLICATE_TEXT: "The manifest has this text before; the first is not counted.",
        Reason.DUPLICATE_AUDIO: "The manifest has this audio before; the first is not counted.",
        Reason.SHARED_ID: "A later manifest has the same utterance id.",
        Reason.SHARED_SPEAKER: "A later manifest has the same speaker.",
        Reason.SHARED_TEXT: "A later manifest has the same text.",
        Reason.SHARED_AUDIO: "A later manifest has the same audio.",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One utterance and one thing that is wrong with it, or may be."""

    reason: Reason
    manifest: str
    utterance: Utterance
    detail: str


@dataclass(frozen=True)
class Distribution:
    """A histogram: `counts[i]` values lie in [edges[i], edges[i + 1]).

    Attributes:
        beyond: values above the last edge, where a few lie so far out that the rest would be one bar.
        minimum, median, maximum: of all values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class Density:
    """`counts[y][x]` utterances last [x_edges[x], x_edges[x + 1]) s and have as many characters."""

    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class UnknownCharacter:
    """A character that the alphabet lacks.

    Attributes:
        lost: the normaliser leaves it out, so that the model would never be told of it.
        examples: some utterances that have it.
    """

    character: str
    count: int
    num_utterances: int
    lost: bool
    examples: tuple[Utterance, ...]


@dataclass(frozen=True)
class AudioSummary:
    """Audio files behind a manifest; each table is (value, number of files), most frequent first.

    Attributes:
        levels: dBFS of each utterance's loudest 25 ms; None unless its content was checked.
    """

    num_files: int
    sample_rates: tuple[tuple[int, int], ...]
    channels: tuple[tuple[int, int], ...]
    formats: tuple[tuple[str, int], ...]
    levels: Distribution | None


@dataclass(frozen=True)
class ManifestAudit:
    """One manifest. Words and characters are counted after normalisation.

    Attributes:
        characters: (character, count), most frequent first.
        durations: seconds an utterance; None where no utterance's is known.
        rates: characters a second of each utterance; None likewise.
        speaker_minutes: minutes a speaker; None without speakers.
        audio: None unless the files were looked at.
    """

    name: str
    path: Path
    num_utterances: int
    duration_s: float
    num_speakers: int
    num_without_speaker: int
    num_words: int
    num_distinct_words: int
    characters: tuple[tuple[str, int], ...]
    unknown: tuple[UnknownCharacter, ...]
    durations: Distribution | None
    rates: Distribution | None
    pairs: Density | None
    speaker_minutes: Distribution | None
    audio: AudioSummary | None

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return self.duration_s / 3600

    @property
    def num_characters(self) -> int:
        """Characters of all texts, spaces included."""
        return sum(count for _, count in self.characters)


@dataclass(frozen=True)
class Overlap:
    """What two manifests share.

    Attributes:
        kind: "utterance ids", "speakers", "texts" or "audio".
        num_shared: different ids, speakers, texts or clips that are in both.
        num_first, num_second: utterances of each manifest that have one of them.
        examples: some of them.
    """

    kind: str
    first: str
    second: str
    num_shared: int
    num_first: int
    num_second: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """Everything about the manifests, in the order given.

    Attributes:
        normalizer: texts were normalised with it.
        alphabet, alphabet_name: the characters a model can write, and where they come from.
        output_frame_s: seconds an encoder frame, against which feasibility was judged.
        model_name: whose frames and alphabet those are; None: the default model's frames.
        sample_rate: what the model hears, Hz.
        headers_checked, content_checked: whether files were opened, and decoded.
        findings: by manifest, then in the order of `Reason`, then as they were found.
    """

    manifests: tuple[ManifestAudit, ...]
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]
    normalizer: str
    alphabet: str
    alphabet_name: str
    output_frame_s: float
    model_name: str | None
    sample_rate: int
    headers_checked: bool
    content_checked: bool

    def counts(self) -> Counter[tuple[Reason, str]]:
        """Findings by reason and manifest."""
        return Counter((one.reason, one.manifest) for one in self.findings)

    def num_suspects(self) -> int:
        """Utterances with at least one finding."""
        return len({(one.manifest, one.utterance.utterance_id) for one in self.findings})


def distribution(values: NDArray[np.float64]) -> Distribution | None:
    """Histogram of the finite `values` in bins of round width; None where there are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, first, median, third, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
    top = min(high, third + 8 * max(third - first, 0.02 * abs(median)))
    edges = _edges(low, top)
    counts, _ = np.histogram(np.maximum(values, edges[0]), edges)
    beyond = int((values > edges[-1]).sum())
    return Distribution(tuple(edges), tuple(counts.tolist()), beyond, low, median, high)


def density(
    durations_s: NDArray[np.float64], num_characters: NDArray[np.float64]
) -> Density | None:
    """Utterances by length and by characters; None where no length is known."""
    known = durations_s > 0
    if not known.any():
        return None
    x, y = durations_s[known], num_characters[known]
    x_edges, y_edges = _edges(0.0, float(x.max())), _edges(0.0, float(y.max()))
    counts, _, _ = np.histogram2d(y, x, (y_edges, x_edges))
    rows = tuple(tuple(row) for row in counts.astype(int).tolist())
    return Density(tuple(x_edges), tuple(y_edges), rows)


def _edges(low: float, high: float) -> list[float]:
    """At most about `_BINS` bins of round width that cover [low, high], but for rounding.

    >>> _edges(0.0, 10.0)[:3]
    [0.0, 0.5, 1.0]
    """
    least = max((high - low) / _BINS, abs(high) / 200, 1e-6)
    power = 10.0 ** math.floor(math.log10(least))
    width = next(power * nice for nice in _NICE if power * nice >= least * 0.999)
    start = math.floor(low / width + 1e-9)
    number = max(1, math.ceil(high / width + 1e-9) - start)
    return [round((start + index) * width, 9) for index in range(number + 1)]
