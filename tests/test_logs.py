"""metrics.csv goes on across resumes: steps never go back, nothing is there twice."""

import csv
from pathlib import Path

import pytest

from asr.training.logs import MetricsCsv


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def log_epoch(logger: MetricsCsv, epoch: int, steps: range, sign: int = 1) -> None:
    """Three steps, then the validation and the throughput of an epoch, as Lightning logs them."""
    for step in steps:
        logger.log_metrics({"lr-AdamW": 0.1, "epoch": epoch}, step)
        logger.log_metrics({"train/loss": sign * float(step), "epoch": epoch}, step)
    logger.log_metrics({"val/wer": sign * 0.5, "epoch": epoch}, steps[-1])
    logger.log_metrics({"train/audio_s_per_s": sign * 9.0, "epoch": epoch}, steps[-1])


def test_rows_are_on_the_disk_at_once_and_columns_grow(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "logs/metrics.csv")
    logger.log_metrics({"train/loss": 2.5, "epoch": 0}, 0)
    assert rows(logger.path) == [{"step": "0", "epoch": "0", "train/loss": "2.5"}]
    logger.log_metrics({"val/wer": 0.25, "epoch": 0}, 0)
    logger.log_metrics({"train/loss": float("nan"), "epoch": 1}, 1)
    assert rows(logger.path) == [
        {"step": "0", "epoch": "0", "train/loss": "2.5"},
        {"step": "0", "epoch": "0", "val/wer": "0.25"},
        {"step": "1", "epoch": "1", "train/loss": "nan"},
    ]


def test_a_row_that_comes_again_at_once_is_written_once(tmp_path: Path) -> None:
    """As the row of a step that a checkpoint has."""
    logger = MetricsCsv(tmp_path / "metrics.csv", first_step=1)
    for step, loss in ((1, 2.5), (1, 2.5), (2, 2.5), (2, float("nan")), (2, float("nan"))):
        logger.log_metrics({"train/loss": loss}, step)
    written = [(row["step"], row["train/loss"]) for row in rows(logger.path)]
    assert written == [("1", "2.5"), ("2", "2.5"), ("2", "nan")]


@pytest.mark.parametrize("checkpoint", [3, 4, 6])
def test_a_resumed_run_goes_on_in_the_same_file(checkpoint: int, tmp_path: Path) -> None:
    """Killed in step 6 with the checkpoint at the end of an epoch, in the middle of one, at the end of
    the second: the file is that of a run that was never killed."""
    path, whole_path = tmp_path / "metrics.csv", tmp_path / "whole.csv"
    whole = MetricsCsv(whole_path)
    for epoch in range(3):
        log_epoch(whole, epoch, range(3 * epoch, 3 * epoch + 3))
    killed = MetricsCsv(path)
    log_epoch(killed, 0, range(3))
    log_epoch(killed, 1, range(3, 6))
    killed.log_metrics({"train/loss": 6.0, "epoch": 2}, 6)
    resumed = MetricsCsv(path, first_step=checkpoint)
    if checkpoint == 3:  # saved before the validation of its epoch, which is done again
        resumed.log_metrics({"val/wer": 0.5, "epoch": 0}, 3)
    for epoch in range(checkpoint // 3, 3):
        log_epoch(resumed, epoch, range(max(checkpoint, 3 * epoch), 3 * epoch + 3))
    assert rows(path) == rows(whole_path)
    steps = [int(row["step"]) for row in rows(path)]
    assert steps == sorted(steps)


def test_a_run_from_the_beginning_starts_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log_epoch(MetricsCsv(path), 0, range(3), sign=-1)
    log_epoch(MetricsCsv(path), 0, range(3))
    assert "-" not in path.read_text().replace("lr-AdamW", "")


def test_half_a_row_left_by_a_full_disk_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log_epoch(MetricsCsv(path), 0, range(3))
    complete = rows(path)
    with path.open("a") as file:
        file.write("2,0,")
    MetricsCsv(path, first_step=3).log_metrics({"train/loss": 3.0, "epoch": 1}, 3)
    assert rows(path) == [*complete, {"step": "3", "epoch": "1", "train/loss": "3.0"}]
