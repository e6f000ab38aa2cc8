"""Texts of a manifest: characters, words, unknown characters, feasibility for CTC, rate of speech."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.audit_facts import Finding, Reason, UnknownCharacter
from asr.ctc import min_frames
from asr.manifest import Utterance
from asr.model import ModelConfig
from asr.text import DEFAULT_NORMALIZER, get_normalizer
from asr.tokenizer import SPACE, Tokenizer

_OTHER_SCRIPTS = "asr-any-1"
_MAX_Z = 5.0
_FEWEST_TO_JUDGE = 20
_MAX_EXAMPLES = 5
_SHOWN_CHARACTERS = 70


@dataclass(frozen=True)
class Texts:
    """Texts of a manifest after normalisation, with counts.

    Attributes:
        raw_characters: counted before normalisation.
    """

    normalized: list[str]
    raw_characters: Counter[str]
    characters: Counter[str]
    num_words: int
    num_distinct_words: int

    @property
    def num_characters(self) -> NDArray[np.float64]:
        """(N,) characters of each text, spaces included."""
        return np.array([len(text) for text in self.normalized], dtype=np.float64)


def choose_normalizer(characters: Counter[str]) -> str:
    """The English one where it keeps most of these letters, else the one for any script."""
    english = get_normalizer(DEFAULT_NORMALIZER)
    letters = {char: count for char, count in characters.items() if char.isalpha()}
    kept = sum(count for char, count in letters.items() if english(char))
    return DEFAULT_NORMALIZER if 2 * kept >= sum(letters.values()) else _OTHER_SCRIPTS


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each character occurs."""
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    return characters


def read_texts(
    utterances: Sequence[Utterance], raw_characters: Counter[str], normalizer: str
) -> Texts:
    """Normalise and count."""
    normalize = get_normalizer(normalizer)
    normalized = [normalize(one.text) for one in utterances]
    distinct: set[str] = set()
    num_words = 0
    for text in normalized:
        words = text.split()
        num_words += len(words)
        distinct.update(words)
    characters = count_characters(normalized)
    return Texts(normalized, raw_characters, characters, num_words, len(distinct))


def lost_characters(characters: Iterable[str], normalizer: str) -> set[str]:
    """Letters and digits of which the normaliser leaves nothing: other scripts, for the English one."""
    normalize = get_normalizer(normalizer)
    return {
        char for char in characters if unicodedata.category(char)[0] in "LN" and not normalize(char)
    }


def unknown_characters(
    utterances: Sequence[Utterance], texts: Texts, tokenizer: Tokenizer, normalizer: str
) -> tuple[UnknownCharacter, ...]:
    """Characters that `tokenizer` lacks or the normaliser loses, most frequent first."""
    lost = lost_characters(texts.raw_characters, normalizer)
    missing = set(texts.characters) - set(tokenizer.tokens)
    users: dict[str, list[Utterance]] = {char: [] for char in lost | missing}
    numbers: Counter[str] = Counter()
    for utterance, text in zip(utterances, texts.normalized, strict=True):
        for char in _found(lost, utterance.text) | _found(missing, text):
            numbers[char] += 1
            if len(users[char]) < _MAX_EXAMPLES:
                users[char].append(utterance)
    counts = {char: texts.raw_characters[char] for char in lost}
    counts |= {char: texts.characters[char] for char in missing}
    return tuple(
        UnknownCharacter(char, counts[char], numbers[char], char in lost, tuple(users[char]))
        for char in sorted(counts, key=lambda char: (-counts[char], char))
    )


def _found(characters: set[str], text: str) -> set[str]:
    return set() if characters.isdisjoint(text) else characters.intersection(text)


def text_findings(
    manifest: str,
    utterances: Sequence[Utterance],
    texts: Texts,
    durations_s: NDArray[np.float64],
    unknown: Sequence[UnknownCharacter],
    tokenizer: Tokenizer,
    config: ModelConfig,
) -> Iterator[Finding]:
    """Empty texts, unknown characters, infeasible utterances; rates of speech, furthest out first."""
    lost = {one.character for one in unknown if one.lost}
    missing = {one.character for one in unknown if not one.lost}
    for utterance, text, duration_s in zip(
        utterances, texts.normalized, durations_s.tolist(), strict=True
    ):
        if not text:
            yield Finding(Reason.EMPTY_TEXT, manifest, utterance, f"was {utterance.text[:80]!r}")
        strange = [
            f"{what} {_listed(found)}"
            for what, found in (
                ("the alphabet has no", _found(missing, text)),
                ("the normaliser leaves out", _found(lost, utterance.text)),
            )
            if found
        ]
        if strange:
            detail = "; ".join(strange)
            yield Finding(Reason.UNKNOWN_CHARACTERS, manifest, utterance, detail)
        if duration_s and (detail := _infeasible(text, duration_s, missing, tokenizer, config)):
            yield Finding(Reason.INFEASIBLE, manifest, utterance, detail)
    yield from _rate_findings(manifest, utterances, speaking_rates(texts, durations_s))


def _infeasible(
    text: str, duration_s: float, unknown: set[str], tokenizer: Tokenizer, config: ModelConfig
) -> str:
    """Why CTC has no path for `text`, or ''. Characters without a token are left out."""
    frames = config.num_output_frames(round(duration_s * config.features.sample_rate))
    if frames >= 2 * len(text) - 1:  # enough even if each character repeats the one before it
        return ""
    needed = min_frames(tokenizer.encode("".join(char for char in text if char not in unknown)))
    return f"needs {needed} frames and has {frames} ({duration_s:.2f} s)" if frames < needed else ""


def speaking_rates(texts: Texts, durations_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) characters a second; NaN where there is no text or no duration."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = texts.num_characters / durations_s
    rates[(durations_s <= 0) | (texts.num_characters == 0)] = np.nan
    return rates


def rate_z(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-score of the logarithm of each rate; 0 where nothing can be said.

    0.6745 (x - median) / MAD, B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", 1993:
    mean and standard deviation would be moved by the very outliers that are looked for.
    """
    logs = np.log(rates)
    known = logs[np.isfinite(logs)]
    if len(known) < _FEWEST_TO_JUDGE:
        return np.zeros(len(rates))
    median = np.median(known)
    deviation = np.median(np.abs(known - median))
    if deviation == 0:
        return np.zeros(len(rates))
    scores: NDArray[np.float64] = np.nan_to_num(0.6745 * (logs - median) / deviation)
    return scores


def _rate_findings(
    manifest: str, utterances: Sequence[Utterance], rates: NDArray[np.float64]
) -> Iterator[Finding]:
    scores = rate_z(rates)
    outliers = np.flatnonzero(np.abs(scores) > _MAX_Z).tolist()
    if not outliers:
        return
    median = float(np.nanmedian(rates))
    for index in sorted(outliers, key=lambda index: -abs(scores[index])):
        detail = (
            f"{rates[index]:.1f} characters/s, the median is {median:.1f} (z {scores[index]:+.1f})"
        )
        yield Finding(Reason.SPEAKING_RATE, manifest, utterances[index], detail)


def _listed(characters: Iterable[str]) -> str:
    return " ".join(show_character(char) for char in sorted(characters)[:_SHOWN_CHARACTERS])


def show_character(char: str) -> str:
    """A character that a reader can see: spaces, controls and lone marks by their code.

    >>> show_character("é"), show_character("\\u200b")
    ('é', 'U+200B')
    """
    visible = char.isprintable() and char != SPACE and not unicodedata.combining(char)
    return char if visible else f"U+{ord(char):04X}"
