"""Several networks that hear the same speech: a search and a speller read the mean of their phones.

Networks of like quality err in different places; what they agree on is what was said (Dietterich 2000,
Multiple Classifier Systems; for speech recognition Deng & Platt 2014, Interspeech). What is averaged are
log-probabilities, as of views (`asr.warp`); a better network may have a larger share in the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from asr.errors import UsageError
from asr.model import (
    SPELLER,
    AcousticModel,
    ModelConfig,
    ModelOutput,
    geometric_mean,
    network_of,
)


def check_together(first: ModelConfig, other: ModelConfig) -> None:
    """UsageError where two networks' phones cannot be averaged frame by frame.

    That they are the same phones, in the same order, is for the caller to know.
    """
    if not first.num_phones:
        raise UsageError("the networks write no phones")
    if _frames(first) != _frames(other):
        raise UsageError("the networks' frames are not the same stretches of the speech")


def without_speller(model: AcousticModel) -> AcousticModel:
    """The network with all that its phones need."""
    alone = replace(model.config, speller=None, num_pieces=0)
    weights = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith(SPELLER)
    }
    return network_of(alone, weights)


def _frames(config: ModelConfig) -> tuple[int, int, int, int]:
    """All that `ModelConfig.num_output_frames` depends on, and the rate."""
    features = config.features
    return features.sample_rate, features.n_fft, features.hop_length, config.encoder.subsampling


def check_shares(shares: Sequence[float], num_networks: int) -> None:
    """UsageError where these are no shares of so many networks in a mean."""
    if len(shares) != num_networks:
        raise UsageError(f"{num_networks} networks hear together, and {len(shares)} have a share")
    if not all(0 < share < math.inf for share in shares):
        raise UsageError("a network's share must be a number above 0")


def together(outputs: Sequence[ModelOutput], shares: Sequence[float] = ()) -> ModelOutput:
    """The first network's output with the mean of all networks' phones (B, T', P), by their shares."""
    if len(outputs) == 1:
        return outputs[0]
    phones = [output.phones for output in outputs if output.phones is not None]
    return outputs[0]._replace(phones=geometric_mean(torch.stack(phones), shares))
