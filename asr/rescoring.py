"""The second pass of decoding: a neural language model chooses among the paths of a search's lattice.

    score = score of the search + lm_weight * share * (ln P of the neural model - ln P of the n-grams)

so that the language model's weight stays what it is, and a share of it goes to the neural model. It
walks through the lattice word by word and keeps the best few histories of each vertex (Sundermeyer et
al. 2014, "Lattice decoding and rescoring with long-span neural network language models").
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lattice import NO_VERTEX, LatticePath, WordLattice
from asr.decoding.ngram import NgramModel
from asr.errors import UsageError
from asr.rnnlm import BOUNDARY_ID, Beginnings, Rescorer

NUM_HISTORIES = 4  # of a vertex that are gone on with; more cost time and bring nothing
_UTTERANCES_TOGETHER = 16


def check_share(share: float) -> None:
    """UsageError where `share` is none."""
    if not 0 <= share <= 1:
        raise UsageError(f"the neural language model's share must be 0 to 1, not {share}")


class Trail(NamedTuple):
    """The vertices of the words of a path, the last one first."""

    vertex: int
    before: Optional["Trail"]


class History(NamedTuple):
    """A path from the beginning of a lattice.

    Attributes:
        gain: what it has over the best path of the search, as far as there is one.
        beginning: its words, in `Beginnings`.
    """

    gain: float
    beginning: int
    trail: Trail | None


@dataclass(frozen=True)
class BoundRescorer:
    """A neural language model beside the n-grams that a search used.

    Attributes:
        spelled: the word that tokens write, for words that the n-grams lack.
    """

    rescorer: Rescorer
    ngram: NgramModel
    spelled: Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Rescoring:
    """A second pass ready to use.

    Attributes:
        lm_weight: of the search.
        share: of the neural model in the language model's score, 0 to 1.
    """

    bound: BoundRescorer
    lm_weight: float
    share: float

    def __post_init__(self) -> None:
        check_share(self.share)

    def choose(self, lattices: Sequence[WordLattice]) -> list[LatticePath]:
        """The best path of each lattice."""
        return [paths[0] for paths in self.best_paths(lattices, 1)]

    def best_paths(self, lattices: Sequence[WordLattice], count: int) -> list[list[LatticePath]]:
        """Up to `count` paths of each lattice, the best first; some may have the same words."""
        found: list[list[LatticePath]] = []
        for first in range(0, len(lattices), _UTTERANCES_TOGETHER):
            found += self._best_paths(lattices[first : first + _UTTERANCES_TOGETHER], count)
        return found

    def _best_paths(self, lattices: Sequence[WordLattice], count: int) -> list[list[LatticePath]]:
        walks = [_Walk(lattice, self.bound) for lattice in lattices]
        beginnings = Beginnings(self.bound.rescorer.network)
        for level in range(max(walk.num_levels for walk in walks)):
            self._add_words(beginnings, walks, level)
            for walk in walks:
                walk.join(level)
        return self._end(beginnings, walks, count)

    def _add_words(self, beginnings: Beginnings, walks: Sequence["_Walk"], level: int) -> None:
        coming = [
            (walk, vertex, history)
            for walk in walks
            for vertex in walk.words[level]
            for history in walk.histories[walk.sources[vertex]]
        ]
        grown = beginnings.extended(
            [history.beginning for _, _, history in coming],
            [walk.pieces[vertex] for walk, vertex, _ in coming],
        )
        for (walk, vertex, history), beginning in zip(coming, grown, strict=True):
            gain = history.gain + self._gain(beginnings, history, beginning, walk.ngram[vertex])
            walk.histories[vertex].append(History(gain, beginning, Trail(vertex, history.trail)))

    def _end(
        self, beginnings: Beginnings, walks: Sequence["_Walk"], count: int
    ) -> list[list[LatticePath]]:
        coming = [
            (number, end, history)
            for number, walk in enumerate(walks)
            for end, source in enumerate(walk.end_sources)
            for history in walk.histories[source]
        ]
        grown = beginnings.extended(
            [history.beginning for _, _, history in coming],
            [(*walks[number].end_pieces[end], BOUNDARY_ID) for number, end, _ in coming],
        )
        endings: list[list[tuple[float, int, Trail | None]]] = [[] for _ in walks]
        for (number, end, history), beginning in zip(coming, grown, strict=True):
            score, ngram = walks[number].end_scores[end], walks[number].end_ngram[end]
            score += history.gain + self._gain(beginnings, history, beginning, ngram)
            endings[number].append((score, end, history.trail))
        return [
            [
                LatticePath(tuple(_vertices(trail))[::-1], end, score)
                for score, end, trail in nlargest(count, found, key=itemgetter(0))
            ]
            for found in endings
        ]

    def _gain(
        self, beginnings: Beginnings, history: History, beginning: int, ngram: float
    ) -> float:
        """What the neural model adds for the words from a history to a beginning."""
        log_probs = beginnings.log_probs
        neural = log_probs[beginning] - log_probs[history.beginning]
        return self.lm_weight * self.share * (neural - ngram)


class _Walk:
    """A lattice, and the best histories of the vertices that were come to so far.

    Vertices are gone through in levels: a word is a level above what comes before it, a join on the
    higher level of its two.
    """

    def __init__(self, lattice: WordLattice, bound: BoundRescorer) -> None:
        vertices, ends = lattice.vertices, lattice.ends
        self.sources, self._others = vertices["source"].tolist(), vertices["other"].tolist()
        self._gaps, self.ngram = vertices["gap"].tolist(), vertices["ngram"].tolist()
        self.end_sources, self.end_ngram = ends["source"].tolist(), ends["ngram"].tolist()
        self.end_scores = ends["score"].tolist()
        self.pieces = list(_pieces(lattice, vertices, bound))
        self.end_pieces = list(_pieces(lattice, ends, bound))
        self.histories: list[list[History]] = [[] for _ in self.sources]
        self.histories[0] = [History(0.0, 0, None)]
        levels = [0]
        for source, other in zip(self.sources[1:], self._others[1:], strict=True):
            is_word = other == NO_VERTEX
            levels.append(levels[source] + 1 if is_word else max(levels[source], levels[other]))
        self.num_levels = 1 + max(levels)
        self.words = defaultdict[int, list[int]](list)
        self._joins = defaultdict[int, list[int]](list)
        for vertex, level in enumerate(levels[1:], start=1):
            kind = self.words if self._others[vertex] == NO_VERTEX else self._joins
            kind[level].append(vertex)

    def join(self, level: int) -> None:
        """The best histories of the joins of a level; of the same words the better path."""
        for vertex in self._joins[level]:
            gap = self._gaps[vertex]
            others = self.histories[self._others[vertex]]
            coming = [
                *self.histories[self.sources[vertex]],
                *(history._replace(gain=history.gain + gap) for history in others),
            ]
            best: dict[int, History] = {}
            for history in sorted(coming, key=lambda history: -history.gain):
                best.setdefault(history.beginning, history)
            self.histories[vertex] = list(best.values())[:NUM_HISTORIES]


def _pieces(
    lattice: WordLattice, vertices: NDArray[np.void], bound: BoundRescorer
) -> Iterator[list[int]]:
    """The neural model's pieces of the word of each vertex; none where there is no word."""
    for word, first, last in zip(
        vertices["word"].tolist(), vertices["first_token"], vertices["last_token"], strict=True
    ):
        if word < 0:
            yield []
        elif word == bound.ngram.unknown_id:
            yield bound.rescorer.encode(bound.spelled(lattice.tokens[first:last].tolist()).split())
        else:
            yield bound.rescorer.encode([bound.ngram.words[word]])


def _vertices(trail: Trail | None) -> Iterator[int]:
    while trail is not None:
        yield trail.vertex
        trail = trail.before
