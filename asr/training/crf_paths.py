"""The two recursions of `asr.training.phone_crf`, compiled for the CPU: an utterance at a time, whose
sums stay in the processor's caches, where torch's operations go through those of the whole batch.

A state is [b, a], the last phone and the one before. V, the number of phones, is a multiple of WIDTH.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from asr.tokenizer import BLANK_ID

Floats = NDArray[np.float32]
WIDTH = 16  # float32 in a vector register


@numba.njit(nogil=True, cache=True)
def totals_and_occupancies(
    probs: Floats, lengths: NDArray[np.int64], after: Floats, ends: Floats, wanted: bool
) -> tuple[Floats, Floats]:
    """Of a batch.

    Args:
        probs: (B, T', V) of tokens, the blank first.
        lengths: (B,) valid frames.
        after: (V, V, V) at [b, a, c]: P(c | a, b), 0 where c is the end.
        ends: (V, V) at [b, a]: that of the end.
        wanted: whether the occupancies are; else they stay 0.

    Returns:
        (B,) logarithms of the sums over all paths; (B, T', V) the share of each token in each frame.
    """
    num_frames, size = probs.shape[1:]
    before = np.ascontiguousarray(after.transpose(0, 2, 1))
    twice = np.empty((size, size), np.float32)  # P(b | a, b)
    for b in range(size):
        twice[b] = before[b, b]
    blanks = np.empty((num_frames, size, size), np.float32)
    phones = np.empty_like(blanks)
    totals, shares = np.zeros(len(probs), np.float32), np.zeros_like(probs)
    for row in range(len(probs)):
        frames = probs[row, : lengths[row]]
        totals[row] = _forward(frames, after, ends, twice, blanks, phones)
        if wanted:
            _backward(frames, before, ends, twice, blanks, phones, shares[row])
    return totals, shares


@numba.njit(nogil=True, cache=True, fastmath=True)
def _forward(
    probs: Floats, after: Floats, ends: Floats, twice: Floats, blanks: Floats, phones: Floats
) -> float:
    """Scaled sums of the paths up to each frame: blanks and phones (T', V, V), of those whose last frame
    is a blank, and is b; the result is the logarithm of the whole."""
    size = len(ends)
    both, step = np.zeros((size, size), np.float32), np.empty((size, size), np.float32)
    both[0, 0] = 1.0
    blank, phone = both.copy(), np.zeros((size, size), np.float32)
    log_total = 0.0
    for t in range(len(probs)):
        _products(both, after, step)
        for b in range(size):  # a phone comes twice only with a blank between
            step[b, b] = (blank[b] * twice[b]).sum()
        next_blank, next_phone = blanks[t], phones[t]
        total = np.float32(0.0)
        for b in range(size):
            for a in range(size):
                next_blank[b, a] = both[b, a] * probs[t, BLANK_ID]
                next_phone[b, a] = (step[a, b] + phone[b, a]) * probs[t, b]
                total += next_blank[b, a] + next_phone[b, a]
        scale = np.float32(1.0) / total
        for b in range(size):
            for a in range(size):
                next_blank[b, a] *= scale
                next_phone[b, a] *= scale
                both[b, a] = next_blank[b, a] + next_phone[b, a]
        blank, phone = next_blank, next_phone
        log_total += math.log(total)
    return log_total + math.log((both * ends).sum())


@numba.njit(nogil=True, cache=True, fastmath=True)
def _backward(
    probs: Floats, before: Floats, ends: Floats, twice: Floats, blanks: Floats, phones: Floats,
    shares: Floats,
) -> None:  # fmt: skip
    """Writes shares (T', V): of each token of a frame in the whole sum; each frame's sum to 1."""
    size = len(ends)
    after_blank, after_phone = ends.copy(), ends.copy()
    then, both = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    for t in range(len(probs) - 1, -1, -1):
        share = shares[t]
        blank_share = np.float32(0.0)
        for b in range(size):
            phone_share = np.float32(0.0)
            for a in range(size):
                blank_share += blanks[t, b, a] * after_blank[b, a]
                phone_share += phones[t, b, a] * after_phone[b, a]
                after_phone[b, a] *= probs[t, b]  # the sums after b in this frame
            share[b] = phone_share
        share[BLANK_ID] = blank_share
        share /= share.sum()
        for b in range(size):
            for c in range(size):
                then[b, c] = after_phone[c, b]
            then[b, b] = 0.0
        _products(then, before, both)
        total = np.float32(0.0)
        for b in range(size):
            same = after_phone[b, b]
            for a in range(size):
                other = both[b, a] + after_blank[b, a] * probs[t, BLANK_ID]
                after_phone[b, a] += other
                after_blank[b, a] = other + twice[b, a] * same
                total += after_blank[b, a]
        scale = np.float32(1.0) / total
        for b in range(size):
            for a in range(size):
                after_blank[b, a] *= scale
                after_phone[b, a] *= scale


@numba.njit(nogil=True, cache=True, fastmath=True)
def _products(states: Floats, chances: Floats, out: Floats) -> None:
    """out[b, c] = the sum over a of states[b, a] chances[b, a, c], four a at a time: a row of `out` is
    then read and written a quarter as often."""
    size = len(states)
    for b in range(size):
        sums = out[b]
        sums[:] = 0.0
        for a in range(0, size, 4):
            w0, w1, w2, w3 = states[b, a], states[b, a + 1], states[b, a + 2], states[b, a + 3]
            c0, c1, c2, c3 = chances[b, a], chances[b, a + 1], chances[b, a + 2], chances[b, a + 3]
            for c in range(size):
                sums[c] += (w0 * c0[c] + w1 * c1[c]) + (w2 * c2[c] + w3 * c3[c])
