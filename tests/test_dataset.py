"""Batches: padded, augmented, the same with any number of processes; what dies or fails says so."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.errors import AsrError
from asr.manifest import Utterance
from asr.training.dataset import Batch, Example, SpeechDataset, batch_loader, lost_worker
from asr.training.sampler import BatchKey, BucketSampler
from asr.training.waveforms import DecodedWaveforms
from asr.waveform_augment import Gain, Noise, Reverb, SpeedPerturbation, WaveformAugmentation


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


def test_speed_changes_length_by_its_factor_and_follows_seed_epoch_and_index(
    utterances: list[Utterance],
) -> None:
    examples = [Example(one, one.text, (1,)) for one in utterances]
    speed = SpeedPerturbation((0.9, 1.0, 1.1), seed=1)
    dataset = SpeechDataset(examples, DecodedWaveforms(16_000), speed)
    lengths = {int(dataset[BatchKey([1], epoch)].waveform_lengths[0]) for epoch in range(30)}
    assert lengths == {17_778, 16_000, 14_546}
    together = dataset[BatchKey([0, 1, 2, 3], 5)].waveform_lengths.tolist()
    alone = [int(dataset[BatchKey([index], 5)].waveform_lengths[0]) for index in range(4)]
    assert together == alone
    assert together != dataset[BatchKey([0, 1, 2, 3], 6)].waveform_lengths.tolist()


def test_augmentation_follows_seed_epoch_and_index_not_the_batch(
    utterances: list[Utterance],
) -> None:
    examples = [Example(one, one.text, (1,)) for one in utterances]
    gain = WaveformAugmentation((Gain(0.5, -20, 0),), seed=1)
    dataset = SpeechDataset(examples, DecodedWaveforms(16_000), None, gain)
    plain = SpeechDataset(examples, DecodedWaveforms(16_000))

    def level(batch: Batch) -> list[float]:
        return batch.waveforms.abs().sum(dim=1).tolist()

    together = level(dataset[BatchKey([0, 1, 2, 3], 5)])
    assert together == [level(dataset[BatchKey([index], 5)])[0] for index in range(4)]
    assert together != level(dataset[BatchKey([0, 1, 2, 3], 6)])
    assert together != level(plain[BatchKey([0, 1, 2, 3], 5)])


def loaded(utterances: list[Utterance], num_workers: int) -> list[Batch]:
    """Two epochs with everything switched on."""
    random = np.random.default_rng(0)
    clips = [0.1 * random.standard_normal(5_000).astype(np.float32) for _ in range(3)]
    effects = (Reverb(0.5, clips), Noise(0.5, clips, 0, 20), Gain(0.5, -10, 0))
    speed = SpeedPerturbation((0.9, 1.0, 1.1), seed=1)
    many = [
        replace(one, utterance_id=f"{one.utterance_id}-{n}") for n in range(4) for one in utterances
    ]
    dataset = SpeechDataset(
        [Example(one, one.text, (1, 2)) for one in many],
        DecodedWaveforms(16_000),
        speed,
        WaveformAugmentation(effects, seed=1),
    )
    sampler = BucketSampler([one.duration_s for one in many], 3, seed=1, speed=speed)
    loader = batch_loader(dataset, sampler, num_workers, seed=1)
    batches = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches += list(loader)
    return batches


def test_worker_processes_give_the_same_batches(utterances: list[Utterance]) -> None:
    """But for rounding: a worker has one thread, and convolutions round by their number."""
    alone, shared = loaded(utterances, 0), loaded(utterances, 2)
    assert len(alone) == len(shared) > 10
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(tuple(one), tuple(other), rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_file_that_has_gone_is_named_without_a_traceback(
    utterances: list[Utterance], num_workers: int
) -> None:
    utterances[1].audio_path.unlink()
    dataset = SpeechDataset(
        [Example(one, one.text, (1,)) for one in utterances], DecodedWaveforms(16_000)
    )
    sampler = BucketSampler([1.0] * 4, 10, seed=1)
    with pytest.raises(AsrError, match=r"^\S*1\.flac: [^\n]*$"):
        list(batch_loader(dataset, sampler, num_workers, seed=1))


class Killed:
    """Decoding ends as where memory runs out."""

    def __call__(self, utterance: Utterance) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_worker_that_dies_is_an_error_that_says_what_to_do(utterances: list[Utterance]) -> None:
    dataset = SpeechDataset([Example(one, one.text, (1,)) for one in utterances], Killed())
    loader = batch_loader(dataset, BucketSampler([1.0] * 4, 10, seed=1), num_workers=1, seed=1)
    with pytest.raises(RuntimeError) as death:
        list(loader)
    error = lost_worker(death.value)
    assert error is not None
    for part in ("has died (DataLoader worker", "data.num_workers", "/dev/shm", "resume=true"):
        assert part in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("message", "known"),
    [
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", True),
        ("DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that", True),
        ("Caught ValueError in DataLoader worker process 0.\nOriginal Traceback", False),
        ("CUDA out of memory", False),
    ],
)
def test_only_lost_workers_are_taken_for_such(message: str, known: bool) -> None:
    assert (lost_worker(RuntimeError(message)) is not None) == known
