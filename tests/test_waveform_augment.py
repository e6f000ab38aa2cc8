"""Each augmentation of waveforms is active, does what it says by a second implementation, and follows
seed, epoch and index."""

import numpy as np
import pytest
import torch
import torchaudio

from asr.audio import Waveform
from asr.errors import UsageError
from asr.mp3 import through_mp3
from asr.waveform_augment import (
    Effect,
    Gain,
    GainConfig,
    Mp3,
    Mp3Config,
    Noise,
    NoiseConfig,
    Reverb,
    ReverbConfig,
    SpeedPerturbation,
    WaveformAugmentation,
    _speed,
    cut_or_repeat,
    mix,
    reverberate,
)

LENGTH = 4_000


def white(length: int, seed: int, level: float = 0.1) -> Waveform:
    """White noise; read-only, as a cache's samples are."""
    samples = (level * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    samples.setflags(write=False)
    return samples


def power_db(waveform: Waveform) -> float:
    return float(10 * np.log10(np.mean(waveform.astype(np.float64) ** 2)))


SPEECH = white(LENGTH, 0)
CLIPS = [white(length, seed, 0.3) for seed, length in enumerate((700, 9_000, 4_000), start=1)]


def augmented(augmentation: WaveformAugmentation, count: int, epoch: int = 0) -> list[Waveform]:
    return [augmentation(SPEECH, epoch, index) for index in range(count)]


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 13.5, 30.0])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    noisy = mix(SPEECH, CLIPS[2], snr_db)
    assert power_db(SPEECH) - power_db(noisy - SPEECH) == pytest.approx(snr_db, abs=0.01)
    oracle = torchaudio.functional.add_noise(
        torch.from_numpy(SPEECH.copy()), torch.from_numpy(CLIPS[2].copy()), torch.tensor(snr_db)
    )
    np.testing.assert_allclose(noisy, oracle.numpy(), atol=1e-6)


def test_ratios_are_drawn_from_the_whole_range() -> None:
    noise = WaveformAugmentation((Noise(1.0, CLIPS, 5, 15),), seed=1)
    ratios = [power_db(SPEECH) - power_db(noisy - SPEECH) for noisy in augmented(noise, 300)]
    assert 5 - 0.01 < min(ratios) < 5.5
    assert 14.5 < max(ratios) < 15 + 0.01
    assert np.mean(ratios) == pytest.approx(10, abs=0.6)


def test_nothing_is_clipped() -> None:
    """Noise louder than the speech goes beyond full scale, and all of it is there."""
    loud = white(LENGTH, 3, 0.9)
    noisy = mix(loud, CLIPS[2], -6)
    assert np.abs(noisy).max() > 2
    assert power_db(noisy - loud) == pytest.approx(power_db(loud) + 6, abs=0.01)


def test_silence_stays_silence() -> None:
    silence = np.zeros(LENGTH, dtype=np.float32)
    assert mix(silence, CLIPS[2], 10) is silence
    assert mix(SPEECH, silence, 10) is SPEECH
    assert not reverberate(silence, CLIPS[0]).any()


def test_a_short_clip_goes_round_from_a_random_start() -> None:
    clip = np.arange(1, 8, dtype=np.float32)
    starts = set()
    for seed in range(50):
        stretch = cut_or_repeat(clip, 20, np.random.default_rng(seed))
        start = int(stretch[0]) - 1
        np.testing.assert_array_equal(stretch, np.tile(clip, 4)[start : start + 20])
        starts.add(start)
    assert starts == set(range(7))


def test_a_long_clip_is_cut_at_a_random_start_but_not_in_its_silence() -> None:
    clip = np.arange(50, dtype=np.float32)
    starts = {int(cut_or_repeat(clip, 30, np.random.default_rng(seed))[0]) for seed in range(200)}
    assert starts == set(range(21))
    bark = np.zeros(10_000, dtype=np.float32)
    bark[9_500:9_600] = 0.5
    for seed in range(20):
        assert cut_or_repeat(bark, 1_000, np.random.default_rng(seed)).max() == 0.5


def test_reverberation_is_the_convolution_aligned_to_the_direct_path() -> None:
    response = white(900, 5, 0.02) * np.exp(-np.arange(900) / 200)
    response[140] = 1.0
    whole = np.convolve(SPEECH.astype(np.float64), response)[140 : 140 + LENGTH]
    wet = reverberate(SPEECH, response.astype(np.float32))
    scale = np.sqrt(np.mean(SPEECH.astype(np.float64) ** 2) / np.mean(whole**2))
    np.testing.assert_allclose(wet, scale * whole, atol=1e-6)
    assert power_db(wet) == pytest.approx(power_db(SPEECH), abs=0.001)
    click = np.zeros(LENGTH, dtype=np.float32)
    click[1_000] = 1.0
    assert np.abs(reverberate(click, response.astype(np.float32))).argmax() == 1_000


