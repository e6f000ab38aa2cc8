"""What a network hears of each phone, kept from training speech, and put together for texts that nobody
has read: unit selection, as in speech synthesis (Hunt & Black 1996), with probabilities of phones in
place of sound.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from asr.decoding.alignment import AlignmentError, align_tokens
from asr.tokenizer import BLANK_ID

_EDGE = BLANK_ID  # stands in front of each utterance: no phone has its id
_LEAST = 1e-4  # probability, for the alignment

Posteriors = NDArray[np.float16]


class Heard(NamedTuple):
    """An utterance: what the network makes of it, (T', P) probabilities, and what was said."""

    posteriors: Posteriors
    phone_ids: Sequence[int]


class _Places(NamedTuple):
    """Where keys occur: those of key k are places[offsets[k] : offsets[k + 1]]."""

    places: NDArray[np.int32]
    offsets: NDArray[np.int64]


class PosteriorBank:
    """Frames of utterances, cut into their phones by forced alignment.

    Args:
        heard: utterances; one whose phones do not fit into its frames is left out.
        num_phones: P.

    Attributes:
        frames: (F, P) probabilities of all utterances, one after the other.
        phones: (N,) phone ids with an edge before each utterance and after the last.
        spans: (N, 2) the frames of each; where blanks lie between two phones, each has half of them.
    """

    def __init__(self, heard: Iterable[Heard], num_phones: int) -> None:
        frames: list[Posteriors] = [np.empty((0, num_phones), np.float16)]
        phones: list[Sequence[int]] = []
        spans: list[NDArray[np.int64]] = []
        first = 0
        for posteriors, phone_ids in heard:
            cuts = _cuts(posteriors, phone_ids)
            if cuts is None:
                continue
            frames.append(posteriors)
            phones.append((_EDGE, *phone_ids))
            bounds = np.concatenate(([0], cuts)) + first
            spans.append(np.stack((bounds[:-1], bounds[1:]), axis=1))
            first += len(posteriors)
        self.num_phones = num_phones
        self.num_utterances = len(phones)
        self.frames = np.concatenate(frames)
        self.phones = np.array([phone for said in (*phones, (_EDGE,)) for phone in said], np.int32)
        self.spans = np.concatenate((*spans, [(0, 0)])).astype(np.int32)
        wide = self.phones.astype(np.int64)
        inner = 1 + np.flatnonzero(wide[1:-1] != _EDGE)
        before, at, after = wide[inner - 1], wide[inner], wide[inner + 1]
        keys = (
            ((before * num_phones + at) * num_phones + after, num_phones**3),
            (at * num_phones + after, num_phones**2),
            (at, num_phones),
        )
        self._index = tuple(_index(key, inner, size) for key, size in keys)

    def has(self, phone_ids: Iterable[int]) -> bool:
        """Whether each of these phones was heard."""
        _, offsets = self._index[-1]
        return all(offsets[phone] < offsets[phone + 1] for phone in phone_ids)

    def put_together(
        self, phone_ids: NDArray[np.int32], random: np.random.Generator, go_on: float
    ) -> Posteriors:
        """What the network might hear where somebody says these phones.

        Each phone is one that was heard between the same neighbours, else before the same one, else
        any; the phone that followed it there is taken too, where it is the next one wanted, with
        probability `go_on`, so that whole words and the speaker of several phones stay together.

        Args:
            phone_ids: (U,), all of which the bank has (`has`).

        Returns:
            (T', P) probabilities.
        """
        chosen = _chosen(
            np.asarray(phone_ids, np.int32), self.phones, random.random((len(phone_ids), 2)), go_on,
            self.num_phones, *(part for index in self._index for part in index),
        )  # fmt: skip
        first, last = self.spans[chosen].T
        lengths = last - first
        starts = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(first - starts, lengths)
        found: Posteriors = self.frames[places]
        return found


def _cuts(posteriors: Posteriors, phone_ids: Sequence[int]) -> NDArray[np.int64] | None:
    """Where the U phones of an utterance begin, and the last ends: (U + 1,) frames, from 0 to T'."""
    if not len(phone_ids):
        return None
    log_probs = np.log(np.maximum(posteriors.astype(np.float32), _LEAST))
    try:
        spans = np.array(align_tokens(log_probs, np.array(phone_ids, np.int32), BLANK_ID).spans)
    except AlignmentError:
        return None
    inner = (spans[:-1, 1] + spans[1:, 0] + 1) // 2
    return np.concatenate(([0], inner, [len(posteriors)])).astype(np.int64)


def _index(keys: NDArray[np.int64], places: NDArray[np.intp], size: int) -> _Places:
    order = np.argsort(keys, kind="stable")
    return _Places(
        places[order].astype(np.int32), np.searchsorted(keys[order], np.arange(size + 1))
    )


@numba.njit(nogil=True, cache=True)
def _chosen(  # type: ignore[no-untyped-def]
    wanted, phones, draws, go_on, num_phones, triples, triple_offsets, pairs, pair_offsets, singles,
    single_offsets,
):  # fmt: skip
    """A place of `phones` for each phone wanted, (U,); `draws` (U, 2) are uniform in [0, 1)."""
    found = np.empty(len(wanted), np.int32)
    place = -1
    for i in range(len(wanted)):
        before = wanted[i - 1] if i else 0
        after = wanted[i + 1] if i + 1 < len(wanted) else 0
        if place >= 0 and phones[place + 1] == wanted[i] and draws[i, 0] < go_on:
            place += 1
        else:
            pair = wanted[i] * num_phones + after
            triple = before * num_phones * num_phones + pair
            if triple_offsets[triple + 1] > triple_offsets[triple]:
                places, first, end = triples, triple_offsets[triple], triple_offsets[triple + 1]
            elif pair_offsets[pair + 1] > pair_offsets[pair]:
                places, first, end = pairs, pair_offsets[pair], pair_offsets[pair + 1]
            else:
                first, end = single_offsets[wanted[i]], single_offsets[wanted[i] + 1]
                places = singles
            place = places[first + int(draws[i, 1] * (end - first))]
        found[i] = place
    return found
