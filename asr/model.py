"""AcousticModel = front end + encoder + CTC head: waveforms (B, S) -> log_probs (B, T', V)."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from asr.ctc import CTCHead
from asr.encoder import BiLSTMEncoder, EncoderConfig
from asr.features import FeatureConfig, FrontEnd, MelAugmentation


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again."""

    vocab_size: int
    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def num_output_frames(self, num_samples: int) -> int:
        """T', the encoder frames of S samples."""
        return self.encoder.num_output_frames(self.features.num_frames(num_samples))

    @property
    def output_frame_s(self) -> float:
        """Seconds that one encoder frame stands for."""
        return self.features.frame_shift_s * self.encoder.subsampling


class ModelOutput(NamedTuple):
    """log_probs (B, T', V), valid below output_lengths (B,)."""

    log_probs: Tensor
    output_lengths: Tensor


class AcousticModel(nn.Module):
    """The whole network. Its output for an utterance does not depend on the rest of the batch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = FrontEnd(config.features)
        self.encoder = BiLSTMEncoder(config.features.num_features, config.encoder)
        self.head = CTCHead(config.encoder.output_size, config.vocab_size)

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self,
        waveforms: Tensor,
        waveform_lengths: Tensor,
        augment: MelAugmentation | None = None,
    ) -> ModelOutput:
        """Shape: (B, S), (B,) -> (B, T', V), (B,)."""
        features, feature_lengths = self.front_end(waveforms, waveform_lengths, augment)
        outputs, output_lengths = self.encoder(features, feature_lengths)
        return ModelOutput(self.head(outputs), output_lengths)
