"""AcousticModel = front end, encoder, CTC heads, speller: waveforms (B, S) -> log_probs (B, T', V)."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.ctc import CTCHead
from asr.encoder import BiLSTMEncoder, EncoderConfig
from asr.errors import UsageError
from asr.features import FeatureConfig, FrontEnd, MelAugmentation
from asr.speller import Speller

SPELLER = "speller."  # how the names of its weights begin


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again.

    Attributes:
        num_phones: phones of a second head, its blank and the boundary of words included; 0: none.
        speller: of the network that writes pieces of words by those phones; None: there is none.
        num_pieces: that it writes, the blank included.
    """

    vocab_size: int
    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    num_phones: int = 0
    speller: EncoderConfig | None = None
    num_pieces: int = 0

    def __post_init__(self) -> None:
        if self.speller is not None and not self.num_phones:
            raise UsageError("a speller reads phones, and the network writes none")
        if (self.speller is None) != (self.num_pieces == 0):
            raise UsageError("a speller writes pieces of words, and nothing else does")

    def num_output_frames(self, num_samples: int) -> int:
        """T', the encoder frames of S samples."""
        return self.encoder.num_output_frames(self.features.num_frames(num_samples))

    @property
    def output_frame_s(self) -> float:
        """Seconds that one encoder frame stands for."""
        return self.features.frame_shift_s * self.encoder.subsampling


class ModelOutput(NamedTuple):
    """log_probs (B, T', V), valid below output_lengths (B,); those of inner layers where asked for.

    phones (B, T', P) are the log-probabilities of the second head, None without one, and
    intermediate_phones those of inner layers. spelling (B, T'', V') are those of the speller's pieces,
    valid below spelling_lengths (B,), and None where there is no speller or nothing is to be spelt.
    """

    log_probs: Tensor
    output_lengths: Tensor
    intermediate: tuple[Tensor, ...] = ()
    phones: Tensor | None = None
    intermediate_phones: tuple[Tensor, ...] = ()
    spelling: Tensor | None = None
    spelling_lengths: Tensor | None = None


class AcousticModel(nn.Module):
    """The whole network. Its output for an utterance does not depend on the rest of the batch."""

    def __init__(self, config: ModelConfig, *, empty: bool = False) -> None:
        """`empty`: without values, for `load_state_dict(..., assign=True)`: drawing them takes 0.1 s."""
        super().__init__()
        self.config = config
        self.front_end = FrontEnd(config.features)
        size = config.encoder.output_size
        with torch.device("meta") if empty else nullcontext():
            self.encoder = BiLSTMEncoder(config.features.num_features, config.encoder)
            self.head = CTCHead(size, config.vocab_size)
            self.phone_head = CTCHead(size, config.num_phones) if config.num_phones else None
            self.speller = (
                Speller(config.num_phones, config.num_pieces, config.speller)
                if config.speller is not None
                else None
            )

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self,
        waveforms: Tensor,
        waveform_lengths: Tensor,
        augment: MelAugmentation | None = None,
        *,
        views: int = 1,
        taps: Collection[int] = (),
        spell: bool = True,
        average: bool = False,
    ) -> ModelOutput:
        """Log-probabilities of a padded batch.

        Args:
            waveforms: (B, S) float32 in [-1, 1].
            waveform_lengths: (B,) samples.
            augment: for training; applied to the log-mel spectrum.
            views: n: each utterance n times, augmented independently; all in their order, then all
                again (nB in place of B).
            taps: inner layers, from 1, whose log-probabilities are wanted too, by the same heads.
            spell: let the speller spell, if there is one.
            average: one answer for an utterance, by the mean of its views' log-probabilities: B again.

        Shape: (B, S), (B,) -> (B, T', V), (B,).
        """
        features, feature_lengths = self.front_end(waveforms, waveform_lengths, augment, views)
        outputs, output_lengths, inner = self.encoder(features, feature_lengths, taps)
        intermediate = tuple(self.head(hidden) for hidden in inner)
        mean_of = partial(_mean_of_views, views=views if average else 1)
        output_lengths = output_lengths[: len(waveforms)] if average else output_lengths
        if self.phone_head is None:
            return ModelOutput(mean_of(self.head(outputs)), output_lengths, intermediate)
        phones = mean_of(self.phone_head(outputs))
        inner_phones = tuple(self.phone_head(hidden) for hidden in inner)
        output = ModelOutput(
            mean_of(self.head(outputs)), output_lengths, intermediate, phones, inner_phones
        )
        return self.spelled(output) if spell else output

    def spelled(self, output: ModelOutput) -> ModelOutput:
        """An output with what the speller writes of its phones, where there is a speller."""
        if self.speller is None or output.phones is None:
            return output
        spelling, steps = self.speller(output.phones, output.output_lengths)
        return output._replace(spelling=spelling, spelling_lengths=steps)


def network_of(config: ModelConfig, weights: Mapping[str, Tensor]) -> AcousticModel:
    """A network with these weights, in evaluation mode; RuntimeError where they are of another one."""
    model = AcousticModel(config, empty=True)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _mean_of_views(log_probs: Tensor, views: int) -> Tensor:
    """(nB, T', V) -> (B, T', V)."""
    return log_probs if views == 1 else geometric_mean(torch.stack(log_probs.chunk(views)))


def geometric_mean(log_probs: Tensor, shares: Sequence[float] = ()) -> Tensor:
    """Of N distributions, normalised: (N, ..., V) -> (..., V).

    Args:
        shares: of each in the mean, as a ratio; empty: all alike.
    """
    if not shares:
        return log_probs.mean(dim=0).log_softmax(dim=-1)
    ratio = log_probs.new_tensor(shares).view(-1, *[1] * (log_probs.dim() - 1)) / sum(shares)
    return (
        (ratio * log_probs).sum(dim=0).log_softmax(dim=-1)
    )  # no product that autocast would round
