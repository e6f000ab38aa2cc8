"""Connectionist temporal classification: head, loss, feasibility (Graves et al. 2006), consistency of
two views of an utterance (Yao et al. 2024)."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asr.tokenizer import BLANK_ID


class CTCHead(nn.Module):
    """Encoder outputs (B, T', D) -> log_probs (B, T', V), float32 in every precision mode."""

    def __init__(self, input_size: int, vocab_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, vocab_size)

    def forward(self, outputs: Tensor) -> Tensor:
        """Shape: (B, T', D) -> (B, T', V); natural log-probabilities."""
        logits: Tensor = self.linear(outputs)
        return logits.float().log_softmax(dim=-1)


def ctc_losses(
    log_probs: Tensor, output_lengths: Tensor, targets: Tensor, target_lengths: Tensor
) -> Tensor:
    """Negative log-likelihood of each target sequence, in nats; 0 where no path exists.

    On a CPU a kernel of ours (`asr.ctc_paths`), elsewhere torch's.

    Args:
        log_probs: (B, T', V) float32.
        output_lengths: (B,) valid frames.
        targets: (B, U) int64, padded with anything. (int64 also keeps cuDNN's kernel, which is
            limited and not deterministic, out of the way.)
        target_lengths: (B,).

    Returns:
        (B,) losses.
    """
    log_probs, targets = log_probs.float(), targets.long()
    output_lengths, target_lengths = output_lengths.long(), target_lengths.long()
    if log_probs.device.type == "cpu":
        losses: Tensor = _CtcLosses.apply(  # type: ignore[no-untyped-call]
            log_probs, output_lengths, targets, target_lengths
        )
        return losses
    return nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, output_lengths, target_lengths,
        blank=BLANK_ID, reduction="none", zero_infinity=True,
    )  # fmt: skip


class _CtcLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, log_probs: Tensor, output_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        from asr.ctc_paths import (
            losses_and_occupancies,
        )  # numba, which decoding greedily does without

        wanted = ctx.needs_input_grad[0]
        losses, occupancies = losses_and_occupancies(
            log_probs.numpy(),
            output_lengths.numpy(),
            targets.numpy(),
            target_lengths.numpy(),
            wanted,
        )
        if wanted:
            ctx.save_for_backward(torch.from_numpy(occupancies))
        return torch.from_numpy(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (occupancies,) = ctx.saved_tensors
        return occupancies * -gradient[:, None, None], None, None, None


def consistency_losses(log_probs: Tensor, output_lengths: Tensor) -> Tensor:
    """How far two views of each utterance are apart: CR-CTC (Yao et al. 2024, arXiv 2410.05101).

        1/2 sum over t of KL(sg(p2_t) || p1_t) + KL(sg(p1_t) || p2_t)

    sg stops the gradient: each view learns from the other, and neither gives way to it.

    Args:
        log_probs: (2B, T', V) float32: view 1 of all utterances, then view 2 of all.
        output_lengths: (2B,); frames beyond them do not count.

    Returns:
        (B,) nats, summed over frames.
    """
    log_probs = log_probs.float()
    others = log_probs.detach().roll(log_probs.shape[0] // 2, dims=0)
    divergence = nn.functional.kl_div(log_probs, others, reduction="none", log_target=True)
    frames = torch.arange(log_probs.shape[1], device=log_probs.device)
    padding = (frames >= output_lengths[:, None]).unsqueeze(-1)
    first, second = divergence.masked_fill(padding, 0.0).sum(dim=(1, 2)).chunk(2)
    return (first + second) / 2


def min_frames(token_ids: Sequence[int]) -> int:
    """The fewest encoder frames that can spell `token_ids`: one each, one blank between repeats.

    An utterance with fewer frames than this is infeasible: it has no CTC path.

    >>> min_frames([7, 8, 8, 9])
    5
    """
    repeats = sum(a == b for a, b in itertools.pairwise(token_ids))
    return len(token_ids) + repeats


def blank_share(log_probs: Tensor, output_lengths: Tensor) -> Tensor:
    """Share of valid frames whose most probable token is the blank; a scalar.

    Close to 1 for long, it says that the model has not left the all-blank plateau.
    """
    frames = torch.arange(log_probs.shape[1], device=log_probs.device)
    valid = frames < output_lengths[:, None]
    blanks = (log_probs.argmax(dim=-1) == BLANK_ID) & valid
    return blanks.sum() / valid.sum().clamp(min=1)
