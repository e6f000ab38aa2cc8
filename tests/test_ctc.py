"""CTC loss and greedy decoding against enumeration of every path."""

import doctest
import itertools
import math

import numpy as np
import pytest
import torch

import asr.ctc
from asr.ctc import CTCHead, blank_share, consistency_losses, ctc_losses, min_frames
from asr.decoding.greedy import greedy_decode
from asr.errors import AsrError


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Merge repeats, then remove blanks (0): the definition of CTC's map B.

    >>> collapse((0, 1, 1, 0, 1, 2))
    (1, 1, 2)
    """
    return tuple(token for token, _ in itertools.groupby(path) if token != 0)


def path_log_prob(log_probs: np.ndarray, path: tuple[int, ...]) -> float:
    return float(sum(log_probs[frame, token] for frame, token in enumerate(path)))


def random_log_probs(frames: int, vocab_size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, vocab_size, generator=generator)).log_softmax(-1)


def test_docstrings() -> None:
    assert doctest.testmod(asr.ctc).failed == 0
    assert collapse((0, 1, 1, 0, 1, 2)) == (1, 1, 2)


@pytest.mark.parametrize("target", [(1,), (1, 2), (1, 1), (2, 1, 2), ()])
def test_loss_equals_the_sum_over_all_paths(target: tuple[int, ...]) -> None:
    log_probs = random_log_probs(5, 3, seed=len(target))
    total = sum(
        math.exp(path_log_prob(log_probs.numpy(), path))
        for path in itertools.product(range(3), repeat=5)
        if collapse(path) == target
    )
    targets = torch.tensor([[*target, 0, 0]])
    loss = ctc_losses(log_probs[None], torch.tensor([5]), targets, torch.tensor([len(target)]))
    assert loss.item() == pytest.approx(-math.log(total), rel=1e-5)


def as_torch(
    log_probs: torch.Tensor, lengths: torch.Tensor, *targets: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1),
        targets[0],
        lengths,
        targets[1],
        reduction="none",
        zero_infinity=True,
    )


@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_losses_and_gradients_are_torchs_in_float64(sharpness: float) -> None:
    """Long and sharp too: paths whose probability no float64 holds, and one that does not exist."""
    generator = torch.Generator().manual_seed(3)
    logits = sharpness * torch.randn(6, 300, 20, generator=generator)
    logits[..., 0] += 3 * sharpness  # as early in a training: the blank is nearly sure
    lengths = torch.tensor([300, 300, 211, 90, 80, 1])
    targets = torch.randint(1, 20, (6, 90), generator=generator)
    target_lengths = torch.tensor([90, 0, 90, 60, 90, 1])
    weights = torch.linspace(0.5, 1.5, 6)
    found, gradients = [], []
    for dtype, losses_of in ((torch.float32, ctc_losses), (torch.float64, as_torch)):
        given = logits.to(dtype).requires_grad_()
        losses = losses_of(given.log_softmax(-1), lengths, targets, target_lengths)
        (gradient,) = torch.autograd.grad((losses * weights).sum(), given)
        found.append(losses.float())
        gradients.append(gradient.float())
    assert found[1][4] == 0
    assert sharpness == 1 or found[1].max() > 3_000  # nats; exp(-745) is float64's last
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_tokens_without_any_probability_make_no_nan() -> None:
    log_probs = random_log_probs(4, 3, seed=1)[None].repeat(2, 1, 1)
    log_probs[0, :, 1] = log_probs[1, :, 2] = -math.inf
    log_probs.requires_grad_()
    targets, lengths = torch.tensor([[1], [1]]), torch.tensor([1, 1])
    losses = ctc_losses(log_probs, torch.tensor([4, 4]), targets, lengths)
    (gradient,) = torch.autograd.grad(losses.sum(), log_probs)
    assert losses[0] == 0
    assert losses[1] > 0
    torch.testing.assert_close(gradient.sum(-1), torch.tensor([[0.0] * 4, [-1.0] * 4]))


def test_loss_of_an_utterance_does_not_depend_on_its_padding() -> None:
    log_probs = random_log_probs(9, 4, seed=7)
    alone = ctc_losses(
        log_probs[None, :6], torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2])
    )
    batch = ctc_losses(
        torch.stack((log_probs, log_probs)), torch.tensor([6, 9]),
        torch.tensor([[1, 2, 3, 3], [1, 2, 3, 3]]), torch.tensor([2, 4]),
    )  # fmt: skip
    torch.testing.assert_close(batch[0], alone[0])


@pytest.mark.parametrize("target", [(1,), (1, 1), (1, 2, 2, 1), (2, 2, 2)])
def test_min_frames_is_where_the_first_path_appears(target: tuple[int, ...]) -> None:
    """One frame fewer than min_frames has no path; min_frames has one. The loss says the same."""
    for frames in range(1, 6):
        paths = itertools.product(range(3), repeat=frames)
        possible = any(collapse(path) == target for path in paths)
        assert possible == (frames >= min_frames(target))
        loss = ctc_losses(
            random_log_probs(frames, 3, seed=0)[None], torch.tensor([frames]),
            torch.tensor([target]), torch.tensor([len(target)]),
        )  # fmt: skip
        assert (loss.item() > 0) == possible


@pytest.mark.parametrize("seed", range(20))
def test_greedy_equals_the_best_of_all_paths(seed: int) -> None:
    log_probs = random_log_probs(5, 3, seed).numpy()
    best = max(
        itertools.product(range(3), repeat=5), key=lambda path: path_log_prob(log_probs, path)
    )
    hypothesis = greedy_decode(log_probs)
    assert hypothesis.token_ids == collapse(best)
    assert hypothesis.score == pytest.approx(path_log_prob(log_probs, best), rel=1e-6)


def test_greedy_spans_and_confidences() -> None:
    """Path 1 1 - 1 2: three tokens, the first over two frames."""
    path, probability = [1, 1, 0, 1, 2], [0.9, 0.7, 0.8, 0.6, 0.5]
    probs = np.full((5, 3), 0.0)
    for frame, (token, share) in enumerate(zip(path, probability, strict=True)):
        probs[frame] = (1 - share) / 2
        probs[frame, token] = share
    hypothesis = greedy_decode(np.log(probs).astype(np.float32))
    assert hypothesis.token_ids == (1, 1, 2)
    assert hypothesis.spans == ((0, 2), (3, 4), (4, 5))
    assert hypothesis.confidences == pytest.approx((0.8, 0.6, 0.5), rel=1e-6)


def test_greedy_of_nothing_and_of_blanks_is_empty() -> None:
    assert greedy_decode(np.zeros((0, 3), dtype=np.float32)).token_ids == ()
    blanks = np.log(np.array([[0.9, 0.05, 0.05]] * 4, dtype=np.float32))
    assert greedy_decode(blanks).token_ids == ()


def test_greedy_refuses_nan() -> None:
    with pytest.raises(AsrError, match="NaN"):
        greedy_decode(np.full((2, 3), np.nan, dtype=np.float32))


def test_head_gives_float32_log_probabilities_under_autocast() -> None:
    head = CTCHead(6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs = head(torch.randn(2, 4, 6))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 4))


def test_blank_share_counts_valid_frames_only() -> None:
    log_probs = torch.zeros(2, 4, 3)
    log_probs[0, :, 0] = 1.0  # all blank, 4 frames valid
    log_probs[1, :, 1] = 1.0  # no blank, 1 frame valid
    assert blank_share(log_probs, torch.tensor([4, 1])).item() == pytest.approx(4 / 5)


def two_views() -> tuple[torch.Tensor, torch.Tensor]:
    """log_probs (4, 5, 3) and lengths (4,): two views of utterances of 5 and 3 frames."""
    log_probs = torch.stack([random_log_probs(5, 3, seed) for seed in range(4)])
    return log_probs, torch.tensor([5, 3, 5, 3])


def test_consistency_equals_its_formula() -> None:
    """Half the divergences of either view from the other, summed over valid frames and tokens."""
    log_probs, lengths = two_views()
    expected = []
    for utterance, length in enumerate((5, 3)):
        total = 0.0
        for a, b in ((utterance, utterance + 2), (utterance + 2, utterance)):
            for frame in range(length):
                for token in range(3):
                    p, q = log_probs[a, frame, token].item(), log_probs[b, frame, token].item()
                    total += 0.5 * math.exp(p) * (p - q)
        expected.append(total)
    assert consistency_losses(log_probs, lengths).tolist() == pytest.approx(expected, rel=1e-5)


def test_consistency_of_equal_views_is_zero_whatever_the_padding() -> None:
    log_probs, lengths = two_views()
    log_probs[2:] = log_probs[:2]
    log_probs[3, 3:] = random_log_probs(2, 3, seed=9)
    log_probs[1, 3:] = float("nan")
    assert consistency_losses(log_probs, lengths).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_each_view_learns_from_the_other_as_from_a_constant() -> None:
    """d/dlog p of 1/2 KL(q || p), q constant, is -q/2; of padding it is 0."""
    log_probs, lengths = two_views()
    log_probs.requires_grad_()
    consistency_losses(log_probs, lengths).sum().backward()
    expected = -0.5 * log_probs.detach().exp()[[2, 3, 0, 1]]
    expected[1, 3:] = expected[3, 3:] = 0
    torch.testing.assert_close(log_probs.grad, expected)


def test_consistency_is_computed_in_float32() -> None:
    log_probs, lengths = two_views()
    with torch.autocast("cpu", torch.bfloat16):
        losses = consistency_losses(log_probs.bfloat16(), lengths)
    assert losses.dtype == torch.float32
    exact = consistency_losses(log_probs.bfloat16().float(), lengths)
    assert torch.equal(losses, exact)
