"""Connectionist temporal classification: head, loss, feasibility (Graves et al. 2006)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

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

    Args:
        log_probs: (B, T', V) float32.
        output_lengths: (B,) valid frames.
        targets: (B, U) int64, padded with anything. (int64 also keeps cuDNN's kernel, which is
            limited and not deterministic, out of the way.)
        target_lengths: (B,).

    Returns:
        (B,) losses.
    """
    return nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        targets.long(),
        output_lengths.long(),
        target_lengths.long(),
        blank=BLANK_ID,
        reduction="none",
        zero_infinity=True,
    )


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
