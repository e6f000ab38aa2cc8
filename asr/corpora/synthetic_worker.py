"""The process that speaks the synthetic corpus: `python -m asr.corpora.synthetic_worker PLAN OUT`.

Reads PLAN (a `SpokenLine` as a JSON object on each line), writes OUT/<path> for each, and prints
its number of samples.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr.corpora.espeak import Espeak
from asr.errors import AsrError

SAMPLE_RATE = 16_000
_PEAK = 0.9
_SILENCE_DB = -45.0  # of the loudest frame: quieter frames at either end are silence
_FRAME_S = 0.01
_SHORTEST_S = 0.2


@dataclass(frozen=True)
class SpokenLine:
    """Everything that decides how one utterance sounds.

    Attributes:
        path: of the audio file, relative to the folder that holds all of them.
        level_db: root mean square of the speech, dB of full scale.
        noise_db: root mean square of the white background noise, dB of full scale.
        lead_s, trail_s: silence before and after the speech.
        seed: of everything random in the sound.
    """

    path: str
    text: str
    voice: str
    rate_wpm: int
    pitch: int
    pitch_range: int
    level_db: float
    noise_db: float
    lead_s: float
    trail_s: float
    seed: int


def say(espeak: Espeak, line: SpokenLine) -> NDArray[np.int16]:
    """One utterance, finished, at 16 kHz; waveform (S,)."""
    spoken = espeak.speak(
        line.text,
        line.voice,
        rate_wpm=line.rate_wpm,
        pitch=line.pitch,
        pitch_range=line.pitch_range,
        seed=line.seed,
    )
    speech = trim_silence(spoken.astype(np.float32) / np.float32(2**15), espeak.sample_rate)
    if len(speech) < _SHORTEST_S * espeak.sample_rate:
        raise AsrError(f"voice {line.voice} says nothing for {line.text!r}")
    return finish(soxr.resample(speech, espeak.sample_rate, SAMPLE_RATE, quality="HQ"), line)


def trim_silence(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """`waveform` (S,) from its first to its last 10 ms frame that is not silent."""
    length = round(_FRAME_S * sample_rate)
    frames = waveform[: len(waveform) // length * length].reshape(-1, length)
    energy = np.mean(frames.astype(np.float64) ** 2, axis=1)
    if not energy.any():
        return waveform[:0]
    loud = np.flatnonzero(energy > energy.max() * 10 ** (_SILENCE_DB / 10))
    return waveform[loud[0] * length : (loud[-1] + 1) * length]


def finish(speech: NDArray[np.float32], line: SpokenLine) -> NDArray[np.int16]:
    """Level, silence at both ends, background noise; never clips."""
    gain = 10 ** (line.level_db / 20) / np.sqrt(np.mean(speech.astype(np.float64) ** 2))
    gain = min(gain, _PEAK / np.abs(speech).max())
    ends = (round(line.lead_s * SAMPLE_RATE), round(line.trail_s * SAMPLE_RATE))
    waveform = np.pad(speech.astype(np.float64) * gain, ends)
    # RandomState, because numpy promises its numbers for ever and those of Generator it does not.
    noise = np.random.RandomState(line.seed).standard_normal(len(waveform))
    waveform += noise * 10 ** (line.noise_db / 20)
    clipped: NDArray[np.float64] = np.clip(np.rint(waveform * 2**15), -(2**15), 2**15 - 1)
    return clipped.astype(np.int16)


def main(plan: Path, out: Path) -> None:
    with Espeak() as espeak, plan.open(encoding="utf-8") as lines:
        for entry in lines:
            line = SpokenLine(**json.loads(entry))
            waveform = say(espeak, line)
            path = out / line.path
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            print(len(waveform), flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (AsrError, OSError) as error:
        sys.exit(str(error))
