"""Greedy CTC decoding: the best path, repeats merged, blanks removed (Graves et al. 2006)."""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.hypothesis import Hypothesis
from asr.errors import AsrError


def greedy_decode(log_probs: NDArray[np.float32], blank_id: int = 0) -> Hypothesis:
    """Decode one utterance.

    Args:
        log_probs: (T', V) natural log-probabilities, trimmed to the utterance's length.
        blank_id: id of the CTC blank.

    Returns:
        The tokens of the best path. A token's span is its run of frames; its confidence the mean
        probability over that run; the score the path's log-probability.

    Raises:
        AsrError: log_probs holds NaN.
    """
    if log_probs.shape[0] == 0:
        return Hypothesis((), (), (), 0.0)
    path = log_probs.argmax(axis=1)
    path_log_probs = log_probs[np.arange(len(path)), path].astype(np.float64)
    if np.isnan(path_log_probs).any():  # to argmax NaN is the largest
        raise AsrError("log-probabilities hold NaN: the model or its input is damaged")
    starts = np.flatnonzero(np.diff(path, prepend=-1) != 0)
    ends = np.append(starts[1:], len(path))
    means = np.add.reduceat(np.exp(path_log_probs), starts) / (ends - starts)
    is_token = path[starts] != blank_id
    starts, ends = starts[is_token], ends[is_token]
    return Hypothesis(
        token_ids=tuple(path[starts].tolist()),
        spans=tuple(zip(starts.tolist(), ends.tolist(), strict=True)),
        confidences=tuple(means[is_token].tolist()),
        score=float(path_log_probs.sum()),
    )
