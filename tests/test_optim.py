"""Learning rates step by step, and what an accumulated step is made of."""

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
from asr.model import AcousticModel, ModelConfig
from asr.tokenizer import CharTokenizer
from asr.training.dataset import Batch
from asr.training.engine_config import OptimizerConfig, SchedulerConfig
from asr.training.lit_module import AsrLitModule
from asr.training.optim import WarmupPlateau, adamw, lr_factor


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
