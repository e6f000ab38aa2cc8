"""A training process for each core against one process with a thread for each: audio seconds a second.

`librispeech/mini` in bfloat16 on a part of its data, with and without CR-CTC; runs alternate, each
trains two epochs and the second counts, the best run of each. A step sees the same audio either way.

    python scripts/bench/ddp.py data/librispeech/train-clean-5.jsonl        # about 6 minutes
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from ablation import last_value

from asr.manifest import read_manifest, write_manifest

BATCH_S = 120  # of all processes together


def main() -> None:
    """Train and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path, help="speech to train on")
    parser.add_argument("--utterances", type=int, default=150, help="every n-th, as many as these")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    modes = {
        "one process": ("trainer=cpu-bf16", f"trainer.threads={options.cores}"),
        "a process a core": (
            "trainer=cpu-ddp-bf16", f"trainer.devices={options.cores}",
            f"data.batch_s={BATCH_S / options.cores:g}",
        ),
    }  # fmt: skip
    losses = {"CTC": "loss=ctc", "CR-CTC": "loss=cr-ctc"}
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="asr-bench-") as folder:
        root = Path(folder)
        utterances = read_manifest(options.manifest)
        part = utterances[:: max(1, len(utterances) // options.utterances)][: options.utterances]
        write_manifest(root / "part.jsonl", part)
        write_manifest(root / "dev.jsonl", part[:4])
        runs = itertools.product(range(options.repeat), losses.items(), modes.items())
        for number, (loss, loss_override), (mode, overrides) in runs:
            run_dir = root / f"{loss} {mode} {number}"
            train(root, run_dir, [loss_override, f"data.batch_s={BATCH_S}", *overrides])
            speeds[loss, mode].append(last_value(run_dir, "train/audio_s_per_s"))
    print(
        f"| loss | {' | '.join(f'{mode}, audio s/s' for mode in modes)} | ratio |\n|---|---|---|---|"
    )
    for loss in losses:
        one, several = (max(speeds[loss, mode]) for mode in modes)
        print(f"| {loss} | {one:.0f} | {several:.0f} | {several / one:.2f} |")


def train(root: Path, run_dir: Path, overrides: list[str]) -> None:
    """Two epochs of `librispeech/mini` on the part, with its masks from the first step on."""
    command = [
        *(sys.executable, "-m", "asr", "train", "recipe=librispeech/mini", f"run_dir={run_dir}"),
        *("data.corpus=manifests", f"data.train=[{root / 'part.jsonl'}]"),
        *(f"data.dev=[{root / 'dev.jsonl'}]", f"data.test=[{root / 'dev.jsonl'}]"),
        f"data.cache_dir={root / 'cache'}",
        *("augment.start_step=0", "trainer.max_epochs=2", "trainer.validate_every_epochs=2"),
        *overrides,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


if __name__ == "__main__":
    main()
