"""Training end to end on a language of tones: it learns, resumes after kill -9, and reports the same
WER as `asr evaluate`."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe

from asr.bundle import load_bundle
from asr.cli import main
from asr.errors import AsrError, UsageError
from asr.evaluate import evaluate
from asr.manifest import read_manifest, write_manifest
from asr.training.config import load_config
from asr.training.dataset import Batch
from asr.training.lit_module import AsrLitModule
from asr.training.train import train
from asr.transcribe import Recognizer, load_model


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder)
    write_recipe(folder)
    return folder


def metrics(run_dir: Path) -> list[dict[str, str]]:
    """The rows of the CSV log."""
    with (run_dir / "logs/csv/metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(run_dir: Path) -> dict[int, str]:
    """Training step -> loss, as written in the CSV log."""
    return {int(row["step"]): row["train/loss"] for row in metrics(run_dir) if row["train/loss"]}


@pytest.fixture(scope="module")
def finished(corpus: Path) -> Path:
    """The run folder of an uninterrupted run of 57 epochs."""
    run_dir = corpus / "runs/finished"
    train([*overrides(corpus, run_dir), "trainer.max_epochs=57", "trainer.validate_every_epochs=7"])
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
    """57 is no multiple of 7."""
    epochs = [int(row["epoch"]) for row in metrics(finished) if row["val/wer"]]
    assert epochs == [6, 13, 20, 27, 34, 41, 48, 55, 56]


def test_kill_and_resume_equals_the_uninterrupted_run(corpus: Path) -> None:
    """kill -9 in the middle of an epoch; resume=true continues step, data order, random state, moving
    average and log: on one thread, every loss is the same number, and so is every bit of the weights,
    their average and the optimizer."""
    settings = ["callbacks.average=ema", "callbacks.ema_decay=0.9"]
    whole_dir, killed_dir = corpus / "runs/whole", corpus / "runs/killed"
    train([*overrides(corpus, whole_dir), *settings])
    command = [sys.executable, "-m", "asr", "train", *overrides(corpus, killed_dir), *settings]
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
    assert 0 < state["global_step"] < len(losses(whole_dir))
    train([*overrides(corpus, killed_dir), *settings, "resume=true"])
    assert losses(killed_dir) == losses(whole_dir)
    steps = [int(row["step"]) for row in metrics(killed_dir)]
    assert steps == sorted(steps)
    assert len(steps) == len(metrics(whole_dir))
    whole, resumed = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
        for folder in (whole_dir, killed_dir)
    )
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        torch.testing.assert_close(resumed[key], whole[key], rtol=0, atol=0)
    average, weights = (whole[key] for key in ("state_dict", "current_model_state"))
    assert not torch.equal(average["model.head.linear.weight"], weights["model.head.linear.weight"])
    with pytest.raises(UsageError, match=r"go on with callbacks\.average=ema"):
        train([*overrides(corpus, killed_dir), "resume=true"])


SPOILT_ON_RANK_1 = """
from asr.cli import main
from asr.training.lit_module import AsrLitModule

training_step = AsrLitModule.training_step

def spoilt(self, batch, batch_idx):
    loss = training_step(self, batch, batch_idx)
    return loss * float("nan") if (self.global_rank, self.global_step) == (1, 3) else loss

AsrLitModule.training_step = spoilt
main()
"""


def on_two_processes(corpus: Path, run_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Two epochs on two ranks, the fourth step spoilt on rank 1."""
    script = corpus / "spoilt.py"
    script.write_text(SPOILT_ON_RANK_1)
    command = [
        sys.executable, str(script), "train", *overrides(corpus, run_dir), "trainer.max_epochs=2",
        "trainer.devices=2", "trainer.strategy=ddp", "callbacks.keep_best=-1", "augment.start_step=0",
        "encoder.recurrent_dropout=0.2", "loss=cr-ctc", "loss.intermediate_weight=0.3",
        "optimizer.kind=muon", *more,
    ]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


