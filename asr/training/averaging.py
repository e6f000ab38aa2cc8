"""Averages of weights: exponential over steps, or of the last or best checkpoints (Izmailov et al. 2018,
arXiv 1803.05407, and what the field does under the name of checkpoint averaging).

The average makes the bundle only where its WER on the development set is at least as good as that of the
best single set of weights; both are measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor

from asr.bundle import Bundle
from asr.errors import AsrError
from asr.evaluate import for_each_waveform, score_texts, transcribe_all
from asr.training.dataset import Example
from asr.training.engine_config import CallbacksConfig
from asr.transcribe import Recognizer

State = dict[str, Tensor]


class MovingAverage(EMAWeightAveraging):
    """Lightning's exponential moving average, kept on the device that trains.

    Validation, checkpoints and early stopping go by the average; training goes on from the weights.
    """

    def __init__(self, decay: float) -> None:
        # Buffers are constants of the front end; an average of constants rounds them.
        super().__init__(decay=decay, use_buffers=False)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Make the average; Lightning would leave it where the model is before it is moved."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


@dataclass(frozen=True)
class Scored:
    """A checkpoint and the WER of its weights on the development set."""

    path: Path
    wer: float


@dataclass(frozen=True)
class Chosen:
    """The weights that make the bundle.

    Attributes:
        state: of the LightningModule.
        dev_wer: on the development set, a fraction.
        epochs, steps: of training, up to these weights.
        how: which they are, for the screen; "" where there was no choice.
    """

    state: State
    dev_wer: float
    epochs: int
    steps: int
    how: str = ""


def scored_checkpoints(callback: ModelCheckpoint) -> list[Scored]:
    """The checkpoints of a callback that are still there: the least value first, of equals the newest.

    Raises:
        AsrError: there are none.
    """
    found = [
        Scored(Path(path), float(value))
        for path, value in reversed(callback.best_k_models.items())
        if Path(path).is_file()
    ]
    if not found:
        raise AsrError(
            f"no checkpoint with a validation WER is left in {callback.dirpath}: train at least one "
            "more epoch with resume=true and a larger trainer.max_epochs"
        )
    return sorted(found, key=lambda checkpoint: checkpoint.wer)


def choose_weights(
    config: CallbacksConfig,
    best: Sequence[Scored],
    recent: Sequence[Path],
    measure: Callable[[State], float],
) -> Chosen:
    """The single best checkpoint, or the average that `config` asks for where it is as good.

    Args:
        config: average, average_count.
        best: checkpoints, the best first.
        recent: checkpoints of the last epochs, for the average "last".
        measure: WER of weights on the development set.
    """
    checkpoint = _load(best[0].path)
    single = Chosen(
        checkpoint["state_dict"],
        best[0].wer,
        int(checkpoint["epoch"]) + 1,
        int(checkpoint["global_step"]),
    )
    if config.average == "ema":
        # A checkpoint from before the average was switched on has one set of weights.
        plain = checkpoint.get("current_model_state", single.state)
        name = f"moving average (decay {config.ema_decay:g})"
        return _better(single, replace(single, state=plain, dev_wer=measure(plain)), name)
    if config.average == "none":
        return single
    paths = (
        [one.path for one in best[: config.average_count]]
        if config.average == "best"
        else list(recent)
    )
    state = mean_state([_load(path)["state_dict"] for path in paths])
    average = replace(single, state=state, dev_wer=measure(state))
    name = f"average of the {config.average} {len(paths)} checkpoints"
    return _better(average, single, name)


def _better(average: Chosen, single: Chosen, name: str) -> Chosen:
    """The average where it is at least as good, with a line that says both figures."""
    # A callback holds its WERs in float32: equal ones differ in the eighth digit.
    wins = round(average.dev_wer, 6) <= round(single.dev_wer, 6)
    how = (
        f"{name}: dev WER {100 * average.dev_wer:.2f} %; the best single weights "
        f"{100 * single.dev_wer:.2f} %: the bundle is made of the "
        + ("average" if wins else "single weights")
    )
    return replace(average if wins else single, how=how)


def mean_state(states: Sequence[State]) -> State:
    """The mean of each tensor, summed in float64; integers are the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }


def dev_wer(bundle: Bundle, examples: Sequence[Example], device: str) -> float:
    """Greedy corpus WER of a bundle on examples, as validation and `asr evaluate` measure it."""
    recognizer = Recognizer(bundle, device=device)
    bundle.model.eval()
    transcripts, _ = for_each_waveform(
        [example.utterance for example in examples],
        recognizer.sample_rate,
        partial(transcribe_all, recognizer),
    )
    return score_texts(
        {example.utterance.utterance_id: example.text for example in examples},
        {name: transcript.text for name, transcript in transcripts.items()},
        bundle.normalizer,
    ).wer


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return found
