"""Early stopping, and what a run does that goes on in the middle of an epoch."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from asr.errors import UsageError
from asr.training.callbacks import EpochLine, StopWithoutProgress, ValidateLastEpoch
from asr.training.engine_config import CallbacksConfig


def validations(callback: StopWithoutProgress, *rates: tuple[float, float]) -> list[bool]:
    """Whether training ends after each pair of WER and CER."""
    trainer: Any = SimpleNamespace(should_stop=False, is_global_zero=True, callback_metrics={})
    stopped = []
    for wer, cer in rates:
        trainer.callback_metrics = {"val/wer": wer, "val/cer": cer}
        callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
        stopped.append(trainer.should_stop)
    return stopped


def test_it_stops_where_nothing_falls_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    rates = [(0.5, 0.2), (0.5, 0.2), (0.49, 0.2), (0.5, 0.2), (0.51, 0.2)]
    assert validations(StopWithoutProgress(2), *rates) == [False, False, False, False, True]
    assert "neither WER nor CER has fallen for 2 validations" in capsys.readouterr().err


def test_a_model_that_learns_its_first_words_goes_on() -> None:
    """Blanks alone, then wrong words, more than there should be, of ever better letters."""
    rates = [(1.0, 1.0)] * 5 + [(1.01, 0.9), (1.02, 0.8), (1.01, 0.7), (0.99, 0.65)]
    assert not any(validations(StopWithoutProgress(1), *rates))


def test_a_resumed_run_goes_on_counting() -> None:
    first, second = StopWithoutProgress(2), StopWithoutProgress(2)
    validations(first, (0.5, 0.2), (0.5, 0.2))
    second.load_state_dict(first.state_dict())
    assert validations(second, (0.5, 0.2)) == [True]


@pytest.mark.parametrize("settings", [{"patience": 0}, {"keep_best": 0}, {"keep_best": -2}])
def test_impossible_counts_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"callbacks.{next(iter(settings))} must be at least 1"):
        CallbacksConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("current_epoch", "interval"), [(4, 1), (3, 3)])
def test_a_run_that_goes_on_in_its_last_epoch_validates_it(
    current_epoch: int, interval: int
) -> None:
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(restarted_on_last=False))
    trainer = SimpleNamespace(
        current_epoch=current_epoch, max_epochs=5, check_val_every_n_epoch=3, fit_loop=fit_loop
    )
    ValidateLastEpoch().on_train_start(trainer, None)  # type: ignore[arg-type]
    assert trainer.check_val_every_n_epoch == interval


def test_the_line_of_an_epoch_has_the_mean_loss_of_its_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A step whose loss is not finite was skipped; the next epoch starts anew."""
    trainer: Any = SimpleNamespace(
        is_global_zero=True, current_epoch=0, max_epochs=2, global_step=2, callback_metrics={}
    )
    line = EpochLine()
    for epoch in ([3.0, math.nan, 1.0], [0.5]):
        for loss in epoch:
            trainer.callback_metrics = {"train/loss": loss, "train/blank_share": 0.5}
            line.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type]
        line.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    first, second = capsys.readouterr().err.splitlines()
    assert "loss 2.000" in first
    assert "loss 0.500" in second