@pytest.fixture(scope="module")
def two_processes(corpus: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run folder and the output of such a run."""
    run_dir = corpus / "runs/ddp"
    return run_dir, on_two_processes(corpus, run_dir)


def test_two_processes_share_the_work(
    two_processes: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """DDP on the CPU: the same examples in all, one bundle, one report, WER over both ranks."""
    run_dir, result = two_processes
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("WER") == 1
    assert "weights_only" not in result.stderr
    assert "sync_dist" not in result.stderr
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 8  # 7 batches, made 8 for two ranks: 4 steps an epoch
    rates = [path.stem.split("wer=")[1] for path in (run_dir / "checkpoints").glob("epoch=*.ckpt")]
    in_training = min(map(float, rates))
    report = json.loads((run_dir / "report/dev/report.json").read_text())
    assert report["num_utterances"] == 12
    assert report["wer"] == pytest.approx(in_training, abs=5e-5)


def test_two_processes_go_on_with_what_each_would_have_drawn(
    two_processes: tuple[Path, subprocess.CompletedProcess[str]], corpus: Path
) -> None:
    """From the end of the first epoch: the same weights, to the bit, with masks and dropout."""
    whole_dir, _ = two_processes
    run_dir = corpus / "runs/ddp-resumed"
    shutil.copytree(whole_dir, run_dir)
    (first,) = (run_dir / "checkpoints").glob("epoch=000*.ckpt")
    for path in (run_dir / "checkpoints").glob("*.ckpt"):
        if path != first:
            path.unlink()
    result = on_two_processes(corpus, run_dir, "resume=true")
    assert result.returncode == 0, result.stderr
    assert f"resuming {first}: epoch 1, 4 batches done" in result.stderr
    whole, resumed = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (whole_dir, run_dir)
    )
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_two_processes_skip_a_step_together(
    two_processes: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Had rank 0 made the step, its weights would be no numbers; had rank 1, all steps after it would
    be skipped too. Only the rank whose loss it was names its utterances."""
    run_dir, result = two_processes
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["callbacks"]["SkipBadSteps"]["skipped"] == 1
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    assert result.stderr.count("step skipped") == 1
    (line,) = (run_dir / "skipped.tsv").read_text().splitlines()
    step, reason, *names = line.split("\t")
    assert (step, reason) == ("3", "the loss is not finite")
    assert 1 <= len(names) <= 12


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_says_how_to_go_on(corpus: Path, workers: int) -> None:
    run_dir = corpus / f"runs/stopped-{workers}"
    command = [
        sys.executable,
        "-X",
        "faulthandler",  # should the process crash, its message has the stack
        "-m",
        "asr",
        "train",
        *overrides(corpus, run_dir),
        "trainer.max_epochs=500",
        f"data.num_workers={workers}",
    ]
    # its own group: a terminal's Ctrl-C reaches the workers too
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints/last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "the same command with resume=true goes on" in messages
    assert "Traceback" not in messages


def test_ctrl_c_stops_two_processes_at_the_same_step(corpus: Path) -> None:
    run_dir = corpus / "runs/stopped-ddp"
    settings = ["trainer.max_epochs=500", "trainer.devices=2", "trainer.strategy=ddp"]
    settings += ["callbacks.checkpoint_every_steps=3"]
    command = [sys.executable, "-X", "faulthandler", "-m", "asr", "train"]
    command += [*overrides(corpus, run_dir), *settings]
    last = run_dir / "checkpoints/last.ckpt"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    if (
        process.returncode != -signal.SIGABRT
    ):  # glibc, once in fifty times, as processes are taken down
        assert process.returncode == 130, messages
        assert "the same command with resume=true goes on" in messages
    stopped = torch.load(last, weights_only=True)["global_step"]
    log = (run_dir / "logs/csv/metrics.csv").read_text()
    steps = [int(row["step"]) for row in csv.DictReader(log.splitlines()) if row["train/loss"]]
    assert max(steps) == stopped - 1  # nothing that was done is lost


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


def test_two_test_sets_of_one_name_have_a_report_each(finished: Path, corpus: Path) -> None:
    run_dir = corpus / "runs/two-sets"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "report")
    (corpus / "other").mkdir()
    write_manifest(corpus / "other/dev.jsonl", read_manifest(corpus / "dev.jsonl"))
    sets = f"data.test=[{corpus}/dev.jsonl,{corpus}/other/dev.jsonl]"
    trained = train([*overrides(corpus, run_dir), sets, "resume=true", "trainer.max_epochs=57"])
    names = sorted(path.parent.name for path in run_dir.glob("report/*/report.json"))
    assert names == sorted(["other-dev", f"{corpus.name}-dev"])
    assert len(trained.evaluations) == 2