def test_gain_is_in_decibels() -> None:
    gain = WaveformAugmentation((Gain(1.0, -12, 6),), seed=1)
    gains = [power_db(louder) - power_db(SPEECH) for louder in augmented(gain, 300)]
    assert -12.01 < min(gains) < -11
    assert 5 < max(gains) < 6.01
    np.testing.assert_allclose(augmented(gain, 1)[0] / SPEECH, 10 ** (gains[0] / 20), rtol=1e-4)


@pytest.mark.parametrize(
    "effect",
    [Reverb(0.3, CLIPS), Noise(0.3, CLIPS, 5, 15), Gain(0.3, -12, -1), Mp3(0.3, 16_000, [24])],
)
def test_each_changes_its_share_of_the_utterances(effect: Effect) -> None:
    augmentation = WaveformAugmentation((effect,), seed=7)
    changed = [result is not SPEECH for result in augmented(augmentation, 1_000)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.045)


def test_bit_rates_are_drawn_evenly() -> None:
    mp3 = WaveformAugmentation((Mp3(1.0, 16_000, [16, 160]),), seed=1)
    by_rate = [through_mp3(SPEECH, 16_000, kbit_s) for kbit_s in (16, 160)]
    drawn = [[np.array_equal(coded, one) for one in by_rate] for coded in augmented(mp3, 60)]
    assert all(sum(which) == 1 for which in drawn)
    assert 20 < sum(which[0] for which in drawn) < 40


def test_draws_follow_seed_epoch_and_index() -> None:
    def noisy(seed: int, epoch: int, index: int) -> Waveform:
        return WaveformAugmentation((Noise(1.0, CLIPS, 5, 15),), seed)(SPEECH, epoch, index)

    same = noisy(1, 2, 3)
    np.testing.assert_array_equal(noisy(1, 2, 3), same)
    for other in (noisy(2, 2, 3), noisy(1, 3, 3), noisy(1, 2, 4)):
        assert not np.array_equal(other, same)


def test_switching_one_on_leaves_the_draws_of_the_others() -> None:
    noise, gain = Noise(0.5, CLIPS, 5, 15), Gain(0.5, -12, -1)
    alone = augmented(WaveformAugmentation((noise,), seed=1), 50)
    both = augmented(WaveformAugmentation((noise, gain), seed=1), 50)
    levels = {power_db(one) - power_db(other) for one, other in zip(alone, both, strict=True)}
    assert len(levels) > 10
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(other * (one[0] / other[0]), one, rtol=1e-3, atol=1e-6)


def test_it_begins_with_its_first_epoch() -> None:
    gain = WaveformAugmentation((Gain(1.0, -12, -6),), seed=1, start_epoch=2)
    assert [gain(SPEECH, epoch, 0) is SPEECH for epoch in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (NoiseConfig, {"probability": 1.5}, "noise.probability must lie between 0 and 1"),
        (NoiseConfig, {"probability": 0.5}, "augment.noise.folder names no folder"),
        (NoiseConfig, {"min_snr_db": 30.0}, "noise needs min_snr_db <= max_snr_db"),
        (ReverbConfig, {"probability": 0.5}, "augment.reverb.folder names no folder"),
        (ReverbConfig, {"probability": -0.1}, "reverb.probability must lie"),
        (Mp3Config, {"min_kbit_s": 65.0}, "mp3 needs min_kbit_s <= max_kbit_s"),
        (GainConfig, {"max_db": float("nan")}, "gain needs min_db <= max_db"),
    ],
)
def test_impossible_settings_are_refused(
    config: type[NoiseConfig], wrong: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        config(**wrong)  # type: ignore[arg-type]


def test_a_ratio_of_speeds_is_one_of_small_numbers() -> None:
    """torchaudio's Speed makes a filter of 22,050 times 20,947 taps of 0.95 at 22,050 Hz."""
    random = np.random.default_rng(0)
    waveform = random.standard_normal(4_000).astype(np.float32)
    for factor in np.arange(0.5, 2.0, 0.05):
        resample = _speed(float(factor))
        assert max(resample.orig_freq, resample.new_freq) <= 40
        changed = SpeedPerturbation((factor,), seed=1)(waveform, float(factor))
        assert len(changed) == pytest.approx(4_000 / factor, abs=1.5)
    expected, _ = torchaudio.transforms.Speed(16_000, 1.15)(torch.from_numpy(waveform))
    found = SpeedPerturbation((1.15,), seed=1)(waveform, 1.15)
    np.testing.assert_array_equal(found, expected.numpy())


def test_speed_moves_pitch_too() -> None:
    """A tone of 440 Hz played at 1.1 times the speed is one of 484 Hz."""
    time_s = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)
    faster = SpeedPerturbation((1.1,), seed=1)(tone, 1.1)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    peak_hz = spectrum.argmax() * 16_000 / len(faster)
    assert peak_hz == pytest.approx(484, abs=2)
