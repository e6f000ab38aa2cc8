"""Which utterances make a batch: buckets of similar length, shared out over the ranks of a run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from asr.errors import UsageError
from asr.waveform_augment import SpeedPerturbation

_LENGTH_JITTER = 0.03


class BatchKey(NamedTuple):
    """Which examples make a batch, in which epoch."""

    indices: list[int]
    epoch: int


class ResumableSampler(Sampler[BatchKey], ABC):
    """This process's batches of an epoch; a run that was interrupted goes on in the middle of one."""

    def __init__(self) -> None:
        self.epoch = 0
        self._resume_at = (0, 0)

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch for this rank."""

    @abstractmethod
    def own_batches(self, epoch: int) -> Sequence[list[int]]:
        """The indices of this rank's batches of an epoch, in order."""

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
        epoch, batches_done = self._resume_at
        for indices in self.own_batches(self.epoch)[batches_done if epoch == self.epoch else 0 :]:
            yield BatchKey(indices, self.epoch)


class BucketSampler(ResumableSampler):
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
        limit_key: the recipe's name for batch_s, for messages.

    Raises:
        UsageError: a limit that is not positive or below every utterance, fewer utterances than ranks.
    """

    def __init__(
        self,
        durations_s: Sequence[float],
        batch_s: float,
        seed: int | None,
        rank: int = 0,
        world_size: int = 1,
        speed: SpeedPerturbation | None = None,
        limit_key: str = "data.batch_s",
    ) -> None:
        super().__init__()
        if not batch_s > 0:
            raise UsageError(f"{limit_key} must be positive, not {batch_s}")
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.seed, self.speed = seed, speed
        self.rank, self.world_size = rank, world_size
        lengths_s = np.sort(self.lengths_s(0))
        if len(lengths_s) and batch_s < lengths_s[0]:
            raise UsageError(
                f"{limit_key} is {batch_s:g} s, less than the shortest utterance has "
                f"({lengths_s[0]:.2f} s): no batch could hold one; raise it"
            )
        self.sizes = _batch_sizes(lengths_s, batch_s, world_size, limit_key)

    def __len__(self) -> int:
        """Batches of an epoch for this rank."""
        return len(self.sizes) // self.world_size

    def own_batches(self, epoch: int) -> list[list[int]]:
        """This rank's share of `batches`."""
        return self.batches(epoch)[self.rank :: self.world_size]

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
    sorted_durations: NDArray[np.float64], batch_s: float, world_size: int, limit_key: str
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
        if sizes[largest] == 1:
            raise UsageError(
                f"{len(sizes)} batches of one utterance each cannot be shared out evenly to "
                f"{world_size} processes: raise {limit_key} (now {batch_s:g} s)"
            )
        sizes[largest : largest + 1] = [sizes[largest] - sizes[largest] // 2, sizes[largest] // 2]
    return sizes
