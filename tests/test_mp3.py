"""MP3 in memory: the bit rate asked for, no delay, no clipping; more bits, less error."""

import numpy as np
import pytest

from asr.audio import Waveform
from asr.errors import UsageError
from asr.mp3 import bit_rates, encode_mp3, through_mp3


def sweep(num_samples: int, level: float = 0.3) -> Waveform:
    """A tone that rises from 0.01 to 0.1 of the sample rate, louder and softer four times a second at
    16 kHz: it has one lag at which it fits itself."""
    time = np.arange(num_samples)
    phase = 2 * np.pi * (0.01 * time + 0.045 * time**2 / max(1, num_samples))
    samples = level * np.sin(phase) * (0.6 + 0.4 * np.sin(2 * np.pi * time / 4_000))
    return samples.astype(np.float32)


ALL = [(rate, kbit_s) for rate in (8_000, 16_000, 22_050, 44_100) for kbit_s in bit_rates(rate)]


@pytest.mark.parametrize(("sample_rate", "kbit_s"), ALL)
def test_it_has_the_bit_rate_asked_for_and_no_delay(sample_rate: int, kbit_s: int) -> None:
    waveform = sweep(5 * sample_rate)
    found = len(encode_mp3(waveform, sample_rate, kbit_s)) * 8 / 5_000
    assert found == pytest.approx(kbit_s, rel=0.055)  # a frame or two before and after
    coded = through_mp3(waveform, sample_rate, kbit_s)
    assert coded.shape == waveform.shape
    assert coded.dtype == np.float32
    inner = slice(sample_rate, 4 * sample_rate)
    fits = {
        lag: float(np.dot(waveform[inner], np.roll(coded, -lag)[inner])) for lag in range(-8, 9)
    }
    assert max(fits, key=lambda lag: fits[lag]) == 0
    assert np.mean((coded - waveform)[inner] ** 2) < 0.05 * np.mean(waveform[inner] ** 2)


def test_more_bits_leave_less_error_and_all_leave_some() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(32_000).astype(np.float32)
    errors = [
        float(np.mean((through_mp3(noise, 16_000, k) - noise) ** 2)) for k in (16, 32, 64, 160)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * errors[-1] > 0


@pytest.mark.parametrize("num_samples", [1, 500, 1_200, 4_000])
def test_short_ones_keep_their_length(num_samples: int) -> None:
    assert through_mp3(sweep(num_samples), 16_000, 24).shape == (num_samples,)


def test_nothing_is_clipped() -> None:
    loud = sweep(32_000, level=2.0)
    assert np.abs(through_mp3(loud, 16_000, 64)).max() > 1.8


def test_a_sample_rate_that_mp3_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="MP3 has no sample rate of 15000 Hz"):
        bit_rates(15_000)
