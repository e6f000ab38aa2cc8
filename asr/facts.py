"""What is known about scored utterances and the system besides their texts; all of it optional.

`asr evaluate` fills these from a bundle and a manifest, `asr score` from the files it is given;
`asr.breakdown` and `asr.report` read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UtteranceFacts:
    """One utterance.

    Attributes:
        duration_s: length of the utterance.
        audio_path: its audio file, played back by the report's page where the browser can.
        offset_s: where the utterance begins in that file.
        fields: whatever else the manifest says (gender, accent, ...); each makes a breakdown.
        confidences: one number in [0, 1] for each word of the hypothesis as it was scored; left
            out of the report where the counts of words and numbers differ.
    """

    duration_s: float | None = None
    audio_path: Path | None = None
    offset_s: float = 0.0
    fields: Mapping[str, str] = field(default_factory=dict)
    confidences: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ReportFacts:
    """One scored system on one test set.

    Attributes:
        title: headline of the page.
        system: name of the model or system.
        num_parameters: its size.
        decoder: "greedy", "beam 16 + 3-gram", ...
        device: where it ran, with the number of threads.
        audio_s: seconds of audio recognised.
        wall_s: seconds that took, loading of the model left out.
        reference: where the references came from.
        hypothesis: where the hypotheses came from.
        vocabulary: words the system was trained on or can put out, normalised like the texts.
        vocabulary_name: where that vocabulary came from.
        notes: sentences for the reader, shown under the headline.
        utterances: utterance id -> facts.
    """

    title: str = "Word error rate report"
    system: str | None = None
    num_parameters: int | None = None
    decoder: str | None = None
    device: str | None = None
    audio_s: float | None = None
    wall_s: float | None = None
    reference: str | None = None
    hypothesis: str | None = None
    vocabulary: frozenset[str] | None = None
    vocabulary_name: str | None = None
    notes: tuple[str, ...] = ()
    utterances: Mapping[str, UtteranceFacts] = field(default_factory=dict)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of computing for a second of audio."""
        if not self.audio_s or self.wall_s is None:
            return None
        return self.wall_s / self.audio_s