def test_a_run_without_a_test_set_has_a_model_and_no_report(
    finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = corpus / "runs/untested"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "report")
    chosen = [*overrides(corpus, run_dir), "data.test=[]", "resume=true", "trainer.max_epochs=57"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *chosen])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"model: {run_dir / 'bundle'}\n"
    assert not (run_dir / "report").exists()


def test_a_copied_run_folder_goes_on_by_itself(finished: Path, corpus: Path) -> None:
    """The same bundle of the same checkpoints; the folder that it was copied from is left alone."""
    run_dir = corpus / "runs/copied"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "bundle")
    before = sorted((finished / "checkpoints").iterdir())
    with pytest.raises(UsageError, match=r"\.ckpt is of epoch 57, .*max_epochs is 3"):
        train([*overrides(corpus, run_dir), "resume=true", "trainer.max_epochs=3"])
    train([*overrides(corpus, run_dir), "resume=true", "trainer.max_epochs=57"])
    assert load_bundle(run_dir / "bundle").model_id == load_bundle(finished / "bundle").model_id
    epochs = ["resume=true", "trainer.max_epochs=64", "callbacks.keep_best=1", "logger=csv"]
    train([*overrides(corpus, run_dir), *epochs])
    assert len(list((run_dir / "checkpoints").glob("epoch=*.ckpt"))) == 1
    assert sorted((finished / "checkpoints").iterdir()) == before


