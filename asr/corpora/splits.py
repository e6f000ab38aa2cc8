"""Train, dev and test by a hash of the speaker: the same tomorrow, when there are more files.

A speaker's place in [0, 1) depends on the seed and on the speaker's name alone, so that adding
speakers or recordings moves nobody (a shuffle would move everybody). Places below `test` are the
test set, the next `dev` the development set, the rest is for training.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AsrError, UsageError
from asr.manifest import Utterance
from asr.text import normalize

_FLATTERS = "the word error rate will flatter, as voices in test are also in train"


@dataclass(frozen=True)
class Shares:
    """How much of the speakers to hold back; 0 makes no such set.

    Attributes:
        by_utterance: split utterances even where speakers are known.
    """

    dev: float = 0.1
    test: float = 0.1
    seed: int = 0
    by_utterance: bool = False

    def __post_init__(self) -> None:
        if not (self.dev >= 0 and self.test >= 0 and self.dev + self.test < 1):
            raise UsageError(
                f"dev and test are shares of at least 0 that leave some for train, "
                f"not {self.dev:g} and {self.test:g}"
            )


@dataclass(frozen=True)
class Split:
    """Utterances by set, in the order train, dev, test, and how that came about."""

    sets: Mapping[str, tuple[Utterance, ...]]
    notes: tuple[str, ...]


def split(
    utterances: Sequence[Utterance], shares: Shares, given: Mapping[str, str] | None = None
) -> Split:
    """Divide `utterances` into train, dev and test.

    Args:
        given: the set of those utterances (by id) that the corpus has sets for. These stay; a set
            of which nothing was given is taken out of the others.

    Raises:
        AsrError: too few utterances to leave something in each set.
    """
    given = given or {}
    held_back = {"test": shares.test, "dev": shares.dev}
    wanted = {
        name: share for name, share in held_back.items() if share > 0 and name not in given.values()
    }
    pool = [one for one in utterances if given.get(one.utterance_id) not in ("dev", "test")]
    level, key, notes = _choose_unit(pool, len(wanted) + 1, shares.by_utterance)
    set_of, more_notes = _divide({key(one) for one in pool}, wanted, shares.seed, level)
    chosen: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for one in utterances:
        stays = given.get(one.utterance_id)
        chosen[stays if stays in ("dev", "test") else set_of[key(one)]].append(one)
    sets = {name: tuple(some) for name, some in chosen.items() if some}
    kept = sorted({"dev", "test"} & set(given.values()))
    if kept:
        notes = [f"kept the corpus's own {' and '.join(kept)}", *notes]
    return Split(sets, (*notes, *more_notes))


def place(unit: str, seed: int) -> float:
    """Where in [0, 1) a speaker (or text) stands.

    >>> place("anna", 0) == place("anna", 0) != place("anna", 1)
    True
    """
    name = f"{seed}\0{unit}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(name, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _divide(
    units: set[str], wanted: Mapping[str, float], seed: int, level: str
) -> tuple[dict[str, str], list[str]]:
    """The set of each unit; a set that would stay empty gets the units whose places are nearest.

    Raises:
        AsrError: too few units to leave one in each set, train among them.
    """
    if wanted and len(units) <= len(wanted):
        raise AsrError(_too_few(len(units), f"{level}s", len(wanted) + 1))
    order = sorted(units, key=lambda unit: (place(unit, seed), unit))
    set_of: dict[str, str] = {}
    notes = []
    start, limit = 0, 0.0
    for number, (name, share) in enumerate(wanted.items(), start=1):
        limit += share
        fair = sum(place(unit, seed) < limit for unit in order)
        left_for_others = len(wanted) - number + 1
        end = min(max(fair, start + 1), len(order) - left_for_others)
        if end != fair:
            notes.append(
                f"{name} would have been empty or left none for the others, with {len(order)} "
                f"{level}s: it holds {end - start}; adding {level}s can change that"
            )
        set_of |= dict.fromkeys(order[start:end], name)
        start = end
    return set_of | dict.fromkeys(order[start:], "train"), notes


def _choose_unit(
    pool: Sequence[Utterance], number_of_sets: int, by_utterance: bool
) -> tuple[str, Callable[[Utterance], str], list[str]]:
    """What stays together: a speaker, else a recording cut into clips, else a sentence."""
    if number_of_sets == 1:
        return "sentence", _sentence, []
    speakers = {one.speaker_id for one in pool} - {None}
    if len(speakers) >= number_of_sets and not by_utterance:
        return "speaker", _speaker_or_sentence, [_about_speakers(pool, len(speakers))]
    why = _why_no_speakers(len(speakers), by_utterance, number_of_sets)
    recordings = _recordings(pool)
    if number_of_sets <= len(recordings) < len(pool) and not by_utterance:
        note = f"split by recording ({len(recordings)}): {why}; {_FLATTERS}, unless each recording "
        return (
            "recording",
            lambda one: recordings[one.audio_path],
            [note + "has a speaker of its own"],
        )
    sentences = len({_sentence(one) for one in pool})
    if sentences < number_of_sets:
        raise AsrError(_too_few(sentences, "texts", number_of_sets))
    note = f"split by utterance, the same sentence always in one set ({sentences} sentences): {why}"
    return "sentence", _sentence, [f"{note}; {_FLATTERS}"]


def _too_few(number: int, units: str, number_of_sets: int) -> str:
    return (
        f"{number} different {units} cannot fill {number_of_sets} sets: add recordings, or hold back "
        "less with --dev 0 or --test 0"
    )


def _about_speakers(pool: Sequence[Utterance], number: int) -> str:
    without = sum(one.speaker_id is None for one in pool)
    rest = f"; {without} utterances without a speaker by their sentence" if without else ""
    return f"split by speaker: no voice is in two sets ({number} speakers{rest})"


def _why_no_speakers(number: int, by_utterance: bool, number_of_sets: int) -> str:
    if by_utterance:
        return "asked for"
    if number == 0:
        return "no speakers are known"
    return f"{number} speakers cannot fill {number_of_sets} sets"


def _speaker_or_sentence(utterance: Utterance) -> str:
    if utterance.speaker_id is not None:
        return f"speaker {utterance.speaker_id}"
    return _sentence(utterance)


def _recordings(pool: Sequence[Utterance]) -> dict[Path, str]:
    """The unit of each audio file: its name; of files that share one, the path below what they share."""
    alike: dict[str, list[Path]] = {}
    for path in {one.audio_path for one in pool}:
        alike.setdefault(path.name, []).append(path)
    units = {}
    for paths in alike.values():
        shared = os.path.commonpath([path.absolute().parent for path in paths])
        for path in paths:
            units[path] = f"recording {path.absolute().relative_to(shared).as_posix()}"
    return units


def _sentence(utterance: Utterance) -> str:
    return f"sentence {normalize(utterance.text, 'asr-any-1')}"
