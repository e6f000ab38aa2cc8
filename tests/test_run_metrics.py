"""CSV logs are read as one history, whatever a run went through."""

from pathlib import Path

import pytest

from asr.run_metrics import Series, read_metrics

HEADER = "epoch,step,train/loss,val/wer\n"


def log(run_dir: Path, place: str, *rows: str) -> None:
    path = run_dir / place / "metrics.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), "utf-8")


def test_one_log(tmp_path: Path) -> None:
    log(tmp_path, "logs/csv/version_0", "0,0,4.0,", ",1,3.0,", "0,1,,0.9", "1,2,2.5,")
    metrics = read_metrics(tmp_path)
    assert metrics.series["train/loss"] == Series((0, 1, 2), (4.0, 3.0, 2.5))
    assert metrics.series["val/wer"] == Series((1,), (0.9,))
    assert (metrics.last_step, metrics.resumed_at) == (2, ())
    assert [metrics.epoch_at(step) for step in (0, 1, 2, 99)] == [0, 0, 1, 1]


@pytest.mark.parametrize("single_file", [False, True])
def test_what_a_resumed_run_did_again_counts_once(tmp_path: Path, single_file: bool) -> None:
    """Killed after step 5, resumed from step 3: steps 3 to 5 of the first part are gone."""
    first = [f"0,{step},{step}.0," for step in range(6)]
    second = [f"1,{step},{step}.5," for step in range(3, 8)]
    if single_file:
        log(tmp_path, "logs/csv", *first, *second)
    else:
        log(tmp_path, "logs/csv/version_0", *first)
        log(tmp_path, "logs/csv/version_1", *second)
    metrics = read_metrics(tmp_path)
    assert metrics.series["train/loss"].values == (0.0, 1.0, 2.0, 3.5, 4.5, 5.5, 6.5, 7.5)
    assert metrics.resumed_at == (3,)


def test_versions_are_ordered_as_numbers(tmp_path: Path) -> None:
    for version in (0, 2, 10):
        log(tmp_path, f"logs/csv/version_{version}", f"0,{version},1.0,", f"0,{version + 1},1.0,")
    log(tmp_path, "logs/csv", "0,20,1.0,")
    metrics = read_metrics(tmp_path)
    assert metrics.series["train/loss"].steps == (0, 1, 2, 3, 10, 11, 20)
    assert metrics.resumed_at == (2, 10, 20)


def test_resumed_twice_from_the_same_checkpoint(tmp_path: Path) -> None:
    for version in range(3):
        steps = range(0 if version == 0 else 2, 5)
        log(tmp_path, f"logs/csv/version_{version}", *(f"0,{one},{version}.0," for one in steps))
    metrics = read_metrics(tmp_path)
    assert metrics.series["train/loss"].values == (0.0, 0.0, 2.0, 2.0, 2.0)
    assert metrics.resumed_at == (2,)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    log(
        tmp_path,
        "logs/csv/version_0",
        "0,0,4.0,",
        "0,,3.0,",
        "garbage",
        "0,1,3.x,",
        "0,2,nan,",
        "1,3",
    )
    metrics = read_metrics(tmp_path)
    steps, values = metrics.series["train/loss"].steps, metrics.series["train/loss"].values
    assert steps == (0, 2)
    assert values[1] != values[1]
    assert metrics.last_step == 3


def test_a_folder_without_logs(tmp_path: Path) -> None:
    metrics = read_metrics(tmp_path)
    assert (dict(metrics.series), metrics.last_step, metrics.epoch_at(0)) == ({}, -1, None)


def test_best_passes_over_nan() -> None:
    nan = float("nan")
    assert Series((1, 2, 3), (nan, 0.5, 0.7)).best() == (2, 0.5)
    step, value = Series((1,), (nan,)).best()
    assert step == 1
    assert value != value
