"""n-gram models -> ARPA files, which other tools read."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from asr.decoding.ngram import LN10, NgramModel

_CHUNK_LINES = 100_000


def write_arpa(model: NgramModel, path: Path | str) -> None:
    """Write a model as an ARPA file, through gzip where the name ends in .gz."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with cast(IO[bytes], opener(path, "wb")) as file:
        file.write(b"\\data\\\n")
        for order, count in enumerate(model.counts, start=1):
            file.write(b"ngram %d=%d\n" % (order, count))
        parent_start, start, contexts = 0, 1, [""]
        for order, count in enumerate(model.counts, start=1):
            file.write(b"\n\\%d-grams:\n" % order)
            nodes = np.arange(start, start + count)
            parents = np.searchsorted(model.arrays.contexts["first_child"], nodes, side="right")
            grams: list[str] = []
            for lines, names in _arpa_lines(model, start, parents - 1 - parent_start, contexts):
                file.write("".join(lines).encode())
                if order < model.order:
                    grams.extend(name + " " for name in names)
            parent_start, start, contexts = start, start + count, grams
        file.write(b"\n\\end\\\n")


def _arpa_lines(
    model: NgramModel, start: int, parents: NDArray[np.int64], contexts: Sequence[str]
) -> Iterator[tuple[list[str], list[str]]]:
    nodes, contexts_of = model.arrays
    num_parents = len(contexts_of) - 1
    words = model.words
    end = start + len(parents)
    for first in range(start, end, _CHUNK_LINES):
        last = min(first + _CHUNK_LINES, end)
        names = [
            contexts[parent] + words[word]
            for parent, word in zip(
                parents[first - start : last - start].tolist(),
                nodes["word"][first:last].tolist(),
                strict=True,
            )
        ]
        scores = (nodes["log_prob"][first:last] / LN10).tolist()
        if last <= num_parents and num_parents > 1:
            backoffs = (contexts_of["backoff"][first:last] / LN10).tolist()
            lines = [
                f"{score:.7f}\t{name}\t{backoff:.7f}\n"
                for score, name, backoff in zip(scores, names, backoffs, strict=True)
            ]
        else:
            lines = [f"{score:.7f}\t{name}\n" for score, name in zip(scores, names, strict=True)]
        yield lines, names
