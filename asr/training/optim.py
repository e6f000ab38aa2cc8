"""AdamW or Muon, and the learning rate: a linear warm-up, then a cosine or a decay on plateaus."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from asr.bfloat16 import has_bfloat16
from asr.training.engine_config import OptimizerConfig, SchedulerConfig

MUON_GROUPS = 3  # of parameters: Muon's, and the two of AdamW
_GATES = 4  # of an LSTM, one below the other in its weight matrices
_MOMENTUM = 0.95
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


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


def make_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """The optimizer that `config` names, of a model's parameters.

    When it goes on from a checkpoint, it keeps what is configured now: learning rate, decay, betas.
    """
    optimizer = _make_optimizer(model, config)
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]

    def keep_settings(loaded: torch.optim.Optimizer) -> None:
        for group, mine in zip(loaded.param_groups, settings, strict=True):
            lr = group["lr"]
            peak = group.get("initial_lr", lr)
            if mine["lr"] != peak:  # as far down or up as it was
                lr = mine["lr"] * lr / peak
            group.update(mine | {"initial_lr": mine["lr"], "lr": lr})

    optimizer.register_load_state_dict_post_hook(keep_settings)
    return optimizer


def _make_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    if config.kind == "adamw":
        return adamw(model.parameters(), config)
    lstms = [module for module in model.modules() if isinstance(module, torch.nn.LSTM)]
    matrices = [weight for lstm in lstms for weight in lstm.parameters() if weight.dim() > 1]
    chosen = set(matrices)
    others = adamw([p for p in model.parameters() if p not in chosen], config)
    return Muon(matrices, others.param_groups, config)


class Muon(torch.optim.AdamW):
    """Muon for the weight matrices of LSTMs, AdamW for everything else.

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes the momentum of a matrix nearly
    orthogonal, so that all its directions learn at one rate; here each of an LSTM's four gates is a
    matrix. Updates are scaled to the size of AdamW's (arXiv 2502.16982), so that both share a
    learning rate. Five Newton-Schulz steps; the ranks of DDP share them out.
    """

    def __init__(
        self,
        matrices: list[torch.nn.Parameter],
        others: list[dict[str, Any]],
        config: OptimizerConfig,
    ) -> None:
        group = {"params": matrices, "weight_decay": config.weight_decay}
        super().__init__([group, *others], lr=config.lr, betas=(config.beta1, config.beta2))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        weights = [weight for weight in group["params"] if weight.grad is not None]
        updates = shared(orthogonalized, [self._gates_ahead(weight) for weight in weights])
        for weight, gates in zip(weights, updates, strict=True):
            scale = 0.2 * math.sqrt(max(gates.shape[1:]))
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(gates.flatten(0, 1), alpha=-group["lr"] * scale)
            weight.grad = None  # so that AdamW leaves it alone
        super().step()
        return loss

    def _gates_ahead(self, weight: torch.nn.Parameter) -> Tensor:
        """Nesterov's momentum of a weight with this step's gradient in it, (4, H, inputs)."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW expects one when it is loaded
        momentum = state["momentum"].lerp_(weight.grad, 1 - _MOMENTUM)
        ahead: Tensor = weight.grad.lerp(momentum, _MOMENTUM)
        return ahead.view(_GATES, -1, weight.shape[1])


def shared(function: Callable[[Tensor], Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """`function` of each tensor, which keeps its shape; under DDP each rank works out its share.

    All ranks must have the same tensors; they get the same results, whichever rank made them.
    """
    if not (distributed.is_available() and distributed.is_initialized() and tensors):
        return [function(tensor) for tensor in tensors]
    largest_first = sorted(range(len(tensors)), key=lambda index: -tensors[index].numel())
    mine = set(largest_first[distributed.get_rank() :: distributed.get_world_size()])
    results = torch.cat(
        [
            (function(tensor) if index in mine else torch.zeros_like(tensor)).flatten()
            for index, tensor in enumerate(tensors)
        ]
    )
    distributed.all_reduce(results)
    parts = torch.split(results, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def orthogonalized(matrices: Tensor) -> Tensor:
    """The matrices (..., M, N) with singular values brought near 1 (between about 0.7 and 1.2).

    Newton-Schulz iteration with Jordan's coefficients, in bfloat16 or on a CPU without it in float32; at
    the dtype that came in.
    """
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x: Tensor = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    x = x.bfloat16() if x.device.type != "cpu" or has_bfloat16() else x.float()
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrices.dtype)
    return x if wide is matrices else x.mT


def lr_schedule(
    optimizer: torch.optim.Optimizer, total_steps: int, config: SchedulerConfig
) -> LRScheduler:
    """The schedule that `config` names; it is stepped after every optimizer step."""
    if config.kind == "plateau":
        return WarmupPlateau(optimizer, config)
    return WarmupCosine(optimizer, total_steps, config)


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


class WarmupCosine(LambdaLR):
    """Linear warm-up, then a cosine; the peak is that of the optimizer, in a resumed run too."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, total_steps: int, config: SchedulerConfig
    ) -> None:
        super().__init__(optimizer, lambda step: lr_factor(step, total_steps, config))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """How far it had come."""
        super().load_state_dict(state_dict | {"base_lrs": self.base_lrs})


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
