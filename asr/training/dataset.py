"""Utterances -> padded batches: examples, waveform cache, length buckets."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from asr.audio import AudioError
from asr.augment import SpeedPerturbation
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance
from asr.transcribe import load_utterance

_LENGTH_JITTER = 0.03
_MAX_ERRORS_SHOWN = 10


class Batch(NamedTuple):
    """A padded batch.

    Shapes: waveforms (B, S), waveform_lengths (B,) samples, targets (B, U) int64,
    target_lengths (B,), indices (B,) into the dataset's examples.
    """

    waveforms: Tensor
    waveform_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    indices: Tensor


class BatchKey(NamedTuple):
    """Which examples make a batch, in which epoch."""

    indices: list[int]
    epoch: int


@dataclass(frozen=True)
class Example:
    """An utterance with its normalised text and the token ids of that text."""

    utterance: Utterance
    text: str
    token_ids: tuple[int, ...]


class WaveformSource(Protocol):
    """Where waveforms come from: decoded when asked for, or a cache."""

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """Mono float32 waveform (S,)."""
        ...


@dataclass(frozen=True)
class DecodedWaveforms:
    """Decodes the audio file each time."""

    sample_rate: int

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """Decode one utterance; AudioError where that fails."""
        return load_utterance(utterance, self.sample_rate)


class CachedWaveforms:
    """Waveforms decoded once into one memory-mapped float32 file (230 MB an hour at 16 kHz).

    The file's name is a hash of what made it: paths, sizes and times of the audio files, clips, sample
    rate. Changed audio or another rate therefore makes a new cache.
    """

    def __init__(self, utterances: Sequence[Utterance], sample_rate: int, folder: Path) -> None:
        key = _cache_key(utterances, sample_rate)
        data_file, index_file = folder / f"{key}.f32", folder / f"{key}.json"
        if not index_file.is_file() or not data_file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            _write_cache(utterances, DecodedWaveforms(sample_rate), data_file, index_file)
        index = json.loads(index_file.read_text("utf-8"))
        self._ranges: dict[str, tuple[int, int]] = {
            name: (start, end) for name, (start, end) in index.items()
        }
        self._samples: NDArray[np.float32] = np.memmap(data_file, dtype=np.float32, mode="r")

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """A view of the cached samples."""
        start, end = self._ranges[utterance.utterance_id]
        return self._samples[start:end]


def _cache_key(utterances: Sequence[Utterance], sample_rate: int) -> str:
    digest = hashlib.sha256(f"{sample_rate}".encode())
    for utterance in utterances:
        try:
            stat = utterance.audio_path.stat()
        except OSError:
            raise AudioError(utterance.audio_path, "no such file") from None
        digest.update(
            f"\n{utterance.utterance_id}\t{utterance.audio_path.resolve()}\t{stat.st_size}\t"
            f"{stat.st_mtime_ns}\t{utterance.offset_s}\t{utterance.duration_s}".encode()
        )
    return digest.hexdigest()[:20]


def _write_cache(
    utterances: Sequence[Utterance], decode: WaveformSource, data_file: Path, index_file: Path
) -> None:
    """Decode all; an error lists every file that failed, and leaves no cache behind."""

    def try_decode(utterance: Utterance) -> NDArray[np.float32] | AudioError:
        try:
            return decode(utterance)
        except AudioError as error:
            return error

    index: dict[str, tuple[int, int]] = {}
    failures: list[AudioError] = []
    position = 0
    temporary = data_file.with_name(f".{data_file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as out, ThreadPoolExecutor() as pool:
            for utterance, result in zip(utterances, pool.map(try_decode, utterances), strict=True):
                if isinstance(result, AudioError):
                    failures.append(result)
                    continue
                out.write(result.tobytes())
                index[utterance.utterance_id] = (position, position + len(result))
                position += len(result)
        if failures:
            raise AsrError(_describe_failures(failures, len(utterances)))
        temporary.replace(data_file)
        index_file.write_text(json.dumps(index), "utf-8")
    except OSError as error:
        raise AsrError(f"cannot write the waveform cache {data_file}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _describe_failures(failures: Sequence[AudioError], total: int) -> str:
    shown = "\n  ".join(str(failure) for failure in failures[:_MAX_ERRORS_SHOWN])
    return (
        f"{len(failures)} of {total} audio files cannot be read; mend them or take them out of the "
        f"manifest:\n  {shown}"
    )


class SpeechDataset(Dataset[Batch]):
    """Indexed by a `BatchKey`; returns its examples as one padded batch."""

    def __init__(
        self,
        examples: Sequence[Example],
        waveforms: WaveformSource,
        speed: SpeedPerturbation | None = None,
    ) -> None:
        self.examples = examples
        self.waveforms = waveforms
        self.speed = speed
        self._factors: tuple[int, NDArray[np.float64]] = (-1, np.empty(0))

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: BatchKey) -> Batch:
        examples = [self.examples[index] for index in key.indices]
        waveforms = [self._waveform(index, key.epoch) for index in key.indices]
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        padded = torch.zeros(len(waveforms), int(lengths.max()))
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = torch.from_numpy(np.array(waveform))
        target_lengths = torch.tensor([len(example.token_ids) for example in examples])
        targets = torch.zeros(len(examples), max(1, int(target_lengths.max())), dtype=torch.long)
        for target, example in zip(targets, examples, strict=True):
            target[: len(example.token_ids)] = torch.tensor(example.token_ids, dtype=torch.long)
        return Batch(padded, lengths, targets, target_lengths, torch.tensor(key.indices))

    def _waveform(self, index: int, epoch: int) -> NDArray[np.float32]:
        waveform = self.waveforms(self.examples[index].utterance)
        if self.speed is None:
            return waveform
        if self._factors[0] != epoch:
            self._factors = (epoch, self.speed.drawn(epoch, len(self.examples)))
        return self.speed(waveform, float(self._factors[1][index]))


class BucketSampler(Sampler[BatchKey]):
    """Batches of utterances of similar length, in an order drawn from seed and epoch.

    The number and sizes of batches are the same in every epoch; which utterances of nearly the same
    length go together changes. With several ranks, the batches of one step come from the same bucket.

    Args:
        durations_s: length of each example.
        batch_s: seconds of padded audio in a batch, at most (one longer utterance makes a batch).
        seed: of the order; None keeps examples and batches sorted by length (evaluation).
        rank, world_size: this process and their number.
        speed: perturbation of the examples; batches go by the lengths that an epoch's factors give.
            The sizes of batches fit the lengths of epoch 0, those of other epochs within a few percent.
    """

    def __init__(
        self,
        durations_s: Sequence[float],
        batch_s: float,
        seed: int | None,
        rank: int = 0,
        world_size: int = 1,
        speed: SpeedPerturbation | None = None,
    ) -> None:
        if batch_s <= 0:
            raise UsageError(f"data.batch_s must be positive, not {batch_s}")
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.seed, self.speed = seed, speed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._resume_at = (0, 0)
        self.sizes = _batch_sizes(np.sort(self.lengths_s(0)), batch_s, world_size)

    def __len__(self) -> int:
        """Batches of an epoch for this rank."""
        return len(self.sizes) // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; Lightning calls this."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batches_done: int) -> None:
        """Leave out the first `batches_done` batches of `epoch`, which an earlier run has seen."""
        if batches_done >= len(self):
            epoch, batches_done = epoch + 1, 0
        self._resume_at = (epoch, batches_done)
        self.epoch = epoch

    def __iter__(self) -> Iterator[BatchKey]:
        batches = self.batches(self.epoch)[self.rank :: self.world_size]
        epoch, batches_done = self._resume_at
        for indices in batches[batches_done if epoch == self.epoch else 0 :]:
            yield BatchKey(indices, self.epoch)

    def lengths_s(self, epoch: int) -> NDArray[np.float64]:
        """Seconds of each example as an epoch plays it."""
        if self.speed is None:
            return self.durations_s
        return self.durations_s / self.speed.drawn(epoch, len(self.durations_s))

    def batches(self, epoch: int) -> list[list[int]]:
        """All ranks' batches of an epoch; consecutive groups of world_size share a bucket."""
        lengths = self.lengths_s(epoch)
        if self.seed is None:
            return self._cut(np.argsort(lengths, kind="stable"))
        random = np.random.default_rng((self.seed, epoch))
        jitter = random.uniform(1 - _LENGTH_JITTER, 1 + _LENGTH_JITTER, len(lengths))
        batches = self._cut(np.argsort(lengths * jitter, kind="stable"))
        groups = [
            batches[start : start + self.world_size]
            for start in range(0, len(batches), self.world_size)
        ]
        return [batch for group in random.permutation(len(groups)) for batch in groups[group]]

    def _cut(self, order: NDArray[np.intp]) -> list[list[int]]:
        ends = np.cumsum(self.sizes)
        return [part.tolist() for part in np.split(order, ends[:-1])]


def _batch_sizes(
    sorted_durations: NDArray[np.float64], batch_s: float, world_size: int
) -> list[int]:
    """Numbers of utterances of the batches, from short to long; their count divides by world_size."""
    if len(sorted_durations) < world_size:
        raise UsageError(
            f"{len(sorted_durations)} utterances are too few for {world_size} processes"
        )
    sizes = [0]
    for duration_s in sorted_durations:
        if sizes[-1] and (sizes[-1] + 1) * duration_s > batch_s:
            sizes.append(0)
        sizes[-1] += 1
    while len(sizes) % world_size:
        largest = int(np.argmax(sizes))
        sizes[largest : largest + 1] = [sizes[largest] - sizes[largest] // 2, sizes[largest] // 2]
    return sizes
