"""Whether an audio file goes on behind what libsndfile takes for its end: files joined by `cat`, and
chains of Ogg streams (RFC 3533, 4), as recordings of internet radio are.
"""

import mmap
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
