"""Where known tokens lie in time: the best CTC path through a given token sequence (Viterbi)."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError


class AlignmentError(AsrError):
    """The tokens do not fit into the frames."""


@dataclass(frozen=True)
class Alignment:
    """Where each of U tokens lies.

    Attributes:
        spans: U pairs (first, last + 1) of frames.
        confidences: U mean probabilities over the span, in [0, 1].
        score: ln P of the path.
    """

    spans: tuple[tuple[int, int], ...]
    confidences: tuple[float, ...]
    score: float


def align_tokens(
    log_probs: NDArray[np.float32], token_ids: NDArray[np.int32], blank_id: int = 0
) -> Alignment:
    """Align tokens to frames.

    Args:
        log_probs: (T, V) natural log-probabilities.
        token_ids: (U,) without blanks.

    Raises:
        AlignmentError: fewer frames than tokens, a blank between repeats included.
    """
    token_ids = np.ascontiguousarray(token_ids, np.int32)
    needed = len(token_ids) + int((np.diff(token_ids) == 0).sum())
    if needed > len(log_probs):
        raise AlignmentError(
            f"{len(token_ids)} tokens need at least {needed} frames, there are {len(log_probs)}"
        )
    log_probs = np.ascontiguousarray(log_probs, np.float32)
    spans, means, score = viterbi(log_probs, token_ids, blank_id)
    return Alignment(
        tuple((int(first), int(last)) for first, last in spans), tuple(means.tolist()), float(score)
    )


@numba.njit(nogil=True, cache=True)
def viterbi(log_probs, token_ids, blank_id):  # type: ignore[no-untyped-def]
    """Best path: (spans (U, 2), mean probabilities (U,), ln P). States are blank, token, blank, ..."""
    num_frames, num_states = len(log_probs), 2 * len(token_ids) + 1
    labels = np.full(num_states, blank_id, np.int32)
    labels[1::2] = token_ids
    scores = np.full(num_states, -np.inf, np.float64)
    steps = np.zeros((num_frames, num_states), np.int8)
    scores[0] = 0.0
    for frame in range(num_frames):
        first = max(0, num_states - 2 * (num_frames - frame))
        for state in range(min(num_states - 1, 2 * frame + 1), first - 1, -1):
            best, step = scores[state], 0
            if frame == 0 and state == 1:
                best = 0.0
            elif frame > 0 and state > 0:
                if scores[state - 1] > best:
                    best, step = scores[state - 1], 1
                skips = state > 1 and state % 2 == 1 and labels[state] != labels[state - 2]
                if skips and scores[state - 2] > best:
                    best, step = scores[state - 2], 2
            scores[state] = best + log_probs[frame, labels[state]]
            steps[frame, state] = step
    state = num_states - 1
    if num_states > 1 and scores[state - 1] > scores[state]:
        state -= 1
    total = scores[state]
    spans = np.zeros((len(token_ids), 2), np.int64)
    means = np.zeros(len(token_ids), np.float64)
    for frame in range(num_frames - 1, -1, -1):
        if state % 2 == 1:
            token = state // 2
            if spans[token, 1] == 0:
                spans[token, 1] = frame + 1
            spans[token, 0] = frame
            means[token] += np.exp(log_probs[frame, labels[state]])
        state -= steps[frame, state]
    return spans, means / np.maximum(1, spans[:, 1] - spans[:, 0]), total
