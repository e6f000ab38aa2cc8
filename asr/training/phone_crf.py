"""What CTC-CRF adds to CTC (Xiang & Ou 2019, doi 10.1109/ICASSP.2019.8682256): the sum over all phone
sequences that a trigram of phones allows, above whose rest training then lifts the right one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from asr.tokenizer import BLANK_ID

_EDGE = BLANK_ID  # no phone has its id: in a history it is the beginning, as the next phone the end


def phone_trigram(sequences: Iterable[Sequence[int]], num_phones: int) -> Tensor:
    """A trigram of phone sequences, smoothed by the number of distinct successors (Witten & Bell 1991).

    Args:
        sequences: phone ids, 1 to num_phones - 1; empty ones do not count.

    Returns:
        (V, V, V) float32, V = num_phones: P(c | a, b) at [a, b, c], where 0 is the beginning of a
        sequence as a or b and its end as c. Each row sums to 1.
    """
    counts = np.zeros((num_phones,) * 3)
    for sequence in sequences:
        if len(sequence):
            said = np.array([_EDGE, _EDGE, *sequence, _EDGE])
            np.add.at(counts, (said[:-2], said[1:-1], said[2:]), 1)
    unigram = _witten_bell(counts.sum((0, 1)), np.full(num_phones, 1 / num_phones))
    bigram = _witten_bell(counts.sum(0), unigram)
    return torch.from_numpy(_witten_bell(counts, bigram)).float()


def _witten_bell(counts: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., V) counts and (V,) or broadcastable lower order -> (..., V) probabilities."""
    distinct = (counts > 0).sum(-1, keepdims=True)
    unseen = distinct == 0
    mixed: NDArray[np.float64] = (counts + np.where(unseen, 1, distinct) * lower) / (
        counts.sum(-1, keepdims=True) + np.where(unseen, 1, distinct)
    )
    return mixed


def sequence_log_probs(trigram: Tensor, phones: Tensor, lengths: Tensor) -> Tensor:
    """ln P of phone sequences with their ends.

    Args:
        trigram: (V, V, V) of `phone_trigram`.
        phones: (B, U), padded with anything.
        lengths: (B,).

    Returns:
        (B,).
    """
    places = torch.arange(phones.shape[1] + 1, device=phones.device)
    inside = places[None, :-1] < lengths[:, None]
    said = pad(phones.masked_fill(~inside, _EDGE), (2, 1), value=_EDGE)
    terms = trigram[said[:, :-2], said[:, 1:-1], said[:, 2:]].log()
    return terms.masked_fill(places > lengths[:, None], 0.0).sum(1)


def log_partitions(log_probs: Tensor, output_lengths: Tensor, trigram: Tensor) -> Tensor:
    """ln of the sum over all CTC paths of P(path) P(the phones that the path spells), differentiably.

    Exact, and in float32 in every precision mode; on a CPU it is `asr.training.crf_paths` that sums. The
    state of the forward recursion is the last two phones and whether the last frame is a blank, V V 2 of
    them; probabilities are scaled to sum to one in every frame.

    Args:
        log_probs: (B, T', V) natural logarithms.
        output_lengths: (B,).
        trigram: (V, V, V) of `phone_trigram`.

    Returns:
        (B,) float32.
    """
    with torch.autocast(log_probs.device.type, enabled=False):
        totals: Tensor = _LogPartitions.apply(  # type: ignore[no-untyped-call]
            log_probs.float(), output_lengths, trigram
        )
    return totals


class _LogPartitions(torch.autograd.Function):
    """The gradient is how much of the sum passes through each token of each frame."""

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, output_lengths: Tensor, trigram: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        recursions = _compiled if log_probs.device.type == "cpu" else _recursions
        log_totals, occupancy = recursions(log_probs, output_lengths, trigram, wanted)
        if occupancy is not None:
            ctx.save_for_backward(occupancy)
        return log_totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (occupancy,) = ctx.saved_tensors
        return occupancy * gradient[:, None, None], None, None


