"""Learning rates step by step, and what an accumulated step is made of."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from asr.augment import SpecAugmentConfig
from asr.bundle import Bundle
from asr.encoder import EncoderConfig
from asr.errors import UsageError
from asr.model import AcousticModel, ModelConfig
from asr.tokenizer import CharTokenizer
from asr.training.dataset import Batch
from asr.training.engine_config import OptimizerConfig, SchedulerConfig
from asr.training.lit_module import AsrLitModule
from asr.training.optim import (
    Muon,
    WarmupPlateau,
    adamw,
    lr_factor,
    lr_schedule,
    make_optimizer,
    orthogonalized,
    shared,
)


def test_learning_rate_warms_up_and_falls() -> None:
    config = SchedulerConfig(warmup_steps=10, final_share=0.01)
    factors = [lr_factor(step, 100, config) for step in range(101)]
    assert factors[0] == 0.1
    assert factors[9] == factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0.01)


def test_biases_and_norms_do_not_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, others = adamw(model.parameters(), OptimizerConfig(weight_decay=0.1)).param_groups
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(2, 3)]
    assert len(others["params"]) == 3
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


class Small(torch.nn.Module):
    """An LSTM and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(8, 16)
        self.head = torch.nn.Linear(16, 3)

    def backward(self, seed: int) -> None:
        """Gradients of a loss on random inputs."""
        inputs = torch.randn(20, 5, 8, generator=torch.Generator().manual_seed(seed))
        self.zero_grad()
        self.head(self.lstm(inputs)[0]).square().mean().backward()


MUON = OptimizerConfig(kind="muon", lr=3e-3, weight_decay=0.1)


