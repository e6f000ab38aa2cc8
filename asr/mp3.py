"""Speech as MP3 leaves it, in memory: what training on coded copies needs."""

import io

import numpy as np
import soundfile

from asr.audio import Waveform
from asr.errors import UsageError

# kbit/s of MPEG-1, 2 and 2.5 Layer III by sample rate (ISO 11172-3, 13818-3).
_MPEG_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_2_5 = (8, 16, 24, 32, 40, 48, 56, 64)
_RATES = {
    **dict.fromkeys((32_000, 44_100, 48_000), _MPEG_1),
    **dict.fromkeys((16_000, 22_050, 24_000), _MPEG_2),
    **dict.fromkeys((8_000, 11_025, 12_000), _MPEG_2_5),
}
_DELAY = 1105  # samples: 576 of LAME's encoder, 529 of any decoder


def bit_rates(sample_rate: int) -> tuple[int, ...]:
    """Constant bit rates, in kbit/s, that MP3 has at a sample rate, but for the lowest, which
    libsndfile cannot ask for.

    Raises:
        UsageError: MP3 does not have the sample rate.

    >>> bit_rates(8_000)
    (16, 24, 32, 40, 48, 56, 64)
    """
    if sample_rate not in _RATES:
        raise UsageError(f"MP3 has no sample rate of {sample_rate} Hz, only {sorted(_RATES)}")
    return _RATES[sample_rate][1:]


def encode_mp3(waveform: Waveform, sample_rate: int, kbit_s: int) -> bytes:
    """An MP3 file of a waveform (S,) at a constant bit rate, one of `bit_rates(sample_rate)`.

    The encoder is LAME, libsndfile's; samples beyond [-1, 1] are not clipped.
    """
    highest, lowest = bit_rates(sample_rate)[-1], _RATES[sample_rate][0]
    file = io.BytesIO()
    soundfile.write(
        file, waveform, sample_rate, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT", compression_level=(highest - kbit_s) / (highest - lowest),
    )  # fmt: skip
    return file.getvalue()


def through_mp3(waveform: Waveform, sample_rate: int, kbit_s: int) -> Waveform:
    """A waveform coded as MP3 and decoded again, without the coder's delay, so that no word moves.

    Shape: (S,) -> (S,).
    """
    coded = encode_mp3(waveform, sample_rate, kbit_s)
    decoded: Waveform = soundfile.read(io.BytesIO(coded), dtype="float32")[0]
    if len(decoded) != len(waveform):  # the frames are too small for LAME's note of its delay
        decoded = decoded[_DELAY:]
    kept = np.zeros_like(waveform)
    kept[: len(decoded)] = decoded[: len(kept)]
    return kept
