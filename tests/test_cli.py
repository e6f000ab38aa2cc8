"""The command as a whole: exit statuses, messages without tracebacks, one happy path each."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr import __version__
from asr.bundle import Bundle, save_bundle
from asr.cli import main
from asr.manifest import Utterance, read_manifest, write_manifest


def run(*arguments: str) -> int:
    """Exit status of `asr ARGUMENTS`."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    code = stopped.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def bundle_path(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_bundle, tmp_path / "model")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    utterances = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(16_000), 16_000)
        utterances.append(Utterance(f"u{number}", path, "A fox.", 1.0, speaker_id="s"))
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path / "test.jsonl"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"asr {__version__}\n"
    assert run("--help") == 0
    listed = capsys.readouterr().out
    commands = "prepare train transcribe evaluate score compare align tune lm export info doctor"
    for command in commands.split():
        assert command in listed


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "Usage"),
        (["trian"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["train", "recipe=no/such"], 2, "Recipes: librispeech/clean-100"),
        (["train", "recipe=synthetic/demo", "trainer.epochs=1"], 2, "no such key: trainer.epochs"),
        (["prepare", "librispeech", "-s", "dev-dirty"], 2, "no subset dev-dirty"),
        (
            ["prepare", "librispeech", "dev-clean", "--no-download", "--data-dir", "x"],
            3,
            "no folder",
        ),
        (["prepare", "librispeech", "dev-clean", "--mirror", "x"], 2, "a mirror is a web address"),
        (["evaluate", "nowhere.jsonl", "-m", "nothing"], 3, "no model at nothing"),
        (["evaluate", "nowhere.jsonl"], 3, "no manifest at nowhere.jsonl"),
        (["tune", "nowhere.jsonl", "--write"], 2, "asr export default"),
        (["export", "nothing", "-o", "copy"], 3, "no model at nothing"),
        (["export", "nothing", "-o", "x", "--lm", "y", "--without-lm"], 2, "excludes --lm"),
        (["info", "nowhere"], 3, "nowhere is no bundle, manifest, run folder or report"),
    ],
)
def test_errors_are_messages_with_an_exit_status(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "asr", "--debug", "info", "nowhere"], capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_evaluate_and_info(
    bundle_path: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    assert run("evaluate", str(manifest), "-m", str(bundle_path), "-o", str(out)) == 0
    printed = capsys.readouterr().out
    wer = json.loads((out / "report.json").read_text())["wer"]
    assert f"WER {100 * wer:.2f} %" in printed
    for path, expected in (
        (out, f"WER {100 * wer:.2f} %"),
        (out / "report.json", "CER"),
        (manifest, "3 utterances, 0.00 h, 1 speakers"),
        (bundle_path, "2 x 8 bidirectional LSTM"),
    ):
        assert run("info", str(path)) == 0
        assert expected in capsys.readouterr().out


def test_evaluate_with_a_broken_file_ends_with_status_1(
    bundle_path: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.wav").write_bytes(b"no audio")
    arguments = ["evaluate", str(manifest), "-m", str(bundle_path), "-o", str(tmp_path / "report")]
    assert run(*arguments) == 1
    assert "u1: " in capsys.readouterr().err


def test_prepare_synthetic_then_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("espeakng_loader")
    out = tmp_path / "corpus"
    sizes = ["--train", "3", "--dev", "2", "--test", "2"]
    assert run("prepare", "synthetic", "-o", str(out), *sizes) == 0
    assert "train.jsonl: 3 utterances" in capsys.readouterr().out
    assert len(read_manifest(out / "test.jsonl")) == 2


def test_prepare_librispeech_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chapter = tmp_path / "LibriSpeech/dev-clean/1/2"
    chapter.mkdir(parents=True)
    soundfile.write(chapter / "1-2-0000.flac", np.zeros(16_000), 16_000)
    (chapter / "1-2.trans.txt").write_text("1-2-0000 HELLO\n1-2-0001 LOST\n")
    arguments = ["-s", "dev-clean", "--data-dir", str(tmp_path), "-o", str(tmp_path / "out")]
    assert run("prepare", "librispeech", *arguments) == 1
    captured = capsys.readouterr()
    assert "1 utterances, 0.00 h, 1 speakers" in captured.out
    assert "no audio for transcript 1-2-0001" in captured.err


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    report = capsys.readouterr().out
    for name in ("python", "torch", "torchaudio", "audio files", "numba", "processor", "gpu"):
        assert name in report
    assert "broken" not in report


def test_doctor_names_the_fix_for_a_torchaudio_of_another_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.metadata

    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "2.13.0+cpu" if name == "torch" else real(name)
    )
    assert run("doctor") == 3
    assert "pip install 'torch==2.11.0' 'torchaudio==2.11.0'" in capsys.readouterr().out
