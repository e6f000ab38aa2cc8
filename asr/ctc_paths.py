"""CTC's losses and how often its paths pass each token (Graves et al. 2006), compiled for the CPU.

Sums over paths are of probabilities, not of their logarithms: torch's own loop spends its time in three
exponentials and a logarithm for each state of each frame. So that nothing underflows, a number is kept
as m 2^(512 k), k an integer of its own; all is in float64, where torch's is in float32.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from asr.tokenizer import BLANK_ID

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
_BITS = 512
_BIG, _SMALL = 2.0**_BITS, 2.0**-_BITS
_HIGH, _LOW = 2.0 ** (_BITS // 2), 2.0 ** (-_BITS // 2)  # m is brought between the two
_LN_BIG = _BITS * math.log(2.0)
_NONE = -(2**40)  # k of zero


@numba.njit(nogil=True, cache=True)
def losses_and_occupancies(
    log_probs: Floats,
    lengths: Integers,
    targets: Integers,
    target_lengths: Integers,
    wanted: bool,
) -> tuple[Floats, Floats]:
    """Of a padded batch.

    Args:
        log_probs: (B, T', V).
        lengths: (B,) valid frames.
        targets: (B, U).
        target_lengths: (B,).
        wanted: whether the shares are; else they stay 0.

    Returns:
        (B,) negative log-likelihoods in nats, and (B, T', V) the share of all paths, weighted by their
        probabilities, that is at each token in each frame: minus the gradient of the former. Both are 0
        where no path exists, and the shares beyond each length.
    """
    losses = np.zeros(len(log_probs), np.float32)
    occupancies = np.zeros_like(log_probs)
    for row in range(len(log_probs)):
        frames = log_probs[row, : lengths[row]]
        labels = np.full(2 * target_lengths[row] + 1, BLANK_ID, np.int64)
        labels[1::2] = targets[row, : target_lengths[row]]
        losses[row] = _loss_and_occupancy(frames, labels, occupancies[row], wanted)
    return losses, occupancies


@numba.njit(nogil=True, cache=True)
def _loss_and_occupancy(
    log_probs: Floats, labels: Integers, occupancy: Floats, wanted: bool
) -> float:
    """Of one utterance, (T', V); labels (S,) have a blank before, between and after the targets."""
    num_frames, num_states = len(log_probs), len(labels)
    if not num_frames:
        return 0.0
    probs, exponents = _exponentials(log_probs)
    skips = np.zeros(num_states + 2, np.bool_)  # whether a path may come to state s from s - 2
    for s in range(3, num_states, 2):
        skips[s] = labels[s] != labels[s - 2]
    # Of all paths to each state of each frame, without the state's own probability.
    before, before_k = np.zeros((num_frames, num_states)), np.full((num_frames, num_states), _NONE)
    m, k = np.zeros(num_states + 4), np.full(num_states + 4, _NONE)  # state s is at s + 2
    for t in range(num_frames):
        first, last = _reachable(t, num_frames, num_states)
        for s in range(last, first - 1, -1):  # a state is read by those above, which are done
            here, here_k = _added(m[s + 2], k[s + 2], m[s + 1], k[s + 1])
            if skips[s]:
                here, here_k = _added(here, here_k, m[s], k[s])
            if t == 0:
                here, here_k = 1.0, 0
            before[t, s], before_k[t, s] = here, here_k
            label = labels[s]
            m[s + 2], k[s + 2] = _scaled(here * probs[t, label], here_k + exponents[t, label])
    total, total_k = _added(m[-3], k[-3], m[-4], k[-4])
    if not total:
        return 0.0
    loss = -(math.log(total) + total_k * _LN_BIG)
    if not wanted:
        return loss
    m[:], k[:] = 0.0, _NONE
    for t in range(num_frames - 1, -1, -1):
        first, last = _reachable(t, num_frames, num_states)
        for s in range(first, last + 1):
            here, here_k = _added(m[s + 2], k[s + 2], m[s + 3], k[s + 3])
            if skips[s + 2]:
                here, here_k = _added(here, here_k, m[s + 4], k[s + 4])
            if t == num_frames - 1:
                here, here_k = 1.0, 0
            label = labels[s]
            here, here_k = _scaled(here * probs[t, label], here_k + exponents[t, label])
            m[s + 2], k[s + 2] = here, here_k
            share_k = here_k + before_k[t, s] - total_k
            if share_k > -2:  # else less than 2^-256
                occupancy[t, label] += here * before[t, s] / total * _BIG**share_k
    return loss


@numba.njit(nogil=True, cache=True)
def _exponentials(log_probs: Floats) -> tuple[NDArray[np.float64], Integers]:
    """exp of (T', V), as m and k."""
    m, k = np.zeros(log_probs.shape), np.full(log_probs.shape, _NONE)
    for t, token in np.ndindex(log_probs.shape):
        value = float(log_probs[t, token])
        if value > -math.inf:
            k[t, token] = round(value / _LN_BIG)
            m[t, token] = math.exp(value - k[t, token] * _LN_BIG)
    return m, k


@numba.njit(nogil=True, cache=True, inline="always")
def _reachable(t: int, num_frames: int, num_states: int) -> tuple[int, int]:
    """First and last state that a path can be in at frame t."""
    return max(0, num_states - 2 * (num_frames - t)), min(num_states - 1, 2 * t + 1)


@numba.njit(nogil=True, cache=True, inline="always")
def _added(m: float, k: int, other: float, other_k: int) -> tuple[float, int]:
    if k == other_k:
        return m + other, k
    if k > other_k:
        return (m + other * _SMALL if k - other_k == 1 else m), k
    return (other + m * _SMALL if other_k - k == 1 else other), other_k


@numba.njit(nogil=True, cache=True, inline="always")
def _scaled(m: float, k: int) -> tuple[float, int]:
    if m < _LOW:
        return (m * _BIG, k - 1) if m else (0.0, _NONE)
    return (m * _SMALL, k + 1) if m > _HIGH else (m, k)
