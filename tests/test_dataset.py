"""Buckets: nothing lost, little padding, the same order from the same seed. Caches: exact, keyed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.augment import SpeedPerturbation
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance
from asr.training.dataset import (
    BatchKey,
    BucketSampler,
    CachedWaveforms,
    DecodedWaveforms,
    Example,
    SpeechDataset,
)


@pytest.fixture
def durations() -> list[float]:
    """A thousand utterances, log-normal from about 1 to 30 s, as in read speech."""
    random = np.random.default_rng(0)
    return np.clip(random.lognormal(2.0, 0.6, 1000), 1, 30).tolist()


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    random = np.random.default_rng(0)
    made = []
    for number in range(4):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, 0.1 * random.standard_normal(8_000 * (number + 1)), 16_000)
        made.append(Utterance(f"u{number}", path, "ab" * number, (number + 1) / 2))
    return made


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
    speed = SpeedPerturbation((0.9, 1.0, 1.1), 16_000, seed=1)
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


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="batch_s"):
        BucketSampler([1.0], 0, seed=1)
    with pytest.raises(UsageError, match="too few for 2 processes"):
        BucketSampler([1.0], 10, seed=1, world_size=2)


def test_a_batch_is_padded_with_zeros(utterances: list[Utterance]) -> None:
    examples = [
        Example(one, one.text, tuple(range(1, 2 * n + 1))) for n, one in enumerate(utterances)
    ]
    batch = SpeechDataset(examples, DecodedWaveforms(16_000))[BatchKey([2, 0], 0)]
    assert batch.waveforms.shape == (2, 24_000)
    assert batch.waveform_lengths.tolist() == [24_000, 8_000]
    assert batch.waveforms[1, 8_000:].abs().sum() == 0
    assert batch.targets.tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert batch.target_lengths.tolist() == [4, 0]
    assert batch.indices.tolist() == [2, 0]


def test_the_cache_gives_the_decoders_samples(utterances: list[Utterance], tmp_path: Path) -> None:
    decode = DecodedWaveforms(16_000)
    for _ in range(2):  # made, then reopened
        cache = CachedWaveforms(utterances, 16_000, tmp_path / "cache")
        for utterance in utterances:
            np.testing.assert_array_equal(cache(utterance), decode(utterance))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_changed_audio_or_another_rate_makes_another_cache(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert len(CachedWaveforms(utterances, 8_000, tmp_path / "cache")(utterances[0])) == 4_000
    soundfile.write(utterances[0].audio_path, np.zeros(8_000), 16_000)
    changed = CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert np.abs(changed(utterances[0])).max() == 0


def test_clips_of_a_long_file(tmp_path: Path) -> None:
    samples = np.arange(16_000, dtype=np.float32) / 16_000
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    clips = [Utterance(str(n), tmp_path / "long.wav", "", 0.25, n / 4) for n in range(4)]
    cache = CachedWaveforms(clips, 16_000, tmp_path / "cache")
    np.testing.assert_array_equal(np.concatenate([cache(clip) for clip in clips]), samples)


def test_unreadable_files_are_all_listed_and_leave_no_cache(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    for number in (1, 3):
        utterances[number].audio_path.write_bytes(b"no audio at all")
    with pytest.raises(
        AsrError, match=r"2 of 4 audio files cannot be read(.|\n)*1\.flac(.|\n)*3\.flac"
    ):
        CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    utterances[0].audio_path.unlink()
    with pytest.raises(AsrError, match=r"0\.flac"):
        CachedWaveforms(utterances, 16_000, tmp_path / "cache")


def test_speed_changes_length_by_its_factor_and_follows_seed_epoch_and_index(
    utterances: list[Utterance],
) -> None:
    examples = [Example(one, one.text, (1,)) for one in utterances]
    speed = SpeedPerturbation((0.9, 1.0, 1.1), 16_000, seed=1)
    dataset = SpeechDataset(examples, DecodedWaveforms(16_000), speed)
    lengths = {int(dataset[BatchKey([1], epoch)].waveform_lengths[0]) for epoch in range(30)}
    assert lengths == {17_778, 16_000, 14_546}
    together = dataset[BatchKey([0, 1, 2, 3], 5)].waveform_lengths.tolist()
    alone = [int(dataset[BatchKey([index], 5)].waveform_lengths[0]) for index in range(4)]
    assert together == alone
    assert together != dataset[BatchKey([0, 1, 2, 3], 6)].waveform_lengths.tolist()


def test_speed_moves_pitch_too() -> None:
    """A tone of 440 Hz played at 1.1 times the speed is one of 484 Hz."""
    time_s = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)
    faster = SpeedPerturbation((1.1,), 16_000, seed=1)(tone, 1.1)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    peak_hz = spectrum.argmax() * 16_000 / len(faster)
    assert peak_hz == pytest.approx(484, abs=2)
