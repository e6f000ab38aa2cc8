"""Language models in an eighth of the space, for shipping: what can be worked out is left out,
probabilities become codes of eight bits (as KenLM's -q 8: Federico & Bertoldi 2006), and the whole is
deflated (RFC 1950).

An n-gram of two words or more is stored as the place of its suffix (itself without its first word) among
the children of its context's suffix: its word, its suffix and its next state follow from that. Places
ascend among siblings: what is kept is how many lie between one and the one before.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.decoding.ngram import (
    CONTEXT,
    NODE,
    ROOT,
    LanguageModelError,
    NgramArrays,
    NgramModel,
    begins_with,
    damage_explained,
    frozen_arrays,
    parents_of,
)

_KIND = b"ASR-NGRAM-PACKED-"
MAGIC = _KIND + b"2\n"
_MAX_CODES = 256


def save_packed(model: NgramModel, path: Path | str) -> None:
    """Write a model in little space; `load_packed` reads it.

    Args:
        model: with the suffix of every n-gram (asr.lm_close.close_under_suffixes).
    """
    with Path(path).open("wb") as file:
        arrays = dict(_packed(model))
        entries = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
        header = {"counts": model.counts, "arrays": entries}
        file.write(MAGIC + json.dumps(header).encode() + b"\n")
        deflate = zlib.compressobj(zlib.Z_BEST_COMPRESSION)
        for array in arrays.values():
            file.write(deflate.compress(array.tobytes()))
        file.write(deflate.flush())


def load_packed(path: Path | str) -> NgramModel:
    """Read a packed model into memory, as large there as any other.

    Raises:
        LanguageModelError: not a packed model, or cut off.
    """
    path = Path(path)
    with damage_explained(path):
        with path.open("rb") as file:
            if file.readline() != MAGIC:
                raise LanguageModelError(
                    f"{path} is no packed language model, or one of another asr: pack it again"
                )
            header = json.loads(file.readline())
            inflate = zlib.decompressobj()
            rest = file.read()
        arrays = {}
        for name, (dtype, shape) in header["arrays"].items():
            size = np.dtype(dtype).itemsize * int(np.prod(shape))
            content = inflate.decompress(rest, size) if size else b""
            rest = inflate.unconsumed_tail
            arrays[name] = np.frombuffer(content, dtype).reshape(shape)
        if inflate.decompress(rest, 1) or not inflate.eof:  # where the checksum of all is
            raise ValueError("its end is not where it should be")
        return _unpacked(tuple(header["counts"]), arrays)


def is_packed(path: Path | str) -> bool:
    """Whether the file at `path` begins like a packed model, be it of another asr."""
    return begins_with(path, _KIND)


def suffixes_of(model: NgramModel) -> NDArray[np.int64]:
    """(M,) the node of each n-gram without its first word: ROOT for unigrams, -1 where there is none."""
    nodes, contexts = model.arrays
    parents, orders = parents_of(model), orders_of(model)
    keys = parents << 32 | nodes["word"][1:]  # ascending
    shorter = contexts["suffix"][parents].astype(np.int64)
    wanted = shorter << 32 | nodes["word"][1:]
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = (keys[found] == wanted) & (orders[1 + found] == orders[1:] - 1)
    suffixes = np.where(there, 1 + found, -1)
    suffixes[: model.counts[0]] = ROOT
    return np.concatenate([[ROOT], suffixes])


def orders_of(model: NgramModel) -> NDArray[np.int64]:
    """(M,) the number of words of each node."""
    return np.repeat(np.arange(model.order + 1), [1, *model.counts])


def _packed(model: NgramModel) -> Iterator[tuple[str, NDArray[Any]]]:
    nodes, contexts = model.arrays
    suffixes = suffixes_of(model)
    if suffixes.min() < 0:
        raise ValueError("the suffix of an n-gram is missing")
    yield "text", np.frombuffer("\n".join(model.words).encode(), np.uint8)
    first_siblings = contexts["first_child"][suffixes[parents_of(model)]]
    places = suffixes[1:] - first_siblings
    steps = np.diff(places, prepend=0)
    eldest = contexts["first_child"][:-1][np.diff(contexts["first_child"]) > 0] - 1
    steps[eldest] = places[eldest] + 1  # as from -1
    first = 1
    for order, count in enumerate(model.counts, start=1):
        level = slice(first, first + count)
        if order == 1:
            yield "log_probs 1", nodes["log_prob"][level]
        else:
            yield f"gaps {order}", _to_bytes(steps[first - 1 : first - 1 + count] - 1)
            yield from _coded(f"log_probs {order}", nodes["log_prob"][level])
        if order < model.order:
            children = np.diff(contexts["first_child"][first : first + count + 1])
            yield f"children {order}", _to_bytes(children)
            yield from _coded(f"backoffs {order}", contexts["backoff"][level])
        first += count


def _unpacked(counts: tuple[int, ...], arrays: dict[str, NDArray[Any]]) -> NgramModel:
    from asr.decoding.lookup import unpack_level  # numba

    order, num_nodes = len(counts), 1 + sum(counts)
    nodes = np.zeros(num_nodes, NODE)
    contexts = np.zeros(num_nodes - counts[-1] + 1, CONTEXT)
    children = [np.array([counts[0]], np.int32)]
    children += [_from_bytes(arrays[f"children {k}"]) for k in range(1, order)]
    for count, of_each in zip(counts, children, strict=True):
        if of_each.min(initial=0) < 0 or of_each.sum(dtype=np.int64) != count:
            raise ValueError(f"{count} n-grams wanted")
    contexts["first_child"][0] = 1
    contexts["first_child"][1:] = 1 + np.cumsum(np.concatenate(children))
    suffixes = np.zeros(num_nodes, np.int32)
    nodes["word"][0] = -1
    first, first_parent = 1, 0
    for k, count in enumerate(counts, start=1):
        level, matters = slice(first, first + count), np.zeros(count, bool)
        if k < order:
            contexts["backoff"][level] = _decoded(arrays, f"backoffs {k}")
            matters = (children[k] > 0) | (contexts["backoff"][level] != 0.0)
        if k == 1:
            nodes["word"][level] = np.arange(count)
            nodes["log_prob"][level] = arrays["log_probs 1"]
            nodes["next_state"][level] = np.where(matters, np.arange(1, 1 + count), ROOT)
        else:
            gaps = _from_bytes(arrays[f"gaps {k}"])
            nodes["log_prob"][level] = _decoded(arrays, f"log_probs {k}")
            if len(gaps) != count or not unpack_level(
                nodes, contexts, suffixes, first_parent, first, gaps, matters
            ):
                raise ValueError(f"{count} n-grams with a suffix each wanted")
        first_parent, first = first, first + count
    contexts["suffix"][:-1] = suffixes[: len(contexts) - 1]
    names = tuple(arrays["text"].tobytes().decode().split("\n"))
    if len(names) != counts[0]:
        raise ValueError(f"{counts[0]} words wanted, {len(names)} there")
    return NgramModel(names, counts, frozen_arrays(NgramArrays(nodes, contexts)))


def _to_bytes(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """(N,) integers from 0 -> (B, N) their bytes, the lowest first, as many as the largest needs."""
    width = max(1, (int(numbers.max(initial=0)).bit_length() + 7) // 8)
    return numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T.copy()


def _from_bytes(rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    numbers: NDArray[np.int32] = rows[0].astype(np.int32)
    for place, row in enumerate(rows[1:], start=1):
        numbers |= row.astype(np.int32) << (8 * place)
    return numbers


def _coded(name: str, values: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Codes of eight bits, and what each stands for: the mean of values of which there are as many.

    0 stays 0, which says that a context without children is none; at most 256 values stay as they are.
    """
    table = np.unique(values)
    if len(table) > _MAX_CODES:
        parts = np.array_split(np.sort(values[values != 0]), _MAX_CODES - 1)
        table = np.unique([0.0, *(part.mean() for part in parts)]).astype(np.float32)
    middles = (table[1:].astype(np.float64) + table[:-1]) / 2
    codes = np.searchsorted(middles, values)
    if (values == 0).any():
        zero = int(np.searchsorted(table, 0.0))
        codes[(codes == zero) & (values != 0)] += 1 if zero == 0 else -1
    yield name, codes.astype(np.uint8)
    yield f"{name}: values", table


def _decoded(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = arrays[f"{name}: values"][arrays[name]]
    return values
