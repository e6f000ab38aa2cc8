"""What a search has weighed, as a graph of words in which prefixes with the same future are one: for a
second pass with a language model that looks further back (Ney & Ortmanns 1999, Sundermeyer et al. 2014).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_VERTEX = -1
VERTEX = np.dtype(
    [
        *((name, "<i4") for name in ("source", "other", "word", "rank")),
        *((name, "<i4") for name in ("first_token", "last_token")),
        *((name, "<f8") for name in ("gap", "ngram", "score")),
    ],
    align=True,
)


class LatticePath(NamedTuple):
    """A path through a lattice: the vertices of its words, its end, its score."""

    vertices: tuple[int, ...]
    end: int
    score: float


@dataclass(frozen=True)
class WordLattice:
    """Ways to read one utterance.

    A vertex is a word that ends somewhere, or where two ways to come to the same prefix, in the eyes of
    the search, were joined; vertex 0 is the beginning. A path goes from there to one of the ends.

    Attributes:
        log_probs: (T, V) what was searched.
        vertices: (N,) VERTEX, each after its sources. A word: its id in the n-gram model, what comes
            before it (`source`), its ln P there (`ngram`), and the places of its tokens in `tokens`,
            separators included. A join: the better way (`source`), the other one (`other`), and by how
            much that one is worse (`gap`, not above 0).
        ends: (E,) VERTEX, after the whole utterance: a last word (or -1), `ngram` with the end of the
            sentence, `rank` of the word among those spelled alike, and the `score` of the search for
            the path that takes the better way at every join.
        tokens: token ids.
    """

    log_probs: NDArray[np.float32]
    vertices: NDArray[np.void]
    ends: NDArray[np.void]
    tokens: NDArray[np.int32]

    def tokens_of(self, path: LatticePath) -> NDArray[np.int32]:
        """Token ids (U,) of a path."""
        passed = [*(self.vertices[vertex] for vertex in path.vertices), self.ends[path.end]]
        parts = [self.tokens[one["first_token"] : one["last_token"]] for one in passed]
        return np.concatenate(parts)
