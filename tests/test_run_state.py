"""A run folder in a few lines: what `asr info` prints, which writes nothing."""

import os
import time
from pathlib import Path

from run_folder import write_report, write_run

from asr.describe import describe
from asr.run_state import describe_run, read_run


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_info_says_how_far_a_run_has_come_and_writes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path)
    before = files(tmp_path)
    text = describe(tmp_path)
    assert files(tmp_path) == before
    assert "recipe test/made, epoch 10 of 20, step 200, 20.0 min, about 20 min to go" in text
    assert "dev WER 10.00 %, CER 5.00 %; best WER 10.00 % in epoch 10" in text
    assert "200 audio s/s, padding 3.0 %, waiting for data 2.0 %" in text
    assert "2 utterances left out: too long the cat sat" in text
    assert "3 utterances skipped: no gradient" in text
    assert "no bundle: training not finished" in text


def test_a_finished_run(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_report(tmp_path, "test-clean", 0.25)
    state = read_run(tmp_path)
    assert state.is_finished
    assert state.minutes_left is None
    assert state.num_parameters == 1234567
    assert [(one.name, one.wer) for one in state.reports] == [("test-clean", 0.25)]


def test_a_finished_run_that_was_resumed_is_not_finished(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_report(tmp_path)
    later = time.time() + 60
    os.utime(tmp_path / "config.yaml", (later, later))
    state = read_run(tmp_path)
    assert not state.is_finished
    assert state.reports == ()


def test_without_a_csv_log_the_samples_tell(tmp_path: Path) -> None:
    write_run(tmp_path)
    for path in (tmp_path / "logs").rglob("metrics.csv"):
        path.unlink()
    best = read_run(tmp_path).best
    assert best is not None
    assert (round(best.wer, 6), best.epoch) == (0.1, 10)


def test_a_run_that_has_only_begun_or_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("recipe_name: [\n")
    (tmp_path / "report/test").mkdir(parents=True)
    (tmp_path / "report/test/report.json").write_text('{"wer": 0.1')
    state = read_run(tmp_path)
    assert state.best is state.max_epochs is state.minutes_left is None
    assert state.reports == ()
    assert describe_run(state) == ["recipe unknown recipe, epoch 0, step 0"]
