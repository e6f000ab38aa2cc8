"""Whether an audio file is over where libsndfile takes it to be, by its bytes: files joined by `cat`,
chains of Ogg streams (RFC 3533, 4), as recordings of internet radio are, and MP3s that do not tell their
length go on.
"""

import mmap
import os
import re
from pathlib import Path

from asr.mp3_frames import seconds_of_frames, states_its_length

_OGG_PAGE = re.compile(rb"OggS\0(.)", re.DOTALL)  # and its flags
_BEGINS_STREAM = 2
_MP3_SLACK_S = 0.5  # delay and padding, which libsndfile takes off: 2,832 samples at 8 kHz or more
_FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # the marker and STREAMINFO (RFC 9639, 8)


def goes_on(path: Path, container: str, position_s: float) -> str:
    """Why a file goes on where libsndfile stops, or ""; `container` as soundfile names it."""
    if container not in ("OGG", "MP3", "FLAC"):
        return ""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if container == "MP3":
            more = seconds_of_frames(data) > position_s + _MP3_SLACK_S
            if more and not states_its_length(data):
                return "its header does not tell its length"
        else:
            more = (_ogg_starts(data) if container == "OGG" else _flac_starts(data)) > 1
    return "another recording follows in the file" if more else ""


def mp3_seconds(path: Path) -> float:
    """Seconds of an MP3 whose header does not tell, by its frames; 0 for one whose header does."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return 0.0 if states_its_length(data) else seconds_of_frames(data)


def _ogg_starts(data: mmap.mmap) -> int:
    """How often streams begin; those that lie side by side all begin at once."""
    starts, began = 0, False
    for page in _OGG_PAGE.finditer(data):
        begins = bool(page[1][0] & _BEGINS_STREAM)
        starts += begins and not began
        began = begins
    return starts


def _flac_starts(data: mmap.mmap) -> int:
    return sum(1 for _ in _FLAC_START.finditer(data))


def ends_with_ogg_eos(path: Path) -> bool:
    """Whether the last Ogg page is whole and carries the end-of-stream flag (RFC 3533, 6)."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 131_072))  # two pages of the largest size
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    num_segments = tail[at + 26]
    end = at + 27 + num_segments + sum(tail[at + 27 : at + 27 + num_segments])
    return bool(tail[at + 5] & 4) and len(tail) >= end
