"""Folders of short audio (noise, impulse responses of rooms) read into memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio import AudioError, Waveform, load_audio
from asr.errors import AsrError
from asr.inputs import AUDIO_SUFFIXES

_SILENT_PEAK = 1e-4  # of full scale: three steps of 16 bits
_MAX_ERRORS_SHOWN = 10


@dataclass(frozen=True)
class Clips:
    """The audio files of a folder as waveforms, in the order of their paths.

    Attributes:
        silent: files that hold no sound; they are not among the waveforms.
    """

    folder: Path
    waveforms: tuple[Waveform, ...]
    silent: tuple[Path, ...]


def load_clips(key: str, folder: str, sample_rate: int, channel: int | None = None) -> Clips:
    """Read all audio below a folder into memory, with as many threads as there are processors.

    Args:
        key: of the recipe that named the folder, for messages.
        channel: which channel to take, the first is 0; None: the mean of all.

    Raises:
        AsrError: no such folder, nothing but silence in it, or files that cannot be read (which).
    """
    root = Path(folder)
    if not root.is_dir():
        raise AsrError(f"{key}: there is no folder {root}")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise AsrError(f"{key}: no audio files (.wav, .flac, .opus, ...) in {root} or below it")

    def read(path: Path) -> Waveform | AudioError:
        try:
            return load_audio(path, sample_rate, channel=channel)
        except AudioError as error:
            return error

    with ThreadPoolExecutor() as pool:
        clips = dict(zip(paths, pool.map(read, paths), strict=True))
    errors = [clip for clip in clips.values() if isinstance(clip, AudioError)]
    if errors:
        raise AsrError(f"{key}: {describe_unreadable(errors, len(paths))}")
    heard = {path: clip for path, clip in clips.items() if not isinstance(clip, AudioError)}
    silent = tuple(path for path, clip in heard.items() if np.abs(clip).max() < _SILENT_PEAK)
    if len(silent) == len(paths):
        raise AsrError(f"{key}: all {len(paths)} audio files in {root} are silent")
    return Clips(root, tuple(clip for path, clip in heard.items() if path not in silent), silent)


def describe_unreadable(errors: Sequence[AudioError], total: int) -> str:
    """Which of `total` audio files cannot be read, at most ten by name, and what to do."""
    shown = "\n  ".join(str(error) for error in errors[:_MAX_ERRORS_SHOWN])
    return f"{len(errors)} of {total} audio files cannot be read; mend or remove them:\n  {shown}"
