"""Training end to end on a language of tones: it learns, resumes after kill -9, and reports the same
WER as `asr evaluate`."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe

from asr.bundle import load_bundle
from asr.errors import AsrError, UsageError
from asr.evaluate import evaluate
from asr.manifest import read_manifest, write_manifest
from asr.training.config import SchedulerConfig, load_config
from asr.training.lit_module import lr_factor
from asr.training.train import train
from asr.transcribe import Recognizer, load_model


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder)
    write_recipe(folder)
    return folder


def losses(run_dir: Path, version: int = 0) -> dict[int, str]:
    """Training step -> loss, as written in the CSV log."""
    path = run_dir / f"logs/csv/version_{version}/metrics.csv"
    with path.open() as file:
        return {
            int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]
        }


@pytest.fixture(scope="module")
def finished(corpus: Path) -> Path:
    """The run folder of an uninterrupted run of 40 epochs."""
    run_dir = corpus / "runs/finished"
    train([*overrides(corpus, run_dir), "trainer.max_epochs=40", "trainer.validate_every_epochs=7"])
    return run_dir


def test_it_learns(finished: Path) -> None:
    history = losses(finished)
    assert float(history[max(history)]) < 0.35 * float(history[0])
    report = json.loads((finished / "report/dev/report.json").read_text())
    assert report["wer"] < 0.5


def test_validation_wer_equals_evaluate(finished: Path, corpus: Path, tmp_path: Path) -> None:
    """The WER by which the checkpoint was chosen is the one that users get from its bundle."""
    (best,) = (path for path in (finished / "checkpoints").glob("epoch=*.ckpt"))
    in_training = float(re.search(r"wer=([\d.]+)\.ckpt", best.name)[1])  # type: ignore[index]
    evaluation = evaluate(corpus / "dev.jsonl", load_model(finished / "bundle"), tmp_path)
    assert evaluation.score.wer == pytest.approx(in_training, abs=5e-5)
    bundle = load_bundle(finished / "bundle")
    assert bundle.training.dev_wer == pytest.approx(evaluation.score.wer, abs=1e-6)
    weights = torch.load(best, weights_only=True)["state_dict"]
    for name, tensor in bundle.model.state_dict().items():
        assert torch.equal(tensor, weights[f"model.{name}"])


def test_the_last_epoch_is_validated(finished: Path) -> None:
    """40 is no multiple of 7."""
    path = finished / "logs/csv/version_0/metrics.csv"
    with path.open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file) if row["val/wer"]]
    assert epochs == [6, 13, 20, 27, 34, 39]


def test_kill_and_resume_equals_the_uninterrupted_run(corpus: Path) -> None:
    """kill -9 in the middle of an epoch; resume=true continues step, data order and random state: on
    one thread, every later loss is the same number."""
    whole_dir, killed_dir = corpus / "runs/whole", corpus / "runs/killed"
    train(overrides(corpus, whole_dir))
    whole = losses(whole_dir)
    command = [sys.executable, "-m", "asr", "train", *overrides(corpus, killed_dir)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env
    )
    last = killed_dir / "checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last.is_file()
    state = torch.load(last, weights_only=True)
    assert 0 < state["global_step"] < len(whole)
    train([*overrides(corpus, killed_dir), "resume=true"])
    versions = sorted((killed_dir / "logs/csv").iterdir())
    resumed = losses(killed_dir, int(versions[-1].name.removeprefix("version_")))
    assert min(resumed) == state["global_step"]
    assert resumed == {step: loss for step, loss in whole.items() if step >= state["global_step"]}
    assert (killed_dir / "bundle/model.safetensors").is_file()


def test_two_processes_share_the_work(corpus: Path) -> None:
    """DDP on the CPU: the same examples in all, one bundle, one report, WER over both ranks."""
    run_dir = corpus / "runs/ddp"
    command = [
        sys.executable, "-m", "asr", "train", *overrides(corpus, run_dir), "trainer.max_epochs=2",
        "trainer.devices=2", "trainer.strategy=ddp",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("WER") == 1
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 8  # 7 batches, made 8 for two ranks: 4 steps an epoch
    best = next((run_dir / "checkpoints").glob("epoch=*.ckpt"))
    in_training = float(re.search(r"wer=([\d.]+)\.ckpt", best.name)[1])  # type: ignore[index]
    report = json.loads((run_dir / "report/dev/report.json").read_text())
    assert report["num_utterances"] == 12
    assert report["wer"] == pytest.approx(in_training, abs=5e-5)


def test_ctrl_c_says_how_to_go_on(corpus: Path) -> None:
    run_dir = corpus / "runs/stopped"
    command = [
        sys.executable,
        "-m",
        "asr",
        "train",
        *overrides(corpus, run_dir),
        "trainer.max_epochs=500",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints/last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command with resume=true goes on" in messages
    assert "Traceback" not in messages


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = corpus / "runs/damaged"
    train(overrides(corpus, run_dir))
    last = run_dir / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    os.utime(last, (time.time() + 10, time.time() + 10))
    train([*overrides(corpus, run_dir), "resume=true", "trainer.max_epochs=4"])
    message = capsys.readouterr().err
    assert "last.ckpt is damaged" in message
    assert re.search(r"resuming .*epoch=00\d-wer", message)


def test_a_run_folder_is_not_overwritten(finished: Path, corpus: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        train(overrides(corpus, finished))
    with pytest.raises(UsageError, match="belongs to another recipe"):
        train(["recipe=librispeech/mini", f"run_dir={finished}", "resume=true"])


def test_what_cannot_be_trained_on_is_left_out_and_named(corpus: Path, tmp_path: Path) -> None:
    """No text, too long, more letters than frames: counted, named, and the rest is trained on."""
    utterances = read_manifest(corpus / "train.jsonl")
    first, second, third, *rest = utterances
    changed = [
        type(first)(first.utterance_id, first.audio_path, "...", first.duration_s),
        type(first)(second.utterance_id, second.audio_path, "a", 99.0),
        type(first)(third.utterance_id, third.audio_path, "ab" * 60, third.duration_s),
    ]
    write_manifest(tmp_path / "train.jsonl", [*changed, *rest])
    run_dir = tmp_path / "run"
    train([
        *overrides(corpus, run_dir), f"data.train=[{tmp_path / 'train.jsonl'}]",
        "trainer.max_epochs=1", "data.cache_dir=null",
    ])  # fmt: skip
    left_out = dict(
        line.split("\t") for line in (run_dir / "left_out.txt").read_text().splitlines()
    )
    assert left_out.keys() == {"train-0", "train-1", "train-2"}
    assert "no text" in left_out["train-0"]
    assert "longer than" in left_out["train-1"]
    assert "infeasible" in left_out["train-2"]


def test_failures_before_training_leave_no_run_folder(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    bad = overrides(corpus, run_dir)
    with pytest.raises(AsrError, match="no manifest at"):
        train([*bad, "data.train=[nowhere.jsonl]"])
    with pytest.raises(UsageError, match=r"data\.dev is empty"):
        train([*bad, "data.dev=[]"])
    with pytest.raises(UsageError, match=r"data\.corpus must be"):
        train([*bad, "data.corpus=voxforge"])
    with pytest.raises(UsageError, match="no text normaliser"):
        train([*bad, "data.normalizer=english"])
    with pytest.raises(AsrError, match="no folder"):
        train(["recipe=librispeech/mini", f"run_dir={run_dir}", f"data.data_dir={tmp_path}",
               f"data.manifest_dir={tmp_path / 'manifests'}", "data.download=false"])  # fmt: skip
    assert not run_dir.exists()


def test_development_texts_with_new_characters_count_for_wer(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    utterances = read_manifest(corpus / "dev.jsonl")
    one = utterances[0]
    strange = type(one)(one.utterance_id, one.audio_path, "zebra", one.duration_s)
    write_manifest(tmp_path / "dev.jsonl", [strange, *utterances[1:]])
    settings = [*overrides(corpus, tmp_path / "run"), f"data.dev=[{tmp_path / 'dev.jsonl'}]"]
    train([*settings, "trainer.max_epochs=1"])
    assert load_config(settings).data.unknown_characters == "skip"
    with pytest.raises(AsrError, match="'z' 1x"):
        train([*settings, "run_dir=" + str(tmp_path / "other"), "data.unknown_characters=error"])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_says_which_keys_to_lower(
    error: RuntimeError, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        raise error

    monkeypatch.setattr("asr.training.lit_module.ctc_losses", too_large)
    with pytest.raises(AsrError, match=r"out of memory: lower data\.batch_s \(now 15 s"):
        train(overrides(corpus, tmp_path / "run"))


def test_learning_rate_warms_up_and_falls() -> None:
    config = SchedulerConfig(warmup_steps=10, final_share=0.01)
    factors = [lr_factor(step, 100, config) for step in range(101)]
    assert factors[0] == 0.1
    assert factors[9] == factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0.01)


def test_the_bundle_transcribes_what_it_was_trained_for(finished: Path, corpus: Path) -> None:
    recognizer = Recognizer(load_bundle(finished / "bundle"))
    utterance = read_manifest(corpus / "train.jsonl")[0]
    transcript = recognizer.transcribe(utterance.audio_path)
    assert transcript.text
    assert set(transcript.text) <= set("abcd ")
    starts = [word.start_s for word in transcript.words]
    assert starts == sorted(starts)
    assert transcript.words[-1].end_s <= utterance.duration_s