@pytest.mark.parametrize("shape", [(4, 12, 40), (4, 40, 12), (4, 30, 30)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    result = orthogonalized(matrices)
    assert result.shape == matrices.shape
    # In the matrix's own singular vectors it is a diagonal near 1; square matrices have small values.
    diagonal = (left.mT @ result @ right.mT).diagonal(dim1=-2, dim2=-1)
    assert diagonal.max() < 1.3
    assert diagonal.median() > 0.65
    if shape[1] != shape[2]:
        assert diagonal.min() > 0.6


def test_muon_steps_each_gate_as_torch_does() -> None:
    model = Small()
    ours = make_optimizer(model, MUON)
    assert isinstance(ours, Muon)
    weight = model.lstm.weight_ih_l0
    gates = [torch.nn.Parameter(gate.clone()) for gate in weight.data.chunk(4)]
    peer = torch.optim.Muon(
        gates, lr=MUON.lr, weight_decay=MUON.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    start = weight.detach().clone()
    for seed in range(5):
        model.backward(seed)
        assert weight.grad is not None
        for gate, gradient in zip(gates, weight.grad.chunk(4), strict=True):
            gate.grad = gradient.clone()
        ours.step()
        peer.step()
    expected = torch.cat([gate.data for gate in gates])
    moved = float((expected - start).norm())
    assert moved > 0.01
    assert float((weight.detach() - expected).norm()) < 0.02 * moved  # bfloat16


def test_muon_leaves_biases_and_heads_to_adamw() -> None:
    model, twin = Small(), Small()
    ours, peer = make_optimizer(model, MUON), adamw(twin.parameters(), MUON)
    for seed in range(3):
        model.backward(seed)
        for own, other in zip(model.parameters(), twin.parameters(), strict=True):
            other.grad = None if own.grad is None else own.grad.clone()
        ours.step()
        peer.step()
    torch.testing.assert_close(model.head.weight, twin.head.weight, rtol=0, atol=0)
    torch.testing.assert_close(model.lstm.bias_hh_l0, twin.lstm.bias_hh_l0, rtol=0, atol=0)
    assert not torch.allclose(model.lstm.weight_hh_l0, twin.lstm.weight_hh_l0, atol=1e-4)


def test_muon_goes_on_from_its_state() -> None:
    straight, broken = Small(), Small()
    first = make_optimizer(straight, MUON)
    second = make_optimizer(broken, MUON)
    for seed in range(4):
        if seed == 2:
            state = copy.deepcopy(second.state_dict())
            second = make_optimizer(broken, MUON)
            second.load_state_dict(state)
        for model, steps in ((straight, first), (broken, second)):
            model.backward(seed)
            steps.step()
    for one, other in zip(straight.parameters(), broken.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_ranks_share_out_muons_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each matrix is worked out on one rank only, large and small ones spread; the sum is everything."""
    tensors = [torch.full((size, 2), float(size)) for size in (1, 5, 1, 5, 1, 5, 1, 5)]
    parts: list[torch.Tensor] = []
    worked: list[list[int]] = []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda part: parts.append(part.clone()))
    for rank in range(4):
        done: list[int] = []
        worked.append(done)
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)

        def double(tensor: torch.Tensor, done: list[int] = done) -> torch.Tensor:
            done.append(len(tensor))
            return 2 * tensor

        shared(double, tensors)
    assert [sorted(done) for done in worked] == [[1, 5]] * 4
    monkeypatch.setattr("torch.distributed.all_reduce", lambda part: part.copy_(sum(parts)))
    for result, tensor in zip(shared(double, tensors), tensors, strict=True):
        assert torch.equal(result, 2 * tensor)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.kind must be adamw or muon, not 'sgd'"):
        OptimizerConfig(kind="sgd")


def plateau(**settings: Any) -> tuple[torch.optim.Optimizer, WarmupPlateau]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=1.0)
    config = SchedulerConfig(kind="plateau", **settings)
    return optimizer, WarmupPlateau(optimizer, config)


def step(optimizer: torch.optim.Optimizer, schedule: WarmupPlateau, times: int = 1) -> float:
    """The learning rate after some steps."""
    for _ in range(times):
        optimizer.step()
        schedule.step()
    return float(optimizer.param_groups[0]["lr"])


def test_plateau_halves_after_patience_and_ends_at_the_least_rate() -> None:
    """Warm-up 4, patience 2: the second validation without a new best halves the rate; below a
    quarter it would not go, so the next plateau ends training."""
    optimizer, schedule = plateau(warmup_steps=4, patience=2, final_share=0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert step(optimizer, schedule, 3) == 1.0
    assert step(optimizer, schedule, 7) == 1.0
    rates = []
    for wer in (0.9, 0.5, 0.6, 0.5, 0.4, 0.4, 0.41, 0.4, 0.4):
        schedule.observe(wer)
        rates.append(step(optimizer, schedule))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert schedule.finished


def test_plateau_does_not_count_while_nothing_is_recognised() -> None:
    """A CTC model writes only blanks at first: WER stays at 100 % and no rate must fall for it."""
    optimizer, schedule = plateau(warmup_steps=2, patience=1)
    schedule.observe(0.3)  # in the warm-up
    assert math.isinf(schedule.best_wer)
    step(optimizer, schedule, 2)
    for wer in (1.0, 1.0, 1.2, 1.0):
        schedule.observe(wer)
    assert step(optimizer, schedule) == 1.0
    schedule.observe(0.9)
    schedule.observe(0.9)
    assert step(optimizer, schedule) == 0.5


def test_plateau_goes_on_from_its_state_with_new_settings() -> None:
    optimizer, schedule = plateau(warmup_steps=1, patience=2)
    step(optimizer, schedule, 3)
    for wer in (0.5, 0.5, 0.5, 0.5):
        schedule.observe(wer)
    resumed_optimizer, resumed = plateau(warmup_steps=1, patience=5, factor=0.1)
    resumed.load_state_dict(schedule.state_dict())
    assert (resumed.scale, resumed.best_wer, resumed.num_worse) == (0.5, 0.5, 1)
    assert resumed.last_epoch == 3
    assert resumed.config.patience == 5
    assert step(resumed_optimizer, resumed) == 0.5


@pytest.mark.parametrize("kind", ["cosine", "plateau"])
def test_a_resumed_run_has_the_settings_that_it_is_given(kind: str) -> None:
    """A third of the learning rate at the same place of its curve, another decay and other betas."""

    def made(**settings: float) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = make_optimizer(Small(), OptimizerConfig(kind="muon", **settings))
        config = SchedulerConfig(kind=kind, warmup_steps=4)
        return optimizer, lr_schedule(optimizer, 20, config)

    before, schedule = made(lr=3e-3)
    step(before, schedule, 2)
    after, resumed = made(lr=1e-3, weight_decay=0.5, beta1=0.8)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    resumed.load_state_dict(schedule.state_dict())
    assert [group["lr"] for group in after.param_groups] == pytest.approx([0.75e-3] * 3)
    assert [group["weight_decay"] for group in after.param_groups] == [0.5, 0.5, 0.0]
    assert after.param_groups[1]["betas"] == (0.8, 0.98)
    step(after, resumed)
    step(before, schedule)
    assert after.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert before.param_groups[0]["lr"] == pytest.approx(3e-3)


class Gradients(lightning.Callback):
    """Keeps the gradients of every step as one vector."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        found = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        self.steps.append(torch.cat(found))


def first_gradient(batches: Sequence[Batch], accumulate: int) -> torch.Tensor:
    """Of the first step of a tiny network on `batches`."""
    torch.manual_seed(0)
    tokenizer = CharTokenizer.from_texts(["ab"])
    encoder = EncoderConfig(conv_channels=4, hidden_size=4, num_layers=1, dropout=0.0)
    bundle = Bundle(AcousticModel(ModelConfig(tokenizer.vocab_size, encoder=encoder)), tokenizer)
    still = SpecAugmentConfig(freq_masks=0, time_masks=0)
    module = AsrLitModule(bundle, [], still, OptimizerConfig(), SchedulerConfig())
    gradients = Gradients()
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulate, logger=False,
        callbacks=[gradients], enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, DataLoader(list(batches), batch_size=None))
    return gradients.steps[0]


def batch(seed: int, token_counts: Sequence[int]) -> Batch:
    """Noise of 0.5 s with random targets of "a" and "b"."""
    random = torch.Generator().manual_seed(seed)
    rows, tokens = len(token_counts), max(token_counts)
    return Batch(
        0.1 * torch.randn(rows, 8000, generator=random),
        torch.full((rows,), 8000),
        torch.randint(2, 4, (rows, tokens), generator=random),
        torch.tensor(token_counts),
        torch.arange(rows),
        torch.zeros(rows, 1, dtype=torch.long),
        torch.zeros(rows, dtype=torch.long),
    )


def joined(first: Batch, second: Batch) -> Batch:
    return Batch(*(torch.cat(pair) for pair in zip(first, second, strict=True)))


@pytest.mark.filterwarnings("ignore")
def test_two_accumulated_batches_are_one_of_twice_the_size() -> None:
    """With equal token counts exactly; otherwise each batch counts the same, as documented."""
    first, second = batch(1, (4, 4)), batch(2, (4, 4))
    accumulated = first_gradient([first, second], accumulate=2)
    whole = first_gradient([joined(first, second)], accumulate=1)
    torch.testing.assert_close(accumulated, whole, rtol=1e-4, atol=1e-6)
    short = batch(3, (1, 1))
    uneven = first_gradient([first, short], accumulate=2)
    mean = (first_gradient([first], 1) + first_gradient([short], 1)) / 2
    torch.testing.assert_close(uneven, mean, rtol=1e-4, atol=1e-6)
