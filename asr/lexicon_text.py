"""A lexicon's text -> words and phone ids, compiled: one look at each byte."""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_NEWLINE = 10
_IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))  # what bytes.split() splits at
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


class Parsed(NamedTuple):
    """N lines that are not empty.

    Attributes:
        words: the first token of each, a newline after it.
        phone_ids: of the other tokens, one line's after the other's; -1 for what is no phone.
        lengths: (N,) how many of these each line has.
        hashes: (N,) equal where word and phones are.
    """

    words: NDArray[np.uint8]
    phone_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def parse(content: bytes, phones: Sequence[bytes], first_id: int) -> Parsed:
    """Read lines of a word and its phones, divided by white space; `first_id` is the first phone's."""
    ends = np.cumsum([0, *map(len, phones)])
    names = np.frombuffer(b"".join(phones), np.uint8)
    slots = np.full(1 << (2 * len(phones)).bit_length(), -1, np.int32)
    _fill(slots, names, ends)
    found = _parse(np.frombuffer(content, np.uint8), _IS_SPACE, slots, names, ends, first_id)
    return Parsed(*found)


@numba.njit(nogil=True, cache=True)
def _hashed(content, first, last, value):  # type: ignore[no-untyped-def]
    """FNV-1a (Fowler, Noll and Vo) of bytes, going on from `value`."""
    for place in range(first, last):
        value = (value ^ np.uint64(content[place])) * _FNV_PRIME
    return value


@numba.njit(nogil=True, cache=True)
def _slot(slots, names, ends, content, first, last):  # type: ignore[no-untyped-def]
    """Where a phone is in the table of hashes, or the empty place where it would be."""
    mask = np.uint64(len(slots) - 1)
    slot = _hashed(content, first, last, _FNV_OFFSET) & mask
    while slots[slot] >= 0:
        start, end = ends[slots[slot]], ends[slots[slot] + 1]
        same = end - start == last - first
        for place in range(last - first):
            same = same and names[start + place] == content[first + place]
        if same:
            return slot
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(nogil=True, cache=True)
def _fill(slots, names, ends):  # type: ignore[no-untyped-def]
    for phone in range(len(ends) - 1):
        slots[_slot(slots, names, ends, names, ends[phone], ends[phone + 1])] = phone


@numba.njit(nogil=True, cache=True)
def _parse(content, is_space, slots, names, ends, first_id):  # type: ignore[no-untyped-def]
    most = len(content) // 2 + 1
    words, phone_ids = np.empty(len(content) + 1, np.uint8), np.empty(most, np.int32)
    lengths, hashes = np.zeros(most, np.int64), np.empty(most, np.uint64)
    size, num_ids, row, at, line_begins = 0, 0, -1, 0, True
    while at < len(content):
        if is_space[content[at]]:
            line_begins = line_begins or content[at] == _NEWLINE
            at += 1
            continue
        first = at
        while at < len(content) and not is_space[content[at]]:
            at += 1
        if line_begins:
            row += 1
            hashes[row] = _hashed(content, first, at, _FNV_OFFSET)
            for place in range(first, at):
                words[size] = content[place]
                size += 1
            words[size] = _NEWLINE
            size += 1
            line_begins = False
        else:
            phone = slots[_slot(slots, names, ends, content, first, at)]
            phone_ids[num_ids] = phone + first_id if phone >= 0 else -1
            hashes[row] = (hashes[row] ^ np.uint64(256 + phone)) * _FNV_PRIME
            num_ids += 1
            lengths[row] += 1
    return words[:size], phone_ids[:num_ids], lengths[: row + 1], hashes[: row + 1]