def test_a_run_that_broke_off_in_its_last_epoch_still_validates_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs, validated every two: the third is broken off after its checkpoint of two steps."""
    run_dir = corpus / "runs/last-epoch"
    settings = [*overrides(corpus, run_dir), "trainer.max_epochs=3", "logger=csv"]
    settings += ["trainer.validate_every_epochs=2"]
    training_step = AsrLitModule.training_step

    def stop(self: AsrLitModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (2, 5):
            raise ZeroDivisionError
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(AsrLitModule, "training_step", stop)
        with pytest.raises(ZeroDivisionError):
            train(settings)
    train([*settings, "resume=true"])
    assert [row["epoch"] for row in metrics(run_dir) if row["val/wer"]] == ["1", "2"]


def test_a_run_left_at_the_end_of_an_epoch_goes_on_with_the_next(corpus: Path) -> None:
    """By its validation's checkpoint, with another interval: no step more or less, none repeated."""
    run_dir = corpus / "runs/interval"
    settings = [*overrides(corpus, run_dir), "logger=csv", "callbacks.keep_best=2"]
    settings += ["trainer.max_epochs=4"]
    train([*settings, "trainer.validate_every_epochs=2"])
    epoch_steps = len(losses(run_dir)) // 4
    for path in (run_dir / "checkpoints").iterdir():
        if not path.name.startswith("epoch=001"):
            path.unlink()
    train([*settings, "trainer.validate_every_epochs=3", "resume=true"])
    steps = [(row["epoch"], row["step"]) for row in metrics(run_dir) if row["train/loss"]]
    assert steps == [(str(step // epoch_steps), str(step)) for step in range(4 * epoch_steps)]
    assert [row["epoch"] for row in metrics(run_dir) if row["val/wer"]] == ["1", "2", "3"]


def test_a_disk_full_at_checkpoint_time_leaves_a_run_to_go_on_with(corpus: Path) -> None:
    """The fourth step finds no room for its checkpoint: that of the second is still there."""
    run_dir = corpus / "runs/full"
    settings = [*overrides(corpus, run_dir), "trainer.max_epochs=1", "logger=csv"]
    train(settings)
    last = run_dir / "checkpoints/last.ckpt"
    before = torch.load(last, weights_only=True)["global_step"]
    last.with_name(".last.ckpt.partial").symlink_to("/dev/full")
    with pytest.raises(AsrError, match=r"last\.ckpt: No space left.*go on with resume=true"):
        train([*settings, "resume=true", "trainer.max_epochs=2"])
    assert torch.load(last, weights_only=True)["global_step"] == before
    last.with_name(".last.ckpt.partial").unlink(missing_ok=True)
    train([*settings, "resume=true", "trainer.max_epochs=2", "callbacks.average=last"])
    assert torch.load(last, weights_only=True)["global_step"] > before


def test_a_full_disk_for_the_log_is_told_too(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asr.training.logs.MetricsCsv.log_metrics", full)
    with pytest.raises(AsrError, match=r"the disk of .*run is full .*resume=true"):
        train([*overrides(corpus, tmp_path / "run"), "trainer.max_epochs=1", "logger=csv"])


def test_a_checkpoint_of_another_network_is_refused(finished: Path, corpus: Path) -> None:
    before = (finished / "config.yaml").read_text()
    with pytest.raises(AsrError, match="is of another network or vocabulary"):
        train([*overrides(corpus, finished), "resume=true", "encoder.hidden_size=12"])
    assert (finished / "config.yaml").read_text() == before


def test_accumulated_batches_resume_between_steps(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice in batch 5 of 7, two batches to a step: the second time in the middle of the first
    step after the checkpoint, where none must be saved. The losses are those of one run."""
    settings = ["trainer.accumulate_batches=2", "trainer.max_epochs=2", "logger=csv"]
    whole_dir, stopped_dir = corpus / "runs/accumulated", corpus / "runs/accumulated-stopped"
    train([*overrides(corpus, whole_dir), *settings])
    training_step = AsrLitModule.training_step

    def stop(self: AsrLitModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (0, 5):
            raise ZeroDivisionError
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(AsrLitModule, "training_step", stop)
        for resume in ("false", "true"):
            with pytest.raises(ZeroDivisionError):
                train([*overrides(corpus, stopped_dir), *settings, f"resume={resume}"])
    train([*overrides(corpus, stopped_dir), *settings, "resume=true"])
    assert len(losses(whole_dir)) == 8
    assert losses(stopped_dir) == losses(whole_dir)


AVERAGES = {
    "best": r"average of the best 2 checkpoints",
    "last": r"average of the last 2 checkpoints",
    "ema": r"moving average \(decay 0\.9\)",
}


@pytest.mark.parametrize("average", AVERAGES)
def test_the_bundle_is_made_of_what_measured_best(
    average: str, finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both WERs are printed; the bundle's card and its report have the smaller one."""
    run_dir = corpus / f"runs/{average}"
    train([
        *overrides(corpus, run_dir), f"init_from={finished / 'bundle'}", "logger=csv",
        "trainer.max_epochs=2", "optimizer.lr=3e-3", "scheduler.warmup_steps=1",
        f"callbacks.average={average}", "callbacks.average_count=2", "callbacks.ema_decay=0.9",
    ])  # fmt: skip
    said = re.search(
        rf"{AVERAGES[average]}: dev WER ([\d.]+) %; the best single weights ([\d.]+) %: "
        r"the bundle is made of the (average|single weights)",
        capsys.readouterr().err,
    )
    assert said is not None
    mean, single = float(said[1]), float(said[2])
    assert said[3] == ("average" if mean <= single else "single weights")
    training = load_bundle(run_dir / "bundle").training
    assert f"started from model {load_bundle(finished / 'bundle').model_id}" in training.data
    dev_wer = training.dev_wer
    assert dev_wer == pytest.approx(min(mean, single) / 100, abs=5e-5)
    report = json.loads((run_dir / "report/dev/report.json").read_text())
    assert report["wer"] == pytest.approx(dev_wer, abs=1e-6)
    kept = list((run_dir / "checkpoints").glob("epoch=*.ckpt"))
    assert len(kept) == (2 if average == "best" else 1)


def test_decay_on_plateaus_ends_a_run_early(
    finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate of nothing: WER stands still below 100 %, and patience is 1."""
    run_dir = corpus / "runs/plateau"
    train([
        *overrides(corpus, run_dir), f"init_from={finished / 'bundle'}", "logger=csv",
        "optimizer.lr=1e-9",
        "scheduler.kind=plateau", "scheduler.warmup_steps=1", "scheduler.patience=1",
        "scheduler.final_share=0.5", "trainer.max_epochs=20",
    ])  # fmt: skip
    assert "training ends here" in capsys.readouterr().err
    epochs = {int(row["epoch"]) for row in metrics(run_dir) if row["val/wer"]}
    assert epochs == {0, 1, 2}  # the best, one decay, the end
    rates = [float(row["lr-AdamW/pg1"]) for row in metrics(run_dir) if row["lr-AdamW/pg1"]]
    assert sorted(set(rates)) == [5e-10, 1e-9]


def test_a_run_goes_on_without_its_configuration(corpus: Path, tmp_path: Path) -> None:
    """As a full disk or a kill may have left it."""
    short = ["trainer.max_epochs=1", "logger=csv"]
    train([*overrides(corpus, tmp_path / "run"), *short])
    for damaged in ("", "recipe_name: [", "- a\n"):
        (tmp_path / "run/config.yaml").write_text(damaged)
        train([*overrides(corpus, tmp_path / "run"), *short, "resume=true"])
        assert "recipe_name: tones" in (tmp_path / "run/config.yaml").read_text()


def test_a_run_folder_is_not_overwritten(finished: Path, corpus: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        train(overrides(corpus, finished))
    with pytest.raises(UsageError, match="belongs to the recipe tones, not to librispeech/mini"):
        train(["recipe=librispeech/mini", f"run_dir={finished}", "resume=true"])
    resumed = [*overrides(corpus, finished), "trainer.max_epochs=57", "resume=true"]
    with pytest.raises(UsageError, match=r"with optimizer\.kind=adamw, not muon"):
        train([*resumed, "optimizer.kind=muon"])
    with pytest.raises(UsageError, match=r"with scheduler\.kind=cosine, not plateau"):
        train([*resumed, "scheduler.kind=plateau"])


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
    with pytest.raises(AsrError, match="no manifest at"):
        train([*bad, "data.test=[nowhere.jsonl]"])
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
    assert "'z' 1x" in capsys.readouterr().err
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


def test_a_lost_data_process_says_what_to_do(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch raises it wherever training is when the signal comes."""

    def lost(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr("asr.training.lit_module.objective", lost)
    with pytest.raises(AsrError, match=r"has died .*signal: Killed.*data\.num_workers"):
        train(overrides(corpus, tmp_path / "run"))


def test_the_bundle_transcribes_what_it_was_trained_for(finished: Path, corpus: Path) -> None:
    recognizer = Recognizer(load_bundle(finished / "bundle"))
    utterance = read_manifest(corpus / "train.jsonl")[0]
    transcript = recognizer.transcribe(utterance.audio_path)
    assert transcript.text
    assert set(transcript.text) <= set("abcd ")
    starts = [word.start_s for word in transcript.words]
    assert starts == sorted(starts)
    assert transcript.words[-1].end_s <= utterance.duration_s
