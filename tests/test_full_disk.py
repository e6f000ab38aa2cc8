"""A disk that takes no more is a message, exit status 3, and no half-written file.

The limit of a process on the size of its files stands in for the disk: writing fails the same way.
"""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asr.bundle import Bundle, save_bundle
from asr.cli import main
from asr.corpora.listing import Problem, Reason
from asr.corpora.prepared import write_problems
from asr.errors import AsrError
from asr.manifest import Utterance, write_manifest
from asr.rnnlm_training import RnnLmOptions, train_rescorer

ROOM = 3_000  # bytes of a file
TEXT = "".join(f"word{number % 50} follows {number % 7} others\n" for number in range(400))


@contextmanager
def little_room() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export model -o out", "cannot write the model out"),
        ("lm train text.txt -o out", "cannot write out/lm.ngram"),
        (
            "lm train-rnn text.txt --vocab-size 40 --hidden-size 16 --epochs 1 -o out",
            "cannot write out/rnnlm.safetensors",
        ),
    ],
)
def test_what_does_not_fit_is_said_and_not_left_half_written(
    command: str,
    message: str,
    tmp_path: Path,
    tiny_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_bundle(tiny_bundle, "model")
    Path("text.txt").write_text(TEXT)
    with little_room(), pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 3
    assert capsys.readouterr().err == f"asr: {message}: File too large\n"
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_a_checkpoint_of_a_language_model(tmp_path: Path) -> None:
    small = RnnLmOptions(vocab_size=40, embedding_size=8, hidden_size=16, epochs=1)
    with little_room(), pytest.raises(AsrError, match=r"cannot write .*: File too large$"):
        train_rescorer(TEXT.splitlines(), "asr-en-1", small, tmp_path, checkpoint_seconds=0)
    assert not list(tmp_path.iterdir())


def test_manifests_and_tables_of_problems(tmp_path: Path) -> None:
    utterances = [Utterance(f"u{n}", tmp_path / f"{n}.wav", "words", 1.0) for n in range(100)]
    problems = [Problem(Reason.NO_AUDIO, f"line {n}", "words without audio") for n in range(200)]
    with little_room():
        with pytest.raises(AsrError, match=r"cannot write .*train.jsonl: File too large$"):
            write_manifest(tmp_path / "train.jsonl", utterances)
        with pytest.raises(AsrError, match=r"cannot write .*problems.tsv: File too large$"):
            write_problems(tmp_path / "problems.tsv", problems)
    assert not (tmp_path / "train.jsonl").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_no_command_expects_is_a_message_too(
    error: OSError,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("asr.doctor.examine", fail)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor"])
    assert stopped.value.code == 3
    assert capsys.readouterr().err == f"asr: {message} (--debug: where)\n"
    with pytest.raises(OSError, match=message.split(": ")[-1]):
        main(["--debug", "doctor"])
