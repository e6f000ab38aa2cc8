"""Examples -> padded batches, in this process or in others that load ahead."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.errors import AsrError
from asr.manifest import Utterance
from asr.training.sampler import BatchKey, ResumableSampler
from asr.training.waveforms import WaveformSource
from asr.waveform_augment import SpeedPerturbation, WaveformAugmentation

_LOST_WORKER = r"DataLoader worker \(pid[^)]*\).*?(?:signal: [\w ]+|exited unexpectedly)"


class Batch(NamedTuple):
    """A padded batch.

    Shapes: waveforms (B, S), waveform_lengths (B,) samples, targets (B, U) int64,
    target_lengths (B,), indices (B,) into the dataset's examples, phone_targets (B, U') int64,
    phone_target_lengths (B,), 0 where there are none.
    """

    waveforms: Tensor
    waveform_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    indices: Tensor
    phone_targets: Tensor
    phone_target_lengths: Tensor


@dataclass(frozen=True)
class Example:
    """An utterance with its normalised text and the token ids of that text.

    phone_ids is empty where training has no phones, or the lexicon lacks a word of the text.
    """

    utterance: Utterance
    text: str
    token_ids: tuple[int, ...]
    phone_ids: tuple[int, ...] = ()


class SpeechDataset(Dataset[Batch]):
    """Indexed by a `BatchKey`; returns its examples as one padded batch.

    Args:
        speed: changes the length of each waveform before `augmentation`, which does not.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        waveforms: WaveformSource,
        speed: SpeedPerturbation | None = None,
        augmentation: WaveformAugmentation | None = None,
    ) -> None:
        self.examples = examples
        self.waveforms = waveforms
        self.speed, self.augmentation = speed, augmentation
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
        targets, target_lengths = padded_ids([example.token_ids for example in examples])
        phone_targets, phone_target_lengths = padded_ids(
            [example.phone_ids for example in examples]
        )
        return Batch(
            padded, lengths, targets, target_lengths, torch.tensor(key.indices),
            phone_targets, phone_target_lengths,
        )  # fmt: skip

    def _waveform(self, index: int, epoch: int) -> NDArray[np.float32]:
        waveform = self.waveforms(self.examples[index].utterance)
        if self.speed is not None:
            waveform = self.speed(waveform, self._factor(self.speed, index, epoch))
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, epoch, index)
        return waveform

    def _factor(self, speed: SpeedPerturbation, index: int, epoch: int) -> float:
        if self._factors[0] != epoch:
            self._factors = (epoch, speed.drawn(epoch, len(self.examples)))
        return float(self._factors[1][index])


def padded_ids(sequences: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Ids of B sequences as (B, U) int64 with zeros at their ends, and their lengths (B,)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.zeros(len(sequences), max(1, int(lengths.max())), dtype=torch.long)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence, dtype=torch.long)
    return padded, lengths


@dataclass(frozen=True)
class _Failure:
    """The message of an AsrError on its way from the process in which it was raised."""

    message: str


class _Guarded(Dataset[Any]):
    """A dataset that returns errors: torch would hand them on with the worker's traceback as text."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: BatchKey) -> Any:
        try:
            return self.dataset[key]
        except AsrError as error:
            return _Failure(str(error))


class BatchLoader(DataLoader[Batch]):
    """The batches of a sampler in its order, the same with any number of workers."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Raises AsrError where a batch cannot be loaded (a file that has gone, say)."""
        for loaded in super().__iter__():
            if isinstance(loaded, _Failure):
                raise AsrError(loaded.message)
            yield loaded


def batch_loader(
    dataset: Dataset[Any], sampler: ResumableSampler, num_workers: int, seed: int
) -> BatchLoader:
    """A loader with `num_workers` processes; 0 loads in this one."""
    return BatchLoader(
        _Guarded(dataset),
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        # Its own generator: an iterator must not draw from the random state of dropout and masks.
        generator=torch.Generator().manual_seed(seed),
    )


def lost_worker(error: RuntimeError) -> AsrError | None:
    """What to do where torch says that a loading process has died; None for any other error."""
    match = re.search(
        r"DataLoader worker \(pid[^)]*\).*?(?:signal: [\w ]+|exited unexpectedly)", str(error)
    )
    if match is None:
        return None
    return AsrError(
        f"a process that loads data has died ({match[0].strip()}). Most often memory ran out: lower "
        "data.num_workers or data.batch_s; after a bus error give /dev/shm more room, or set "
        "data.num_workers=0. Then go on with resume=true"
    )
