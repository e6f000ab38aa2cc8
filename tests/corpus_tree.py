"""Small corpora for tests: silence of a given length, and texts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_audio(path: Path, seconds: float = 1.0) -> Path:
    """A recording in the format that the name's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, np.zeros(round(seconds * RATE), np.float32), RATE, **options)
    return path


def write_texts(folder: Path, texts: Mapping[str, str | bytes]) -> Path:
    """Files by their paths below `folder`."""
    for name, content in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
