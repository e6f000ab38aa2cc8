"""Every command and every Python line of the README runs, in a folder with the files they name."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY

import asr
from asr.bundle import Bundle, save_bundle
from asr.cli import main
from asr.manifest import Utterance, write_manifest

README = (REPOSITORY / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.startswith("asr ")
]


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the README's commands name: small stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_DATA", raising=False)
    save_bundle(tiny_bundle, Path("runs/synthetic/demo/bundle"))
    random = np.random.default_rng(0)
    utterances = []
    for name in ("talk.flac", "recordings/one.wav", "recordings/deep/two.flac"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, 0.1 * random.standard_normal(16_000), 16_000)
        utterances.append(
            Utterance(Path(name).stem, Path(name), "a quick fox", 1.0, speaker_id="s")
        )
    write_manifest("test.jsonl", utterances)
    chapter = Path("corpora/LibriSpeech/dev-clean/1/2")
    chapter.mkdir(parents=True)
    soundfile.write(chapter / "1-2-0000.flac", np.zeros(16_000), 16_000)
    (chapter / "1-2.trans.txt").write_text("1-2-0000 HELLO\n")
    Path("corpora/LibriSpeech/train-clean-5").symlink_to(Path("dev-clean"))
    texts = {"ref.trn": "a quick fox", "greedy.trn": "a quack fox", "lm.trn": "a quick fox"}
    for name, text in texts.items():
        lines = (f"{text} (spk{n % 3}-u{n})\n" for n in range(12))
        Path(name).write_text("".join(lines))
    Path("novels.txt").write_text("the quick brown fox jumps over a lazy dog\n" * 50)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


def test_every_command_runs(folder: Path) -> None:
    """In order, as a reader would type them; a training shows its configuration instead."""
    for command in COMMANDS:
        arguments = shlex.split(command, comments=True)[1:]
        if arguments[0] == "train":
            arguments.append("--show")
        if arguments[:2] == ["prepare", "synthetic"]:
            arguments += ["--train", "2", "--dev", "2", "--test", "2"]
        if arguments[:2] == ["lm", "train-rnn"]:
            arguments += ["--vocab-size", "30", "--epochs", "1"]
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0, command


def test_every_python_line_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(block for language, block in BLOCKS if language == "python")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_scripts_that_it_names_are_there() -> None:
    for name in re.findall(r"^    (scripts/\w+)", README, flags=re.MULTILINE):
        path = REPOSITORY / name
        assert path.stat().st_mode & 0o111, name
        subprocess.run(["bash", "-n", path], check=True)


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 250
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (REPOSITORY / target).exists(), target


def test_the_public_names() -> None:
    assert {name for name in asr.__all__ if not name.startswith("_")} == {
        "Transcript",
        "load_model",
        "score",
    }
    with pytest.raises(AttributeError, match="no attribute 'lode_model'"):
        _ = asr.lode_model
