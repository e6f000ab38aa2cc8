"""n-gram language models as flat arrays: scoring, and a compiled file that loads by memory map.

A model is a trie over word ids, laid out level by level. Node 0 is the empty context, node 1 + w the
unigram w, then all bigrams sorted by (first word, second word), and so on. The children of a node
are contiguous and sorted, so a lookup is one binary search, and a model of 14 M n-grams takes 220 MB.

A *state* is the node of the longest context that can still matter (Heafield 2011, KenLM). Scores
are natural logarithms; ARPA files hold base 10.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
SPECIAL_WORDS = (UNKNOWN, BEGIN, END)
ROOT = 0
LN10 = float(np.log(10.0))
_MAGIC = b"ASR-NGRAM-1\n"
_ALIGNMENT = 64


class LanguageModelError(AsrError):
    """A language model that cannot be used; the message names the file and what is wrong."""


NODE = np.dtype([("word", "<i4"), ("log_prob", "<f4"), ("next_state", "<i4")])
CONTEXT = np.dtype([("first_child", "<i4"), ("backoff", "<f4"), ("suffix", "<i4")])


class NgramArrays(NamedTuple):
    """What compiled code sees of a model. M nodes, of which the first P can have children.

    Attributes:
        nodes: (M,) NODE: the last word (-1 at the root), ln P(word | the words before it), and the
            state after this node was matched.
        contexts: (P + 1,) CONTEXT: node i has the children first_child[i] to first_child[i + 1] - 1;
            ln of the back-off weight; the longest known context without the first word.
    """

    nodes: NDArray[np.void]
    contexts: NDArray[np.void]


@dataclass(frozen=True)
class NgramModel:
    """An n-gram model with back-off.

    Attributes:
        words: the vocabulary; `words[i]` is the word with id i.
        counts: number of n-grams of each order, unigrams first.
        arrays: the trie, read-only.
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    arrays: NgramArrays

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return len(self.counts)

    @cached_property
    def word_ids(self) -> dict[str, int]:
        """Id of each word."""
        return {word: word_id for word_id, word in enumerate(self.words)}

    @cached_property
    def unknown_id(self) -> int:
        """Id that words outside the vocabulary are scored as."""
        return self.word_ids[UNKNOWN]

    @cached_property
    def end_id(self) -> int:
        """Id of the end of a sentence."""
        return self.word_ids[END]

    @cached_property
    def begin_state(self) -> int:
        """The state at the beginning of a sentence."""
        return int(self.arrays.nodes["next_state"][1 + self.word_ids[BEGIN]])

    def encode(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Ids of `words`; those outside the vocabulary get `unknown_id`."""
        unknown = self.unknown_id
        return np.array([self.word_ids.get(word, unknown) for word in words], dtype=np.int32)

    def score_words(self, words: Sequence[str], *, end: bool = True) -> NDArray[np.float64]:
        """ln P of each word of a sentence after the words before it.

        Returns:
            (U,) scores, or (U + 1,) with that of the end of the sentence (`end`).
        """
        from asr.decoding.lookup import score_sequence  # numba, which loading does without

        ids = self.encode(words)
        if end:
            ids = np.append(ids, np.int32(self.end_id))
        scores: NDArray[np.float64] = score_sequence(*self.arrays, self.begin_state, ids)
        return scores

    def score(self, sentence: str) -> float:
        """ln P of a sentence, words separated by spaces, beginning and end included."""
        return float(self.score_words(sentence.split()).sum())

    def save(self, path: Path | str) -> None:
        """Write the compiled form; `load_compiled` reads it."""
        text = "\n".join(self.words).encode()
        arrays = {"text": np.frombuffer(text, np.uint8), **self.arrays._asdict()}
        entries, offset = {}, 0
        for name, array in arrays.items():
            entries[name] = {"length": len(array), "offset": offset}
            offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        header = _MAGIC + json.dumps({"counts": self.counts, "arrays": entries}).encode() + b"\n"
        start = -(-len(header) // _ALIGNMENT) * _ALIGNMENT
        with Path(path).open("wb") as file:
            file.write(header)
            for name, array in arrays.items():
                file.seek(start + entries[name]["offset"])
                file.write(np.ascontiguousarray(array).data)
            file.truncate(start + offset)


def load_compiled(path: Path | str) -> NgramModel:
    """Map a compiled model into memory.

    Raises:
        LanguageModelError: not a compiled model, or cut off.
    """
    path = Path(path)
    with damage_explained(path):
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise LanguageModelError(f"{path} is no compiled language model (`asr lm train`)")
            header = json.loads(file.readline())
            start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        content = np.memmap(path, np.uint8, mode="r")
        entries = header["arrays"]
        text = _view(content, start, entries["text"], np.dtype(np.uint8))
        arrays = NgramArrays(
            _view(content, start, entries["nodes"], NODE),
            _view(content, start, entries["contexts"], CONTEXT),
        )
        words = tuple(text.tobytes().decode().split("\n"))
        return NgramModel(words, tuple(header["counts"]), frozen_arrays(arrays))


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """What reading a damaged file raises becomes a LanguageModelError that names it."""
    try:
        yield
    except OSError as error:
        raise LanguageModelError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise LanguageModelError(
            f"{path} is damaged or cut off: make it again from its ARPA file ({error})"
        ) from None


def is_compiled(path: Path | str) -> bool:
    """Whether the file at `path` begins like a compiled model."""
    return begins_with(path, _MAGIC)


def begins_with(path: Path | str, magic: bytes) -> bool:
    """Whether the file at `path` begins with these bytes."""
    with Path(path).open("rb") as file:
        return file.read(len(magic)) == magic


def parents_of(model: NgramModel) -> NDArray[np.int64]:
    """(M - 1,) the context of each node but the root."""
    children = np.diff(model.arrays.contexts["first_child"])
    return np.repeat(np.arange(len(children)), children)


def _view(
    content: NDArray[np.uint8], start: int, entry: dict[str, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    first = start + entry["offset"]
    last = first + dtype.itemsize * entry["length"]
    if last > len(content):
        raise ValueError(f"{last} bytes wanted, {len(content)} there")
    return np.asarray(content[first:last]).view(dtype)


def frozen_arrays(arrays: NgramArrays) -> NgramArrays:
    """Read-only views, so that mapped and freshly built models run the same compiled code."""
    views = []
    for array in arrays:
        view = array.view()
        view.flags.writeable = False
        views.append(view)
    return NgramArrays(*views)


def build_model(
    words: Sequence[str],
    levels: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]],
    backoffs: Sequence[NDArray[Any]],
) -> NgramModel:
    """Lay out a model from its n-grams, order by order.

    Args:
        words: the vocabulary, <unk>, <s> and </s> among it.
        levels: per order (parents, word ids, ln P): `parents` are positions in the level before
            (zeros for the unigrams); sorted by (parent, word id), every unigram at its id.
        backoffs: per order but the last, natural logarithms, as the levels are sorted.
    """
    from asr.decoding.lookup import link  # numba, which loading does without

    sizes = [len(level[1]) for level in levels]
    child_counts = [
        np.bincount(level[0], minlength=size)
        for level, size in zip(levels, [1, *sizes[:-1]], strict=True)
    ]
    nodes = np.zeros(1 + sum(sizes), NODE)
    nodes["word"] = np.concatenate([[-1], *(level[1] for level in levels)])
    nodes["log_prob"] = np.concatenate([[0.0], *(level[2] for level in levels)])
    contexts = np.zeros(1 + sum(len(counts) for counts in child_counts), CONTEXT)
    contexts["first_child"] = 1 + np.cumsum(np.concatenate([[0], *child_counts]))
    contexts["backoff"] = np.concatenate([[0.0], *backoffs, [0.0]])
    link(nodes, contexts, np.zeros(len(nodes), np.int32))
    return NgramModel(tuple(words), tuple(sizes), frozen_arrays(NgramArrays(nodes, contexts)))
