"""What each training option brings: librispeech/mini with the options switched on one by one.

Each row is a training of its own, from the start, with the same seed and as many epochs; WER and CER are
greedy, on the recipe's test set. Trainings run side by side, one thread each; one that is done is kept,
one that was interrupted goes on.

    python scripts/bench/ablation.py --data ../shared/data --epochs 12 --lanes 2 -o runs/ablation
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

RECIPE = "librispeech/mini"
OFF = {
    "data.speeds": "[1.0]",
    "features.kind": "mfcc",
    "features.n_mfcc": "40",
    "encoder.conv_kind": "conv1d",
    "encoder.conv_channels": "128",
    "encoder.dropout": "0.0",
    "augment.freq_masks": "0",
    "augment.time_masks": "0",
    "augment.vtlp": "0.0",  # stays off
    "augment.mp3.probability": "0.0",
    "loss.consistency_weight": "0.0",
    "optimizer.kind": "adamw",
    "optimizer.lr": "1.5e-3",
    "callbacks.average": "none",
}
# What each row adds to the one before it; null: the recipe's own value.
ADDED: tuple[tuple[str, Mapping[str, str | None]], ...] = (
    ("baseline", {}),
    ("+ speeds 0.85 to 1.15", {"data.speeds": None}),
    ("+ learning rate 3e-3 for 1.5e-3", {"optimizer.lr": None}),
    ("+ 20 cepstra for 40", {"features.n_mfcc": "20"}),
    ("+ log-mel for cepstra", {"features.kind": None}),
    ("+ conv2d", {"encoder.conv_kind": None, "encoder.conv_channels": None}),
    ("+ SpecAugment", {"augment.freq_masks": None, "augment.time_masks": None}),
    ("+ Muon for AdamW", {"optimizer.kind": None}),
    ("+ variational dropout", {"encoder.dropout": None}),
    ("+ CR-CTC", {"loss.consistency_weight": None}),
    ("+ MP3 coding", {"augment.mp3.probability": None}),
    ("+ averaging of the best checkpoints", {"callbacks.average": "best"}),
)


@dataclass(frozen=True)
class Row:
    """A line of the table, and the training that makes it."""

    name: str
    run_dir: Path
    overrides: Mapping[str, str]

    @property
    def report(self) -> Path | None:
        """The report of its test set, once there is one."""
        return next(iter(sorted(self.run_dir.glob("report/*/report.json"))), None)


def rows(out: Path) -> Iterator[Row]:
    """All rows: each has what the one before it had, and one option more."""
    settings = dict(OFF)
    for number, (name, added) in enumerate(ADDED):
        for key, value in added.items():
            if value is None:
                del settings[key]
            else:
                settings[key] = value
        yield Row(name, out / f"{number}", dict(settings))


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", default="../shared/data", help="data.data_dir")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lanes", type=int, default=2, help="trainings side by side")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("override", nargs="*", help="of all trainings")
    options = parser.parse_args()
    table = list(rows(options.out))
    common = [f"data.data_dir={options.data}", f"trainer.max_epochs={options.epochs}"]
    # The row with averages is the one before it, with the weights of its checkpoints averaged.
    *trained, averaged = table
    with ThreadPoolExecutor(options.lanes) as pool:
        list(pool.map(lambda row: train(row, [*common, *options.override]), trained))
    if averaged.report is None:
        shutil.copytree(trained[-1].run_dir, averaged.run_dir, dirs_exist_ok=True)
        shutil.rmtree(averaged.run_dir / "report")
    train(averaged, [*common, *options.override])
    print_table(table)


def train(row: Row, common: list[str]) -> None:
    """Train until there is a report."""
    if row.report is not None:
        return
    resume = (row.run_dir / "checkpoints" / "last.ckpt").is_file()
    settings = [f"{key}={value}" for key, value in row.overrides.items()]
    command = [
        *(sys.executable, "-m", "asr", "train", f"recipe={RECIPE}", "trainer=cpu-bf16"),
        *(f"run_dir={row.run_dir}", f"resume={str(resume).lower()}", "trainer.threads=1"),
        *(*common, *settings),
    ]
    row.run_dir.parent.mkdir(parents=True, exist_ok=True)
    with (row.run_dir.parent / f"{row.run_dir.name}.log").open("a") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def print_table(table: list[Row]) -> None:
    """WER, CER, and what the epochs cost."""
    print("| options | dev loss | WER % | CER % | audio s/s |\n|---|---|---|---|---|")
    for row in table:
        assert row.report is not None
        report = json.loads(row.report.read_text("utf-8"))
        print(
            f"| {row.name} | {last_value(row.run_dir, 'val/loss'):.3f} | {100 * report['wer']:.2f} | "
            f"{100 * report['cer']:.2f} | {last_value(row.run_dir, 'train/audio_s_per_s'):.0f} |"
        )


def last_value(run_dir: Path, column: str) -> float:
    """The last value of a metric in a run's CSV logs."""
    values = []
    for path in sorted((run_dir / "logs" / "csv").rglob("*.csv")):
        with path.open(newline="") as file:
            values += [line[column] for line in csv.DictReader(file) if line.get(column)]
    return float(values[-1])


if __name__ == "__main__":
    main()
