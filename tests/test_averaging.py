"""Averages of weights, and the choice between an average and the single best checkpoint."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from asr.errors import AsrError
from asr.training.averaging import (
    Scored,
    State,
    choose_weights,
    mean_state,
    scored_checkpoints,
)
from asr.training.engine_config import CallbacksConfig


def test_the_mean_of_states_is_exact_and_leaves_integers() -> None:
    states = [
        {"weight": torch.tensor([1.0, 1e8]), "count": torch.tensor(3)},
        {"weight": torch.tensor([2.0, 1.0]), "count": torch.tensor(9)},
        {"weight": torch.tensor([6.0, -1e8]), "count": torch.tensor(9)},
    ]
    mean = mean_state(states)
    assert torch.equal(mean["weight"], torch.tensor([3.0, 1 / 3]))
    assert mean["weight"].dtype == torch.float32
    assert mean["count"] == 3


def checkpoint(folder: Path, value: float, step: int, plain: float | None = None) -> Path:
    """A checkpoint of one weight; with `plain`, one that has a moving average too."""
    path = folder / f"{step}.ckpt"
    content = {"state_dict": {"w": torch.tensor([value])}, "epoch": step - 1, "global_step": step}
    if plain is not None:
        content["current_model_state"] = {"w": torch.tensor([plain])}
    torch.save(content, path)
    return path


def measure(state: State) -> float:
    """A development set on which the best weight is 2."""
    return abs(float(state["w"]) - 2) / 10


def test_an_average_makes_the_bundle_where_it_is_as_good(tmp_path: Path) -> None:
    """Weights 1.5, 3, 9: the average of two is 2.25, better than 1.5; that of three is worse."""
    best = [
        Scored(checkpoint(tmp_path, value, step), abs(value - 2) / 10)
        for step, value in ((2, 1.5), (1, 3.0), (3, 9.0))
    ]
    two = choose_weights(CallbacksConfig(average="best", average_count=2), best, [], measure)
    assert two.state["w"] == 2.25
    assert two.dev_wer == pytest.approx(0.025)
    assert two.how == (
        "average of the best 2 checkpoints: dev WER 2.50 %; the best single weights 5.00 %: "
        "the bundle is made of the average"
    )
    three = choose_weights(CallbacksConfig(average="best", average_count=3), best, [], measure)
    assert three.state["w"] == 1.5
    assert three.dev_wer == pytest.approx(0.05)
    assert "dev WER 25.00 %" in three.how
    assert three.how.endswith("made of the single weights")


def test_last_averages_the_last_epochs_and_none_measures_nothing(tmp_path: Path) -> None:
    best = [Scored(checkpoint(tmp_path, 1.0, 1), 0.1)]
    recent = [checkpoint(tmp_path, 1.5, 2), checkpoint(tmp_path, 2.5, 3)]
    last = choose_weights(CallbacksConfig(average="last"), best, recent, measure)
    assert (last.state["w"], last.dev_wer) == (2.0, 0.0)

    def never(state: State) -> float:
        raise AssertionError("nothing to choose from")

    single = choose_weights(CallbacksConfig(), best, recent, never)
    assert (single.state["w"], single.dev_wer, single.how) == (1.0, 0.1, "")
    assert (single.epochs, single.steps) == (1, 1)


@pytest.mark.parametrize(("plain", "expected"), [(5.0, 2.5), (2.0, 2.0)])
def test_the_moving_average_is_compared_with_the_plain_weights(
    plain: float, expected: float, tmp_path: Path
) -> None:
    best = [Scored(checkpoint(tmp_path, 2.5, 4, plain), 0.05)]
    chosen = choose_weights(CallbacksConfig(average="ema"), best, [], measure)
    assert chosen.state["w"] == expected
    assert chosen.dev_wer == pytest.approx(measure(chosen.state))
    assert "moving average (decay 0.999): dev WER 5.00 %" in chosen.how


def test_checkpoints_that_are_gone_are_not_chosen(tmp_path: Path) -> None:
    callback = ModelCheckpoint(dirpath=tmp_path, monitor="val/wer")
    there = checkpoint(tmp_path, 1.0, 1)
    callback.best_k_models = {
        str(there): torch.tensor(0.5),
        str(tmp_path / "gone.ckpt"): torch.tensor(0.1),
    }
    assert scored_checkpoints(callback) == [Scored(there, 0.5)]
    newer = checkpoint(tmp_path, 1.0, 2)
    callback.best_k_models[str(newer)] = torch.tensor(0.5)
    assert scored_checkpoints(callback) == [Scored(newer, 0.5), Scored(there, 0.5)]
    newer.unlink()
    there.unlink()
    with pytest.raises(AsrError, match="no checkpoint with a validation WER is left"):
        scored_checkpoints(callback)
