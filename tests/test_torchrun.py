"""Scale-out as on a cluster: processes started by torchrun, here two on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe


def test_torchrun_trains_one_model_and_writes_one_report(tmp_path: Path) -> None:
    """Each process takes half of each step; the dev set of 7 is scored once, exactly."""
    write_corpus(tmp_path, train=24, dev=7)
    write_recipe(tmp_path)
    run_dir = tmp_path / "run"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "asr", "train", *overrides(tmp_path, run_dir), "trainer.max_epochs=1",
        "trainer.devices=2", "trainer.strategy=ddp", "data.eval_batch_s=4",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("model: ") == result.stdout.count("WER") == 1
    assert result.stderr.count("decoding 24 utterances") == 1  # one process makes the cache
    report = json.loads((run_dir / "report/dev/report.json").read_text())
    assert report["num_utterances"] == 7
    (best,) = (run_dir / "checkpoints").glob("epoch=*.ckpt")
    scores = torch.load(best, weights_only=True)["callbacks"].values()
    (in_training,) = (
        float(one["best_model_score"]) for one in scores if one.get("monitor") == "val/wer"
    )
    assert report["wer"] == pytest.approx(in_training, abs=1e-6)
