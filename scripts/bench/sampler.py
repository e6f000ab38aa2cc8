"""How an epoch is shared out over many ranks: a manifest of 960 hours with LibriSpeech's spread of
lengths is written, read and cut into batches; nothing is decoded.

    python scripts/bench/sampler.py [--ranks 64] [--utterances 280000] [--batch-s 120] [--manifest M]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.manifest import Utterance, read_manifest, write_manifest
from asr.training.sampler import BucketSampler
from asr.waveform_augment import SpeedPerturbation


def librispeech_like(count: int) -> NDArray[np.float64]:
    """Durations of train-960: most cut at 13 to 17 s, a long tail of shorter ones, 12.3 s on average."""
    random = np.random.default_rng(0)
    long = random.uniform(size=count) < 0.72
    return np.where(long, random.normal(14.6, 1.1, count), random.uniform(1.5, 11.6, count))


def durations_of(manifest: Path | None, count: int) -> NDArray[np.float64]:
    """Read from a manifest; without one, from a made manifest of `count` utterances."""
    if manifest is not None:
        return np.array([utterance.duration_s for utterance in read_manifest(manifest)])
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "train.jsonl"
        text = "A SENTENCE OF ABOUT THIRTY FOUR WORDS " * 5
        write_manifest(
            made,
            (
                Utterance(f"{number:06}", Path(folder, f"{number}.flac"), text, round(length, 3))
                for number, length in enumerate(librispeech_like(count).tolist())
            ),
        )
        started = time.perf_counter()
        durations = np.array([utterance.duration_s for utterance in read_manifest(made)])
        print(f"reading a manifest of {count:,} lines: {time.perf_counter() - started:.1f} s")
    return durations


def main() -> None:
    """Print a row for each epoch; stop where an utterance is lost or seen twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--utterances", type=int, default=280_000)
    parser.add_argument("--batch-s", type=float, default=120)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--manifest", type=Path)
    options = parser.parse_args()
    durations = durations_of(options.manifest, options.utterances)
    speed = SpeedPerturbation((0.9, 1.0, 1.1), 16_000, seed=1)
    print(
        f"{len(durations):,} utterances, {durations.sum() / 3600:.0f} h, {options.ranks} ranks, "
        f"{options.batch_s:g} s a batch; imbalance: longest batch of a step over the mean\n\n"
        "| speeds | epoch | steps | lost | twice | padding | imbalance | worst step | made in s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for perturbation in (None, speed):
        for epoch in range(options.epochs):
            print(row(durations, options.batch_s, options.ranks, epoch, perturbation))


def row(
    durations: NDArray[np.float64],
    batch_s: float,
    ranks: int,
    epoch: int,
    speed: SpeedPerturbation | None,
) -> str:
    """One line of the table."""
    started = time.perf_counter()
    sampler = BucketSampler(durations.tolist(), batch_s, 1, 0, ranks, speed)
    batches = sampler.batches(epoch)
    made_s = time.perf_counter() - started
    seen = np.bincount(np.concatenate(batches), minlength=len(durations))
    lengths = sampler.lengths_s(epoch)
    padded = np.array([lengths[batch].max() * len(batch) for batch in batches])
    steps = padded.reshape(-1, ranks)
    imbalance = steps.max(axis=1) / steps.mean(axis=1)
    lost, twice = int((seen == 0).sum()), int((seen > 1).sum())
    if lost or twice:
        raise SystemExit(f"epoch {epoch}: {lost} utterances lost, {twice} seen twice")
    return (
        f"| {'0.9 1.0 1.1' if speed else '1.0'} | {epoch} | {len(steps)} | {lost} | {twice} | "
        f"{100 * (1 - lengths.sum() / padded.sum()):.2f} % | {imbalance.mean():.3f} | "
        f"{imbalance.max():.3f} | {made_s:.2f} |"
    )


if __name__ == "__main__":
    main()
