"""Buckets: nothing lost, little padding, the same order from the same seed, on 1 rank or on 64."""

import numpy as np
import pytest

from asr.errors import UsageError
from asr.training.sampler import BatchKey, BucketSampler
from asr.waveform_augment import SpeedPerturbation


@pytest.fixture
def durations() -> list[float]:
    """A thousand utterances, log-normal from about 1 to 30 s, as in read speech."""
    random = np.random.default_rng(0)
    return np.clip(random.lognormal(2.0, 0.6, 1000), 1, 30).tolist()


def padding_share(batches: list[list[int]], durations: list[float]) -> float:
    lengths = [[durations[index] for index in batch] for batch in batches]
    padded = sum(max(batch) * len(batch) for batch in lengths)
    return 1 - sum(map(sum, lengths)) / padded


def test_every_utterance_once_an_epoch_with_little_padding(durations: list[float]) -> None:
    sampler = BucketSampler(durations, batch_s=100, seed=1)
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert sorted(index for batch in batches for index in batch) == list(range(1000))
        assert len(batches) == len(sampler)
        assert padding_share(batches, durations) < 0.04
        longest = max(max(durations[i] for i in batch) * len(batch) for batch in batches)
        assert longest < 100 * 1.1


def test_batches_go_by_the_lengths_that_speed_perturbation_gives(durations: list[float]) -> None:
    speed = SpeedPerturbation((0.9, 1.0, 1.1), seed=1)
    sampler = BucketSampler(durations, batch_s=100, seed=1, speed=speed)
    for epoch in range(3):
        played = list(np.array(durations) / speed.drawn(epoch, len(durations)))
        batches = sampler.batches(epoch)
        assert sorted(index for batch in batches for index in batch) == list(range(1000))
        assert padding_share(batches, played) < 0.04
        assert max(max(played[i] for i in batch) * len(batch) for batch in batches) < 100 * 1.1
    assert padding_share(BucketSampler(durations, 100, seed=1).batches(0), played) > 0.06


def test_order_follows_seed_and_epoch(durations: list[float]) -> None:
    first = BucketSampler(durations, 100, seed=1)
    assert first.batches(3) == BucketSampler(durations, 100, seed=1).batches(3)
    assert first.batches(3) != first.batches(4)
    assert first.batches(3) != BucketSampler(durations, 100, seed=2).batches(3)
    lengths = [durations[batch[0]] for batch in first.batches(0)]
    assert lengths != sorted(lengths)  # batches are shuffled ...
    composition = {frozenset(batch) for batch in first.batches(0)}
    assert composition != {frozenset(batch) for batch in first.batches(1)}  # ... and mixed anew


def test_no_seed_keeps_the_order_of_length(durations: list[float]) -> None:
    sampler = BucketSampler(durations, 100, seed=None)
    flat = [durations[index] for batch in sampler for index in batch.indices]
    assert flat == sorted(durations)


def test_resuming_continues_where_the_epoch_was_left(durations: list[float]) -> None:
    sampler = BucketSampler(durations, 100, seed=1)
    whole = sampler.batches(2)
    sampler.resume_at(2, 5)
    assert list(sampler) == [BatchKey(indices, 2) for indices in whole[5:]]
    sampler.set_epoch(3)
    assert [key.indices for key in sampler] == sampler.batches(3)
    sampler.resume_at(2, len(sampler))  # the epoch was finished
    assert sampler.epoch == 3
    assert [key.indices for key in sampler] == sampler.batches(3)


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_share_out_an_epoch_from_the_same_buckets(
    durations: list[float], world_size: int
) -> None:
    ranks = [BucketSampler(durations, 60, 1, rank, world_size) for rank in range(world_size)]
    parts = [list(rank) for rank in ranks]
    assert len({len(part) for part in parts}) == 1
    seen = sorted(index for part in parts for batch in part for index in batch.indices)
    assert seen == list(range(1000))
    for step in zip(*parts, strict=True):
        lengths = [max(durations[index] for index in batch.indices) for batch in step]
        assert max(lengths) - min(lengths) < 4 + 0.35 * min(lengths)


def test_a_single_utterance_longer_than_the_budget_is_a_batch() -> None:
    assert BucketSampler([50.0, 1.0, 1.0], 10, seed=None).batches(0) == [[1, 2], [0]]


def test_batches_of_one_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"3 batches of one .* to 2 processes: raise data\.batch_s"
    ):
        BucketSampler([200.0, 210.0, 220.0], 240.0, seed=1, world_size=2)
    assert len(BucketSampler([200.0, 210.0, 220.0, 230.0], 240.0, seed=1, world_size=2)) == 2


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="batch_s"):
        BucketSampler([1.0], 0, seed=1)
    with pytest.raises(
        UsageError, match=r"eval_batch_s is 0\.5 s, less than the shortest .*1\.00 s"
    ):
        BucketSampler([1.0, 9.0], 0.5, seed=None, limit_key="data.eval_batch_s")
    with pytest.raises(UsageError, match="too few for 2 processes"):
        BucketSampler([1.0], 10, seed=1, world_size=2)


def test_64_ranks_share_out_960_hours() -> None:
    """280,000 utterances of LibriSpeech's lengths: each exactly once, equal steps, little padding."""
    random = np.random.default_rng(0)
    long = random.uniform(size=280_000) < 0.72
    lengths = np.where(long, random.normal(14.6, 1.1, 280_000), random.uniform(1.5, 11.6, 280_000))
    sampler = BucketSampler(lengths.tolist(), 120, seed=1, rank=5, world_size=64)
    batches = sampler.batches(epoch=3)
    assert len(batches) == 64 * len(sampler)
    seen = np.bincount(np.concatenate(batches), minlength=280_000)
    assert (seen == 1).all()
    sampler.set_epoch(3)
    assert [key.indices for key in sampler] == batches[5::64]
    padded = np.array([lengths[batch].max() * len(batch) for batch in batches])
    assert 1 - lengths.sum() / padded.sum() < 0.03
    steps = padded.reshape(-1, 64)
    assert np.mean(steps.max(axis=1) / steps.mean(axis=1)) < 1.02
