"""CTC-CRF's sum against that over every path, and the trigram in it against counts by hand."""

import itertools
import math

import pytest
import torch

from asr.ctc import ctc_losses
from asr.model import ModelOutput
from asr.training.objective import LossConfig, Targets, objective
from asr.training.phone_crf import (
    _recursions,
    log_partitions,
    phone_trigram,
    sequence_log_probs,
)

SEQUENCES = [[1, 2], [2, 2, 1], [1], [1, 1], []]
V = 3
TRIGRAM = phone_trigram(SEQUENCES, V)


def random_log_probs(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator)).log_softmax(-1).requires_grad_()


def spelt(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token]


def log_prob_by_hand(phones: list[int]) -> float:
    said = [0, 0, *phones, 0]
    return sum(
        math.log(TRIGRAM[a, b, c].item())
        for a, b, c in zip(said[:-2], said[1:-1], said[2:], strict=True)
    )


def sum_of_all_paths(log_probs: torch.Tensor) -> torch.Tensor:
    """ln, of one utterance (T', V)."""
    frames = range(len(log_probs))
    paths = list(itertools.product(range(V), repeat=len(log_probs)))
    scores = [
        torch.stack([log_probs[frame, path[frame]] for frame in frames]).sum()
        + log_prob_by_hand(spelt(path))
        for path in paths
    ]
    return torch.stack(scores).logsumexp(0)


def test_the_trigram_is_witten_bells() -> None:
    """Of four sequences: 1 begins three of them; after a beginning and 1 come 2, the end and 1."""
    torch.testing.assert_close(TRIGRAM.sum(-1), torch.ones(V, V))
    counts = torch.tensor([4.0, 5.0, 3.0])  # ends, ones, twos
    unigram = (counts + 3 * torch.full((3,), 1 / 3)) / (12 + 3)
    after_1 = (torch.tensor([3.0, 1, 1]) + 3 * unigram) / (5 + 3)
    torch.testing.assert_close(TRIGRAM[0, 1], (torch.tensor([1.0, 1, 1]) + 3 * after_1) / (3 + 3))
    beginning = (torch.tensor([0.0, 3, 1]) + 2 * unigram) / (4 + 2)
    torch.testing.assert_close(TRIGRAM[0, 0], (torch.tensor([0.0, 3, 1]) + 2 * beginning) / (4 + 2))
    # nothing was seen after a beginning that comes after a phone: the bigram's
    torch.testing.assert_close(TRIGRAM[2, 0], beginning)


def test_log_probability_of_a_sequence_has_its_end() -> None:
    phones, lengths = torch.tensor([[1, 2, 7], [2, 2, 1], [9, 9, 9]]), torch.tensor([2, 3, 0])
    expected = [log_prob_by_hand(one) for one in ([1, 2], [2, 2, 1], [])]
    torch.testing.assert_close(
        sequence_log_probs(TRIGRAM, phones.clamp(max=2), lengths), torch.tensor(expected)
    )


@pytest.mark.parametrize("lengths", [(5, 5), (5, 3), (1, 4)])
def test_log_partitions_and_their_gradient_are_those_of_every_path(
    lengths: tuple[int, int],
) -> None:
    log_probs = random_log_probs(1, 2, 5, V)
    found = log_partitions(log_probs, torch.tensor(lengths), TRIGRAM)
    rows = zip(log_probs, lengths, strict=True)
    expected = torch.stack([sum_of_all_paths(row[:length]) for row, length in rows])
    torch.testing.assert_close(found, expected)
    weights = torch.tensor([1.0, 0.3])  # of a loss that does not count both alike
    (gradient,) = torch.autograd.grad((weights * found).sum(), log_probs)
    (by_hand,) = torch.autograd.grad((weights * expected).sum(), log_probs)
    torch.testing.assert_close(gradient, by_hand)


