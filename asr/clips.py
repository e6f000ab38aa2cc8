"""Folders of short audio (noise, impulse responses of rooms) read into memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio import AudioError, AudioStream, Waveform, printable
from asr.errors import AsrError
from asr.items import AUDIO_SUFFIXES

_SILENT_PEAK = 1e-4  # of full scale: three steps of 16 bits


@dataclass(frozen=True)
class Clips:
    """The audio files of a folder as waveforms, in the order of their paths.

    Attributes:
        left_out: a line for each file that is silent or cannot be read.
        notes: a line for each file of which something is missing or odd.
    """

    waveforms: tuple[Waveform, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def load_clips(key: str, folder: str, sample_rate: int, channel: int | None = None) -> Clips:
    """Read all audio below a folder into memory, with as many threads as there are processors.

    Args:
        key: of the recipe that named the folder, for messages.
        channel: which channel to take, the first is 0; None: the mean of all.

    Raises:
        AsrError: no such folder, no audio in it, or none that can be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AsrError(f"{key}: there is no folder {root}")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise AsrError(f"{key}: no audio files (.wav, .flac, .opus, ...) in {root} or below it")

    def read(path: Path) -> tuple[Waveform | str, str]:
        try:
            with AudioStream(path, sample_rate, channel=channel) as stream:
                clip = np.concatenate(list(stream))
                note = "; ".join(stream.notes)
        except AudioError as error:
            return str(error), ""
        if np.abs(clip).max() < _SILENT_PEAK:
            return f"{printable(path)}: silent", ""
        return clip, note and f"{printable(path)}: {note}"

    with ThreadPoolExecutor() as pool:
        clips = list(pool.map(read, paths))
    waveforms = tuple(clip for clip, _ in clips if not isinstance(clip, str))
    left_out = tuple(clip for clip, _ in clips if isinstance(clip, str))
    if not waveforms:
        raise AsrError(
            f"{key}: none of the {len(paths)} audio files in {root} can be used; {left_out[0]}"
        )
    return Clips(waveforms, left_out, tuple(note for _, note in clips if note))
