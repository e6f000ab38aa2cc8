"""What a recognizer returns to its user: text, and words with their times."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Word:
    """One word; times in seconds from the start of the recording, confidence in [0, 1]."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Transcript:
    """The transcript of one recording or utterance."""

    text: str
    words: tuple[Word, ...]
    duration_s: float

    def upper(self) -> "Transcript":
        """The same in capitals."""
        words = tuple(replace(word, text=word.text.upper()) for word in self.words)
        return replace(self, text=self.text.upper(), words=words)
