"""AdamW and the learning rate: a linear warm-up, then a cosine or a decay on plateaus of the WER."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from asr.training.engine_config import OptimizerConfig, SchedulerConfig


def adamw(parameters: Iterable[torch.nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW without decay on biases and norms (parameters of one axis)."""
    parameters = list(parameters)
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.dim() > 1],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [parameter for parameter in parameters if parameter.dim() <= 1],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2))


def lr_schedule(
    optimizer: torch.optim.Optimizer, total_steps: int, config: SchedulerConfig
) -> LRScheduler:
    """The schedule that `config` names; it is stepped after every optimizer step."""
    if config.kind == "plateau":
        return WarmupPlateau(optimizer, config)
    return LambdaLR(optimizer, lambda step: lr_factor(step, total_steps, config))


def lr_factor(step: int, total_steps: int, config: SchedulerConfig) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then a cosine to final_share.

    >>> config = SchedulerConfig(warmup_steps=10, final_share=0.0)
    >>> [round(lr_factor(step, 30, config), 2) for step in (0, 9, 10, 20, 30)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup_steps:
        return _warmup(step, config)
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_share + (1 - config.final_share) * cosine


def _warmup(step: int, config: SchedulerConfig) -> float:
    return min(1.0, (step + 1) / max(1, config.warmup_steps))


class WarmupPlateau(LRScheduler):
    """Linear warm-up, then the same learning rate until the WER stops falling.

    `observe` is told the WER of each validation. After `patience` of them without a new best, the
    learning rate falls to `factor` of what it was, from the next step on; where that would be less than
    `final_share` of its peak, it stays and `finished` becomes true. Validations during the warm-up, and
    those before anything is recognised (WER of 1 or more), do not count: a model that still writes
    only blanks has not stopped learning.

    All that changes is in `state_dict`; the settings are not, so that a resumed run can have others.
    """

    _STATE = ("last_epoch", "_step_count", "_last_lr", "scale", "best_wer", "num_worse", "finished")

    def __init__(self, optimizer: torch.optim.Optimizer, config: SchedulerConfig) -> None:
        self.config = config
        self.scale = 1.0
        self.best_wer = math.inf
        self.num_worse = 0
        self.finished = False
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of the next step."""
        share = self.scale * _warmup(self.last_epoch, self.config)
        return [base_lr * share for base_lr in self.base_lrs]

    def observe(self, wer: float) -> None:
        """Take notice of a validation's WER, a fraction."""
        if self.last_epoch < self.config.warmup_steps or wer >= 1:
            return
        if wer < self.best_wer:
            self.best_wer, self.num_worse = wer, 0
            return
        self.num_worse += 1
        if self.num_worse < self.config.patience:
            return
        self.num_worse = 0
        if self.scale * self.config.factor < self.config.final_share:
            self.finished = True
        else:
            self.scale *= self.config.factor

    def state_dict(self) -> dict[str, Any]:
        """What changes from step to step."""
        return {name: getattr(self, name) for name in self._STATE}
