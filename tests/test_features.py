"""MFCC against librosa, independence of padding, the length formula."""

import doctest

import librosa
import numpy as np
import pytest
import torch

import asr.features
from asr.errors import UsageError
from asr.features import FeatureConfig, FrontEnd


@pytest.fixture
def speechlike() -> np.ndarray:
    """Two seconds of a chirp with noise: energy in all bands, quiet and loud parts."""
    random = np.random.default_rng(0)
    tone = librosa.chirp(fmin=80, fmax=7000, sr=16_000, duration=2.0)
    envelope = np.linspace(0.02, 0.6, len(tone))
    return (tone * envelope + 0.01 * random.standard_normal(len(tone))).astype(np.float32)


def test_docstrings() -> None:
    assert doctest.testmod(asr.features).failed == 0


@pytest.mark.parametrize(("n_mels", "n_mfcc"), [(40, 40), (40, 13), (80, 40)])
def test_mfcc_equals_librosa(speechlike: np.ndarray, n_mels: int, n_mfcc: int) -> None:
    """librosa's mel spectrogram (HTK scale, no area norm, power) -> ln -> DCT, to 1e-4."""
    config = FeatureConfig(n_mels=n_mels, n_mfcc=n_mfcc, floor_db=None, normalize=False)
    mel = librosa.feature.melspectrogram(
        y=speechlike, sr=config.sample_rate, n_fft=config.n_fft, win_length=config.win_length,
        hop_length=config.hop_length, center=False, power=2.0, n_mels=n_mels, fmin=config.min_hz,
        fmax=config.max_hz, htk=True, norm=None,
    )  # fmt: skip
    expected = librosa.feature.mfcc(S=np.log(np.maximum(mel, 1e-10)), n_mfcc=n_mfcc).T
    waveform = torch.from_numpy(speechlike)[None]
    actual, lengths = FrontEnd(config)(waveform, torch.tensor([len(speechlike)]))
    assert actual.shape[1:] == expected.shape == (int(lengths[0]), n_mfcc)
    np.testing.assert_allclose(actual[0].numpy(), expected, atol=1e-4, rtol=1e-4)


def test_log_mel_equals_librosa(speechlike: np.ndarray) -> None:
    config = FeatureConfig(kind="logmel", n_mels=64, floor_db=None, normalize=False)
    mel = librosa.feature.melspectrogram(
        y=speechlike, sr=16_000, n_fft=512, win_length=400, hop_length=160, center=False,
        n_mels=64, fmin=config.min_hz, fmax=config.max_hz, htk=True, norm=None,
    )  # fmt: skip
    actual, _ = FrontEnd(config)(
        torch.from_numpy(speechlike)[None], torch.tensor([len(speechlike)])
    )
    np.testing.assert_allclose(actual[0].numpy(), np.log(mel.T), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["mfcc", "logmel"])
def test_features_do_not_depend_on_padding(speechlike: np.ndarray, kind: str) -> None:
    """Normalisation statistics and the last frames see the utterance only, not its neighbours."""
    front_end = FrontEnd(FeatureConfig(kind=kind))
    short = torch.from_numpy(speechlike[:9_000])
    batch = torch.full((2, len(speechlike)), 0.7)  # padding that would be noticed
    batch[0] = torch.from_numpy(speechlike)
    batch[1, :9_000] = short
    together, lengths = front_end(batch, torch.tensor([len(speechlike), 9_000]))
    alone, alone_lengths = front_end(short[None], torch.tensor([9_000]))
    assert lengths[1] == alone_lengths[0] == FeatureConfig().num_frames(9_000)
    torch.testing.assert_close(together[1, : lengths[1]], alone[0], atol=1e-4, rtol=1e-4)
    assert together[1, lengths[1] :].abs().max() == 0


def test_normalised_to_mean_zero_and_variance_one(speechlike: np.ndarray) -> None:
    waveforms = torch.from_numpy(np.stack([speechlike, speechlike]))
    features, lengths = FrontEnd(FeatureConfig())(waveforms, torch.tensor([32_000, 16_000]))
    for row, length in zip(features, lengths, strict=True):
        valid = row[:length]
        torch.testing.assert_close(valid.mean(0), torch.zeros(40), atol=1e-4, rtol=0)
        torch.testing.assert_close(valid.std(0, correction=0), torch.ones(40), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (511, 0), (512, 1), (671, 1), (672, 2)])
def test_length_formula(samples: int, frames: int) -> None:
    config = FeatureConfig()
    assert config.num_frames(samples) == frames
    features, lengths = FrontEnd(config)(torch.randn(1, max(1, samples)), torch.tensor([samples]))
    assert lengths.tolist() == [frames]
    assert features.shape == (1, max(1, frames), 40)
    assert torch.isfinite(features).all()


def test_holes_of_a_codec_move_the_rest_less_with_a_floor() -> None:
    """A tenth of digital silence in noise: its logarithms no longer rule mean and variance."""
    noise = 0.1 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    holed = noise.clone()
    holed[0, 20_000:23_200] = 0

    def shift(floor_db: float | None) -> float:
        front_end = FrontEnd(FeatureConfig(kind="logmel", floor_db=floor_db))
        length = torch.tensor([32_000])
        whole, _ = front_end(noise, length)
        cut, _ = front_end(holed, length)
        return float((whole - cut)[0, :120].abs().mean())

    assert shift(20.0) < shift(50.0) < shift(None)
    assert shift(20.0) < 0.7 * shift(None)


def test_floor_lies_that_far_below_the_mean_power(speechlike: np.ndarray) -> None:
    config = FeatureConfig(kind="logmel", floor_db=20.0, normalize=False)
    waveform, length = torch.from_numpy(speechlike)[None], torch.tensor([len(speechlike)])
    floored, _ = FrontEnd(config)(waveform, length)
    plain = FrontEnd(config).log_mel(waveform)
    floor = plain.exp().mean().log() - 20 * np.log(10) / 10
    torch.testing.assert_close(floored, plain.clamp(min=float(floor)), atol=1e-5, rtol=1e-5)


def test_digital_silence_is_finite() -> None:
    features, _ = FrontEnd(FeatureConfig())(torch.zeros(1, 16_000), torch.tensor([16_000]))
    assert features.abs().max() < 1.0  # rounding, not noise blown up by a standard deviation of 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "fbank"},
        {"n_mfcc": 41},
        {"hop_length": 0},
        {"win_length": 600},
        {"max_hz": 9000.0},
        {"min_hz": 8000.0},
        {"floor_db": 0.0},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="features"):
        FeatureConfig(**wrong)  # type: ignore[arg-type]
