"""A run folder as a resumed training leaves it, with invented figures."""

import json
import math
from pathlib import Path

from asr.run_samples import Sample, Validation, add_validation

STEPS_PER_EPOCH = 20
_COLUMNS = (
    "epoch,lr-AdamW/pg1,lr-AdamW/pg2,step,train/audio_s_per_s,train/blank_share,train/data_wait_share,"
    "train/loss,train/padding_share,val/cer,val/loss,val/wer,train/skipped_steps,train/grad_norm"
)


def write_run(run_dir: Path, epochs: int = 10, text: str = "the cat sat") -> None:
    """Logs in two parts (resumed in the middle), samples, configuration, one left out utterance."""
    half = epochs // 2
    _write_log(run_dir / "logs/csv/version_0", range(half + 1))
    _write_log(run_dir / "logs/csv/version_1", range(half, epochs))
    words = text.split()
    for epoch in range(epochs):
        heard = " ".join(words[: 1 + epoch * len(words) // epochs])
        samples = (Sample(f"u-{text}", text, heard), Sample("u2", "all right", "all right"))
        wer = 1 - epoch / epochs
        step = (epoch + 1) * STEPS_PER_EPOCH
        add_validation(run_dir, Validation(epoch, step, 2.0 * (epoch + 1), wer, wer / 2, samples))
    (run_dir / "config.yaml").write_text(
        "recipe_name: test/made\nseed: 3\nresume: false\ntrainer:\n  max_epochs: 20\n"
        f"data:\n  speeds: [0.9, 1.0]\n  data_dir: {json.dumps(text)}\n",
        "utf-8",
    )
    (run_dir / "left_out.txt").write_text(
        f"long-1\ttoo long {text}\nlong-2\ttoo long {text}\n", "utf-8"
    )
    (run_dir / "skipped.tsv").write_text(
        "7\tno gradient\tu5\tu6\n9\tno gradient\tu6\tu7\nhalf a li"
    )


def write_report(run_dir: Path, name: str = "test", wer: float = 0.25) -> None:
    """The bundle's and report's places as a finished run has them."""
    (run_dir / "bundle").mkdir(parents=True, exist_ok=True)
    (run_dir / "bundle/config.json").write_text("{}")
    folder = run_dir / "report" / name
    folder.mkdir(parents=True, exist_ok=True)
    report = {"wer": wer, "cer": None, "num_utterances": 7, "system": {"num_parameters": 1234567}}
    (folder / "report.json").write_text(json.dumps(report))


def _write_log(folder: Path, epochs: range) -> None:
    folder.mkdir(parents=True)
    lines = [_COLUMNS]
    for epoch in epochs:
        for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
            loss = 4 * math.exp(-step / 60) + 0.2 * (step % 3)
            lines.append(f",0.001,0.001,{step},,,,,,,,,,")
            lines.append(f"{epoch},,,{step},,0.5,,{loss},,,,,,{1 + step % 5}")
        wer = 1 - epoch / 10
        lines.append(f"{epoch},,,{step},,,,,,{wer / 2},{loss},{wer},0,")
        lines.append(f"{epoch},,,{step},200.0,,0.02,,0.03,,,,,")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n", "utf-8")
