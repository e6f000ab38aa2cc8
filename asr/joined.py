"""Whether an audio file is over where libsndfile takes it to be, by its bytes: files joined by `cat` and
chains of Ogg streams (RFC 3533, 4), as recordings of internet radio are, go on.
"""

import mmap
import os
import re
from pathlib import Path

_OGG_PAGE = re.compile(rb"OggS\0(.)", re.DOTALL)  # and its flags
_BEGINS_STREAM = 2
# An encoder puts a frame of figures first; the second is a second file's. Behind its header, of four
# bytes, lie 9, 17 or 32 bytes of side information (ISO 11172-3).
_MP3_FIGURES = re.compile(rb"(?:Xing|Info)\0\0\0")
_SIDE_INFORMATION = (9, 17, 32)
_FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # the marker and STREAMINFO (RFC 9639, 8)


def goes_on(path: Path, container: str) -> bool:
    """Whether another recording follows in a file; `container` as soundfile names it."""
    if container not in _STARTS:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _STARTS[container](data) > 1


def _ogg_starts(data: mmap.mmap) -> int:
    """How often streams begin; those that lie side by side all begin at once."""
    starts, began = 0, False
    for page in _OGG_PAGE.finditer(data):
        begins = bool(page[1][0] & _BEGINS_STREAM)
        starts += begins and not began
        began = begins
    return starts


def _mp3_starts(data: mmap.mmap) -> int:
    places = (found.start() for found in _MP3_FIGURES.finditer(data))
    return sum(any(_is_header(data, at - 4 - side) for side in _SIDE_INFORMATION) for at in places)


def _is_header(data: mmap.mmap, at: int) -> bool:
    """Whether an MP3 frame's header may be here: eleven bits are set."""
    return at >= 0 and data[at] == 0xFF and data[at + 1] & 0xE0 == 0xE0


def _flac_starts(data: mmap.mmap) -> int:
    return sum(1 for _ in _FLAC_START.finditer(data))


_STARTS = {"OGG": _ogg_starts, "MP3": _mp3_starts, "FLAC": _flac_starts}


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
