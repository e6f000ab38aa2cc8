"""Ray Data runs the batch unchanged: its transcripts are those of `asr transcribe`."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY

from asr.bundle import Bundle, save_bundle
from asr.cli import main
from asr.inputs import work_list

SCRIPT = REPOSITORY / "scripts" / "ray_transcribe.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs a checkout")


def write_recordings(folder: Path) -> Path:
    """Seven recordings of noise and a file that is none."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(7):
        samples = 0.1 * random.standard_normal(8_000 + 1_000 * number)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
    (folder / "bad.wav").write_text("no audio")
    return folder


def asr(*arguments: object) -> int:
    """Exit status of an `asr` command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ray_transcribe", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_actor_answers_row_for_row(tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = save_bundle(tiny_bundle, tmp_path / "model")
    items = work_list([str(write_recordings(tmp_path / "recordings"))])
    column = np.empty(len(items), dtype=object)
    column[:] = items
    answer = script().Transcriber(str(model))({"number": np.arange(len(items)), "item": column})
    assert answer["number"].tolist() == list(range(8))
    assert [result.item.name for result in answer["result"]] == [item.name for item in items]
    assert [result.status for result in answer["result"]].count("failed") == 1
    assert all(result.content for result in answer["result"])  # so that --resume knows them


def test_ray_in_local_mode_writes_what_the_command_writes(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    model = save_bundle(tiny_bundle, tmp_path / "model")
    recordings = write_recordings(tmp_path / "recordings")
    command = [SCRIPT, recordings, "--model", model, "-o", tmp_path / "ray", "--batch-files", "3"]
    done = subprocess.run(
        [sys.executable, *map(str, command), "--actors", "1", "-f", "txt", "json", "jsonl"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "7 ok, 1 failed" in done.stderr
    arguments = ("transcribe", recordings, "--model", model, "-f", "txt,json,jsonl")
    assert asr(*arguments, "-o", tmp_path / "asr", "--device", "cpu") == 1
    for name in (f"{number}.txt" for number in range(7)):
        assert (tmp_path / "ray" / name).read_text() == (tmp_path / "asr" / name).read_text()
    lines = (tmp_path / "ray" / "transcripts.jsonl").read_text().splitlines()
    assert len(lines) == 8
    assert asr(*arguments, "-o", tmp_path / "ray", "--device", "cpu", "--resume") == 1
    summary = json.loads((tmp_path / "ray" / "asr-summary.json").read_text())
    assert summary["files"]["skipped"] == 7