@pytest.mark.parametrize("together", [2, 16])
def test_the_kernel_for_the_cpu_does_what_torchs_operations_do(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """45 phones, which the kernel pads; utterances of other lengths, one of them of no frame but one;
    more of them than go together, and not as many."""
    monkeypatch.setattr("asr.training.crf_paths._TOGETHER", together)
    size, lengths = 45, torch.tensor([70, 33, 1])
    generator = torch.Generator().manual_seed(6)
    sequences = torch.randint(1, size, (200, 30), generator=generator).tolist()
    trigram = phone_trigram(sequences, size)
    log_probs = random_log_probs(7, 3, 70, size)
    found = log_partitions(log_probs, lengths, trigram)
    expected, occupancy = _recursions(log_probs.detach(), lengths, trigram, True)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), log_probs)
    assert occupancy is not None
    torch.testing.assert_close(gradient, occupancy, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(log_partitions(log_probs.detach(), lengths, trigram), expected)


def test_padding_changes_nothing() -> None:
    alone = random_log_probs(2, 1, 40, V)
    padded = torch.nn.functional.pad(alone.detach(), (0, 0, 0, 25), value=-1.0)
    torch.testing.assert_close(
        log_partitions(alone, torch.tensor([40]), TRIGRAM),
        log_partitions(padded, torch.tensor([40]), TRIGRAM),
    )


def test_it_is_float32_in_training_with_bfloat16() -> None:
    log_probs = random_log_probs(2, 1, 40, V)
    found, gradients = [], []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total = log_partitions(log_probs, torch.tensor([40]), TRIGRAM)
        found.append(total)
        gradients.append(torch.autograd.grad(total.sum(), log_probs)[0])
    torch.testing.assert_close(*found, rtol=0, atol=0)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_long_and_sharp_utterances_stay_finite() -> None:
    log_probs = (60 * random_log_probs(3, 1, 1500, V).detach()).log_softmax(-1).requires_grad_()
    total = log_partitions(log_probs, torch.tensor([1500]), TRIGRAM)
    (gradient,) = torch.autograd.grad(total.sum(), log_probs)
    assert total.isfinite().all()
    # a path passes each frame once
    torch.testing.assert_close(gradient.sum(-1), torch.ones(1, 1500))


def test_a_whole_crf_is_the_share_of_the_right_phones() -> None:
    """-ln of the share, between 0 and 1; with c in between CTC keeps 1 - c."""
    log_probs = random_log_probs(4, 2, 6, V)
    lengths, phones = torch.tensor([6, 4]), torch.tensor([[1, 2], [2, 0]])
    wanted = Targets(phones, torch.tensor([2, 1]), phones, torch.tensor([2, 1]))
    output = ModelOutput(log_probs, lengths, (), log_probs)
    config = LossConfig(phone_weight=0.5, lexicon="lexicon.txt", phone_crf=1.0)
    found = objective(output, wanted, config, TRIGRAM)
    ctc = ctc_losses(log_probs, lengths, phones, torch.tensor([2, 1]))
    right = -ctc + torch.tensor([log_prob_by_hand([1, 2]), log_prob_by_hand([2])])
    everything = torch.stack([sum_of_all_paths(log_probs[0]), sum_of_all_paths(log_probs[1, :4])])
    shares = (right - everything).exp()
    assert ((shares > 0) & (shares < 1)).all()
    assert found.phones is not None
    torch.testing.assert_close(found.phones, -shares.log().sum() / 3)
    torch.testing.assert_close(found.loss, (found.ctc + found.phones) / 2)
    half = LossConfig(phone_weight=0.5, lexicon="lexicon.txt", phone_crf=0.5)
    mixed = objective(output, wanted, half, TRIGRAM).phones
    torch.testing.assert_close(mixed, (ctc.sum() / 3 + found.phones) / 2)


def test_phones_that_do_not_fit_into_the_audio_teach_nothing() -> None:
    """No path spells three phones in two frames: nor is everything else then made less probable."""
    log_probs = random_log_probs(5, 1, 2, V)
    phones, lengths = torch.tensor([[1, 2, 1]]), torch.tensor([3])
    output = ModelOutput(log_probs, torch.tensor([2]), (), log_probs)
    config = LossConfig(phone_weight=0.5, lexicon="lexicon.txt", phone_crf=0.9)
    found = objective(output, Targets(phones, lengths, phones, lengths), config, TRIGRAM)
    (gradient,) = torch.autograd.grad(found.loss, log_probs)
    assert not gradient.any()
