"""The two recursions of `asr.training.phone_crf` for the CPU: in each frame the products of several
utterances are one of torch's, which reads the trigram once for all, and all else is compiled.

A state is [b, a], the last phone and the one before. V, the number of phones, is a multiple of WIDTH.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from asr.tokenizer import BLANK_ID

Floats = NDArray[np.float32]
Lengths = NDArray[np.int64]
WIDTH = 16  # float32 in a vector register
_TOGETHER = 16  # utterances; 10 MB of their states are kept for each second, of 45 phones


def totals_and_occupancies(
    probs: Floats, lengths: Lengths, after: Floats, ends: Floats, wanted: bool
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
    totals, shares = np.empty(len(probs), np.float32), np.zeros_like(probs)
    for first in range(0, len(probs), _TOGETHER):
        rows = slice(first, first + _TOGETHER)
        totals[rows] = _recursions(probs[rows], lengths[rows], after, ends, wanted, shares[rows])
    return totals, shares


def _recursions(
    probs: Floats, lengths: Lengths, after: Floats, ends: Floats, wanted: bool, shares: Floats
) -> Floats:
    """Totals (B,); writes shares (B, T', V) where they are wanted."""
    batch, size = len(probs), probs.shape[2]
    num_frames = int(lengths.max())
    before = np.ascontiguousarray(after.transpose(0, 2, 1))
    twice = np.stack([matrix[b] for b, matrix in enumerate(before)])  # P(b | a, b) at [b, a]
    # sums of the paths up to each frame, scaled: of those whose last frame is a blank, and is b
    blanks = np.empty((num_frames + 1, batch, size, size), np.float32)
    phones = np.empty_like(blanks)
    blanks[0], phones[0] = 0.0, 0.0
    blanks[0, :, 0, 0] = 1.0
    states = np.zeros((size, batch, size), np.float32)  # of several utterances [b, :, a]
    states[0, :, 0] = 1.0
    products = np.empty_like(states)
    log_totals = np.zeros(batch)
    multiply = _multiplication(states, after, products)
    for frame in range(num_frames):
        multiply()
        _step(frame, probs, lengths, twice, products, states, blanks, phones, log_totals)
    log_totals += np.log((states * ends[:, None]).sum((0, 2)))
    if wanted:
        after_blank, after_phone = (np.repeat(ends[None], batch, axis=0) for _ in range(2))
        multiply = _multiplication(states, before, products)
        for frame in range(num_frames - 1, -1, -1):
            _share(frame, probs, lengths, blanks, phones, after_blank, after_phone, states, shares)
            multiply()
            _step_back(frame, probs, lengths, twice, products, after_blank, after_phone)
    return log_totals.astype(np.float32)


def _multiplication(states: Floats, chances: Floats, products: Floats) -> Callable[[], object]:
    """What sets products (V, B, V) at [b, :, c] to the sums over a of [b, :, a] times [b, a, c]."""
    rows, matrices, out = map(torch.from_numpy, (states, chances, products))
    return lambda: torch.bmm(rows, matrices, out=out)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _step(
    frame: int, probs: Floats, lengths: Lengths, twice: Floats, products: Floats, states: Floats,
    blanks: Floats, phones: Floats, log_totals: NDArray[np.float64],
) -> None:  # fmt: skip
    """From the sums up to a frame to those with it, at frame + 1; states (V, B, V) are their sums."""
    size = len(twice)
    for row in range(len(lengths)):
        if frame >= lengths[row]:
            continue
        prob = probs[row, frame]
        blank, phone = blanks[frame, row], phones[frame, row]
        next_blank, next_phone = blanks[frame + 1, row], phones[frame + 1, row]
        for b in range(size):
            for a in range(size):
                next_phone[b, a] = products[a, row, b]
            again = np.float32(0.0)  # a phone comes twice only with a blank between
            for a in range(size):
                again += blank[b, a] * twice[b, a]
            next_phone[b, b] = again
        total = np.float32(0.0)
        for b in range(size):
            state = states[b, row]
            for a in range(size):
                next_blank[b, a] = state[a] * prob[BLANK_ID]
                next_phone[b, a] = (next_phone[b, a] + phone[b, a]) * prob[b]
                total += next_blank[b, a] + next_phone[b, a]
        scale = np.float32(1.0) / total
        for b in range(size):
            state = states[b, row]
            for a in range(size):
                next_blank[b, a] *= scale
                next_phone[b, a] *= scale
                state[a] = next_blank[b, a] + next_phone[b, a]
        log_totals[row] += np.log(total)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _share(
    frame: int, probs: Floats, lengths: Lengths, blanks: Floats, phones: Floats,
    after_blank: Floats, after_phone: Floats, states: Floats, shares: Floats,
) -> None:  # fmt: skip
    """Writes shares (B, T', V): of each token of a frame in the whole sum; each frame's sum to 1.

    after_blank, after_phone (B, V, V): sums over what may follow the frame. states (V, B, V) become
    those with another phone in it, at [the last phone before, :, the phone].
    """
    size = after_phone.shape[1]
    for row in range(len(lengths)):
        if frame >= lengths[row]:
            continue
        share, prob = shares[row, frame], probs[row, frame]
        blank, phone = blanks[frame + 1, row], phones[frame + 1, row]
        of_blank, of_phone = after_blank[row], after_phone[row]
        blank_share = np.float32(0.0)
        for b in range(size):
            phone_share = np.float32(0.0)
            for a in range(size):
                blank_share += blank[b, a] * of_blank[b, a]
                phone_share += phone[b, a] * of_phone[b, a]
                of_phone[b, a] *= prob[b]  # the sums after b in this frame
            share[b] = phone_share
        share[BLANK_ID] = blank_share
        share /= share.sum()
        for b in range(size):
            then = states[b, row]
            for c in range(size):
                then[c] = of_phone[c, b]
            then[b] = 0.0


@numba.njit(nogil=True, cache=True, fastmath=True)
def _step_back(
    frame: int, probs: Floats, lengths: Lengths, twice: Floats, products: Floats,
    after_blank: Floats, after_phone: Floats,
) -> None:  # fmt: skip
    """What may follow a frame becomes what may follow the one before."""
    size = len(twice)
    for row in range(len(lengths)):
        if frame >= lengths[row]:
            continue
        blank_prob = probs[row, frame, BLANK_ID]
        of_blank, of_phone = after_blank[row], after_phone[row]
        total = np.float32(0.0)
        for b in range(size):
            same, both = of_phone[b, b], products[b, row]
            for a in range(size):
                other = both[a] + of_blank[b, a] * blank_prob
                of_phone[b, a] += other
                of_blank[b, a] = other + twice[b, a] * same
                total += of_blank[b, a]
        scale = np.float32(1.0) / total
        for b in range(size):
            for a in range(size):
                of_blank[b, a] *= scale
                of_phone[b, a] *= scale
