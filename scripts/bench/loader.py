"""The data path of training on real speech: padding of an epoch against other ways to batch, the rate
of decoding and augmenting, and how long a training step waits for its batch.

    python scripts/bench/loader.py [--data ../shared/data] [--batch-s 120] [--timed-s 900] [--threads 2]

Padding is that of train-clean-5 (1,519 utterances). The rates come from its first `timed-s` seconds.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.augment import AugmentConfig
from asr.corpora.librispeech import prepare_librispeech
from asr.ctc import ctc_losses
from asr.encoder import EncoderConfig
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import AcousticModel, ModelConfig
from asr.training.config import DataConfig
from asr.training.datamodule import Manifests, SpeechDataModule
from asr.training.sampler import BatchKey, BucketSampler
from asr.waveform_augment import GainConfig, NoiseConfig, ReverbConfig, SpeedPerturbation

ROUNDS = 3
SPEEDS = (0.9, 1.0, 1.1)
ENCODER = EncoderConfig(hidden_size=192, num_layers=3)  # librispeech/mini's


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ASR_DATA", "../shared/data"))
    )
    parser.add_argument("--batch-s", type=float, default=120)
    parser.add_argument("--timed-s", type=float, default=900)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        (subset,) = prepare_librispeech(options.data, ["train-clean-5"], Path(folder))
        utterances = read_manifest(subset.manifest)
        print_padding([one.duration_s for one in utterances], options.batch_s)
        manifest = first_of(utterances, options.timed_s, Path(folder))
        print_rates(manifest, options.data)
        print_waiting(manifest, options.data, options.batch_s)


def first_of(utterances: Sequence[Utterance], limit_s: float, folder: Path) -> Path:
    """A manifest of the first utterances, `limit_s` seconds in all."""
    ends_s = np.cumsum([one.duration_s for one in utterances])
    path = folder / "timed.jsonl"
    write_manifest(path, utterances[: int(np.searchsorted(ends_s, limit_s)) + 1])
    return path


# --- padding ---------------------------------------------------------------------------------


def print_padding(durations_s: Sequence[float], batch_s: float) -> None:
    """Padding share of an epoch, the mean of five; a batch has at most `batch_s` padded seconds."""
    lengths = np.asarray(durations_s)
    speed = SpeedPerturbation(SPEEDS, 16_000, seed=1)
    plain = BucketSampler(durations_s, batch_s, seed=1)
    perturbed = BucketSampler(durations_s, batch_s, seed=1, speed=speed)
    ways: dict[str, Callable[[int], tuple[NDArray[np.float64], list[list[int]]]]] = {
        "random order": lambda epoch: (lengths, random_batches(lengths, batch_s, epoch)),
        "dynamic buckets, factor 1.1": lambda epoch: (
            lengths,
            dynamic_buckets(lengths, batch_s, epoch, 1.1),
        ),
        "asr": lambda epoch: (lengths, plain.batches(epoch)),
        "asr, speeds 0.9 1.0 1.1": lambda epoch: (
            perturbed.lengths_s(epoch),
            perturbed.batches(epoch),
        ),
    }
    print(
        f"\n| {len(lengths)} utterances, {batch_s:g} s a batch | batches | padding |\n|---|---|---|"
    )
    for name, way in ways.items():
        epochs = [way(epoch) for epoch in range(5)]
        counts = np.mean([len(batches) for _, batches in epochs])
        shares = np.mean([padding_share(*epoch) for epoch in epochs])
        print(f"| {name} | {counts:.0f} | {100 * shares:.1f} % |")


def padding_share(lengths: NDArray[np.float64], batches: Sequence[Sequence[int]]) -> float:
    """Share of padded batches that is padding."""
    padded = sum(lengths[list(batch)].max() * len(batch) for batch in batches)
    return 1 - float(lengths.sum()) / float(padded)


def random_batches(lengths: NDArray[np.float64], batch_s: float, epoch: int) -> list[list[int]]:
    """Utterances in random order; a batch ends where one more would not fit."""
    batches: list[list[int]] = [[]]
    longest = 0.0
    for index in np.random.default_rng(epoch).permutation(len(lengths)).tolist():
        longest = max(longest, lengths[index])
        if batches[-1] and (len(batches[-1]) + 1) * longest > batch_s:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


def dynamic_buckets(
    lengths: NDArray[np.float64], batch_s: float, epoch: int, factor: float
) -> list[list[int]]:
    """What SpeechBrain's DynamicBatchSampler does by default: buckets whose bounds grow by `factor`
    from the shortest utterance, in random order, each emptied when full: batch_s over its bound."""
    bounds = [float(lengths.min())]
    while bounds[-1] * factor < batch_s:
        bounds.append(bounds[-1] * factor)
    sizes = [max(1, int(batch_s / bound)) for bound in bounds] + [1]
    buckets: list[list[int]] = [[] for _ in sizes]
    batches = []
    for index in np.random.default_rng(epoch).permutation(len(lengths)).tolist():
        place = int(np.searchsorted(bounds, lengths[index]))
        buckets[place].append(index)
        if len(buckets[place]) >= sizes[place]:
            batches.append(buckets[place])
            buckets[place] = []
    return batches + [bucket for bucket in buckets if bucket]


# --- decoding, augmenting, waiting -----------------------------------------------------------


def data_module(
    manifest: Path,
    cache_dir: Path | None,
    num_workers: int = 0,
    speeds: Sequence[float] = (1.0,),
    augment: AugmentConfig | None = None,
    batch_s: float = 120,
) -> SpeechDataModule:
    """As a recipe makes it, ready to load."""
    config = DataConfig(
        batch_s=batch_s,
        speeds=list(speeds),
        cache_dir=None if cache_dir is None else str(cache_dir),
        num_workers=num_workers,
    )
    manifests = Manifests((manifest,), (manifest,))
    data = SpeechDataModule(manifests, config, ModelConfig(1), seed=1, augment=augment)
    data.setup("fit")
    return data


def everything(data: Path) -> AugmentConfig:
    """Reverberation, noise and gain for every utterance."""
    return AugmentConfig(
        reverb=ReverbConfig(1.0, str(data / "rir")),
        noise=NoiseConfig(1.0, str(data / "noise")),
        gain=GainConfig(1.0),
    )


def print_rates(manifest: Path, data: Path) -> None:
    """Seconds of audio made in a second of processor time, one by one; best of several rounds."""
    noise, reverb = everything(data).noise, everything(data).reverb
    cache = manifest.parent / "cache"
    ways: dict[str, SpeechDataModule] = {
        "decoding": data_module(manifest, None),
        "cache": data_module(manifest, cache),
        "cache, speeds 0.9 and 1.1": data_module(manifest, cache, speeds=(0.9, 1.1)),
        "cache, reverberation": data_module(manifest, cache, augment=AugmentConfig(reverb=reverb)),
        "cache, noise": data_module(manifest, cache, augment=AugmentConfig(noise=noise)),
    }
    print("\n| what, for every utterance | audio s per CPU s |\n|---|---|")
    for name, module in ways.items():
        dataset = module.train_dataloader().dataset
        count = len(module.train_examples)
        seconds = []
        for _ in range(ROUNDS):
            started = time.process_time()
            for index in range(count):
                dataset[BatchKey([index], 0)]
            seconds.append(time.process_time() - started)
        print(f"| {name} | {module.train_hours * 3600 / min(seconds):,.0f} |")


def print_waiting(manifest: Path, data: Path, batch_s: float) -> None:
    """Share of the time of training steps (forward, CTC, backward) that is waiting for the batch."""
    cache, augment = manifest.parent / "cache", everything(data)
    ways: dict[str, SpeechDataModule] = {
        "decoding": data_module(manifest, None, batch_s=batch_s),
        "cache": data_module(manifest, cache, batch_s=batch_s),
        "cache, speeds": data_module(manifest, cache, 0, SPEEDS, batch_s=batch_s),
        "cache, speeds, reverberation, noise, gain": data_module(
            manifest, cache, 0, SPEEDS, augment, batch_s
        ),
        "the same, 1 worker": data_module(manifest, cache, 1, SPEEDS, augment, batch_s),
    }
    print("\n| batches from | step s | waiting s | share |\n|---|---|---|---|")
    for name, module in ways.items():
        step_s, wait_s = waiting(module)
        share = wait_s / (wait_s + step_s)
        print(f"| {name} | {step_s:.3f} | {wait_s:.3f} | {100 * share:.1f} % |")


def waiting(data: SpeechDataModule) -> tuple[float, float]:
    """Median seconds of (a step, waiting for its batch) in an epoch, the first batch left out."""
    model = AcousticModel(ModelConfig(data.tokenizer.vocab_size, encoder=ENCODER))
    steps_s, waits_s = [], []
    mark = time.perf_counter()
    for batch in data.train_dataloader():
        waits_s.append(time.perf_counter() - mark)
        output = model(batch.waveforms, batch.waveform_lengths)
        losses = ctc_losses(
            output.log_probs, output.output_lengths, batch.targets, batch.target_lengths
        )
        losses.sum().backward()
        now = time.perf_counter()
        steps_s.append(now - mark - waits_s[-1])
        mark = now
    return float(np.median(steps_s[1:])), float(np.median(waits_s[1:]))


if __name__ == "__main__":
    main()
