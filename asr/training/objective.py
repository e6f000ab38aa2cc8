"""What a training step minimises: CTC, and where the recipe says so, CTC of inner layers (Lee & Watanabe
2021, arXiv 2102.03216) and the consistency of two views (CR-CTC: Yao et al. 2024, arXiv 2410.05101).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.ctc import consistency_losses, ctc_losses
from asr.errors import UsageError
from asr.model import ModelOutput


@dataclass
class LossConfig:
    """What training adds to the CTC loss; the network that comes out has the same form either way.

    Attributes:
        intermediate_weight: w of intermediate CTC (Lee & Watanabe 2021, arXiv 2102.03216, who take
            0.3): the loss is 1 - w of the output's and w of the mean of inner layers'; 0: none.
        intermediate_layers: those layers, from 1; empty: the middle one.
        consistency_weight: alpha of CR-CTC (Yao et al. 2024, arXiv 2410.05101, who take 0.2): two views
            of each utterance, masked by SpecAugment independently, learn from each other. From
            augment.start_step on a step costs twice the work and memory; 0: none.
        consistency_time_masks: with CR-CTC, SpecAugment draws this many times its time masks.
        consistency_share: share of trainer.max_epochs with CR-CTC; the epochs after it see one view,
            with SpecAugment's own number of masks: half the work, and closer to clean speech.
    """

    intermediate_weight: float = 0.0
    intermediate_layers: list[int] = field(default_factory=list)
    consistency_weight: float = 0.0
    consistency_time_masks: float = 2.5
    consistency_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.intermediate_weight < 1:
            raise UsageError(
                f"loss.intermediate_weight must be in [0, 1), not {self.intermediate_weight}"
            )
        if not 0 <= self.consistency_weight < math.inf:
            raise UsageError(
                f"loss.consistency_weight must be 0 or more, not {self.consistency_weight}"
            )
        if not 1 <= self.consistency_time_masks < math.inf:
            raise UsageError(
                f"loss.consistency_time_masks must be 1 or more, not {self.consistency_time_masks}"
            )
        if not 0 < self.consistency_share <= 1:
            raise UsageError(
                f"loss.consistency_share must be in (0, 1], not {self.consistency_share}"
            )

    def is_consistent(self, epoch: int, max_epochs: int) -> bool:
        """Whether epoch (the first is 0) of a training of max_epochs has CR-CTC's two views."""
        return self.consistency_weight > 0 and epoch < self.consistency_share * max_epochs

    def taps(self, num_layers: int) -> tuple[int, ...]:
        """The inner layers of an encoder of `num_layers` that have a loss.

        Raises:
            UsageError: the encoder has no such inner layer.
        """
        if not self.intermediate_weight:
            return ()
        layers = self.intermediate_layers or [num_layers // 2]
        wrong = [layer for layer in layers if not 1 <= layer < num_layers]
        if wrong:
            raise UsageError(
                f"loss.intermediate_layers must be inner layers, 1 to {num_layers - 1} of "
                f"encoder.num_layers = {num_layers}; {wrong[0]} is not"
            )
        return tuple(sorted(set(layers)))


@dataclass(frozen=True)
class Objective:
    """Scalars in nats per target token.

    Attributes:
        loss: what is minimised.
        ctc: of the network's output.
        intermediate: mean CTC of the inner layers; None without them.
        consistency: divergence of the two views, mean over both directions; None of one view.
    """

    loss: Tensor
    ctc: Tensor
    intermediate: Tensor | None = None
    consistency: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """What the loss is made of, by name, without gradients; empty where it is CTC alone."""
        extra = {"intermediate_loss": self.intermediate, "consistency_loss": self.consistency}
        there = {name: part.detach() for name, part in extra.items() if part is not None}
        return {"ctc_loss": self.ctc.detach(), **there} if there else {}


def objective(
    output: ModelOutput, targets: Tensor, target_lengths: Tensor, config: LossConfig
) -> Objective:
    """The objective of a batch of B utterances; the CTC losses of several views are averaged.

        (1 - intermediate_weight) CTC + intermediate_weight mean(CTC of inner layers)
            + consistency_weight consistency

    Args:
        output: of B utterances, or of two views of them (2B).
        targets: (B, U).
        target_lengths: (B,).
    """
    views = output.log_probs.shape[0] // targets.shape[0]
    tokens = target_lengths.sum()

    def mean_ctc(log_probs: Tensor) -> Tensor:
        losses = ctc_losses(
            log_probs, output.output_lengths, targets.repeat(views, 1), target_lengths.repeat(views)
        )
        return losses.sum() / views / tokens

    loss = ctc = mean_ctc(output.log_probs)
    intermediate = consistency = None
    if output.intermediate:
        weight = config.intermediate_weight
        intermediate = torch.stack([mean_ctc(inner) for inner in output.intermediate]).mean()
        loss = (1 - weight) * ctc + weight * intermediate
    if views == 2:
        consistency = consistency_losses(output.log_probs, output.output_lengths).sum() / tokens
        loss = loss + config.consistency_weight * consistency
    return Objective(loss, ctc, intermediate, consistency)
