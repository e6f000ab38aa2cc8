"""What a training step minimises: CTC, and where the recipe says so, CTC of inner layers (Lee & Watanabe
2021, arXiv 2102.03216) and the consistency of two views (CR-CTC: Yao et al. 2024, arXiv 2410.05101).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.ctc import consistency_losses, ctc_losses
from asr.model import ModelOutput
from asr.training.config import LossConfig


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