def _compiled(
    log_probs: Tensor, output_lengths: Tensor, trigram: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """What `_recursions` does, on a CPU in a quarter of the time."""
    from asr.training.crf_paths import WIDTH, totals_and_occupancies  # numba

    size = len(trigram)
    extra = -size % WIDTH
    after, ends = (
        pad(_steps(trigram)[0], (0, extra) * 3),
        pad(trigram[..., _EDGE].T, (0, extra) * 2),
    )
    probs, lengths = pad(log_probs.exp(), (0, extra)), output_lengths.long()
    totals, occupancies = totals_and_occupancies(
        probs.numpy(), lengths.numpy(), after.numpy(), ends.numpy(), wanted
    )
    return torch.from_numpy(totals), torch.from_numpy(occupancies)[..., :size] if wanted else None


def _recursions(
    log_probs: Tensor, output_lengths: Tensor, trigram: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """(B,) logarithms of the sums and, where wanted, (B, T', V) how much passes through each token."""
    emitted = _emitted(log_probs, output_lengths)
    blanks, phones, log_totals = _forward(emitted, trigram)
    if not wanted:
        return log_totals, None
    frames = torch.arange(log_probs.shape[1], device=log_probs.device)
    padding = (frames >= output_lengths[:, None]).unsqueeze(-1)
    occupancy = _occupancy(emitted, blanks, phones, trigram)
    return log_totals, occupancy.masked_fill(padding, 0.0)


def _emitted(log_probs: Tensor, output_lengths: Tensor) -> Tensor:
    """(B, T', V) log-probabilities -> (T', B, V) probabilities; frames of padding are sure blanks."""
    frames = torch.arange(log_probs.shape[1], device=log_probs.device)
    padding = (frames >= output_lengths[:, None]).unsqueeze(-1)
    probs = log_probs.exp().masked_fill(padding, 0.0)
    probs[..., BLANK_ID] += padding[..., 0].to(probs.dtype)
    return probs.transpose(0, 1).contiguous()


def _steps(trigram: Tensor) -> tuple[Tensor, Tensor]:
    """P(c | a, b) at [b, a, c], without the end; of those P(b | a, b) at [b, a]."""
    after = trigram.transpose(0, 1).clone()
    after[..., _EDGE] = 0.0
    return after, after.diagonal(dim1=0, dim2=2).T.contiguous()


def _forward(emitted: Tensor, trigram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled sums of the paths up to each frame, by the last two phones a, b that they spell.

    Returns:
        (T', V, B, V) at [t, b, :, a] of those whose last frame is a blank; the same of those whose last
        frame is b; (B,) logarithms of the whole sums.
    """
    num_frames, batch, size = emitted.shape
    after, twice = _steps(trigram)
    blanks = emitted.new_zeros(num_frames, size, batch, size)
    phones = torch.zeros_like(blanks)
    blank, phone = emitted.new_zeros(size, batch, size), emitted.new_zeros(size, batch, size)
    blank[_EDGE, :, _EDGE] = 1.0
    log_totals = emitted.new_zeros(batch, dtype=torch.float64)
    for frame, probs in enumerate(emitted):
        both = blank + phone
        step = torch.bmm(both, after)  # [b, :, c]
        # a phone comes twice only with a blank between
        step.diagonal(dim1=0, dim2=2).copy_((blank * twice[:, None]).sum(-1).T)
        phone = (step.permute(2, 1, 0) + phone) * probs.T[:, :, None]
        blank = both * probs[:, BLANK_ID, None]
        total = (phone + blank).sum((0, 2))
        scale = total.reciprocal()[:, None]
        blank, phone = blank * scale, phone * scale
        blanks[frame], phones[frame] = blank, phone
        log_totals += total.log()
    ends = trigram[..., _EDGE].T  # [b, a]
    log_totals += ((blank + phone) * ends[:, None]).sum((0, 2)).log()
    return blanks, phones, log_totals.float()


def _occupancy(emitted: Tensor, blanks: Tensor, phones: Tensor, trigram: Tensor) -> Tensor:
    """(B, T', V): the share of each token of a frame in the whole sum; each frame's sum to 1."""
    num_frames, batch, size = emitted.shape
    after, twice = _steps(trigram)
    before = after.transpose(1, 2)  # [b, c, a]
    ends = trigram[..., _EDGE].T[:, None].expand(size, batch, size)
    after_blank, after_phone = ends, ends
    shares = torch.zeros_like(emitted)
    for frame in range(num_frames - 1, -1, -1):
        share = (phones[frame] * after_phone).sum(-1).T
        share[:, BLANK_ID] = (blanks[frame] * after_blank).sum((0, 2))
        shares[frame] = share / share.sum(1, keepdim=True)
        probs = emitted[frame]
        again = after_phone * probs.T[:, :, None]  # [c, :, b]: the sums after c in this frame
        then = again.permute(2, 1, 0).clone()  # [b, :, c]
        same = then.diagonal(dim1=0, dim2=2).T.clone()  # [b, :]
        then.diagonal(dim1=0, dim2=2).zero_()
        both = after_blank * probs[:, BLANK_ID, None] + torch.bmm(then, before)
        after_blank = both + twice[:, None] * same[..., None]
        after_phone = both + again
        scale = after_blank.sum((0, 2)).reciprocal()[:, None]
        after_blank, after_phone = after_blank * scale, after_phone * scale
    return shares.transpose(0, 1)
