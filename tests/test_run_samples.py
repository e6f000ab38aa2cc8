"""samples.jsonl: written whole, read back, and redone by a resumed run."""

from dataclasses import replace
from pathlib import Path

import pytest

from asr.errors import AsrError
from asr.run_samples import SAMPLES_FILE, Sample, Validation, add_validation, read_validations

ONE = Validation(
    0, 10, 1.5, 0.9, 0.5, (Sample("u1", "ünïcode a b", "a\u2028b"), Sample("u2", "", ""))
)


def test_round_trip(tmp_path: Path) -> None:
    two = replace(ONE, epoch=1, step=20)
    add_validation(tmp_path, ONE)
    add_validation(tmp_path, two)
    assert read_validations(tmp_path) == (ONE, two)
    assert [path.name for path in tmp_path.iterdir()] == [SAMPLES_FILE]


def test_a_resumed_run_replaces_what_it_does_again(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        add_validation(tmp_path, replace(ONE, step=step))
    again = replace(ONE, step=20, wer=0.8)
    add_validation(tmp_path, again)
    assert read_validations(tmp_path) == (ONE, again)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    add_validation(tmp_path, ONE)
    path = tmp_path / SAMPLES_FILE
    whole = path.read_text("utf-8")
    path.write_text('{"epoch": 1}\n[1]\nx\n' + whole + whole[:40], "utf-8")
    assert read_validations(tmp_path) == (ONE,)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AsrError, match="cannot write to"):
        add_validation(tmp_path / "file", ONE)
