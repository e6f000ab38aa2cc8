"""How long an MP3 is, by its frames (ISO 11172-3, 2.4.1.3; ISO 13818-3 for the lower rates).

libsndfile takes the length that the first frame may hold (Xing, Info or VBRI), and without one guesses
it from the first bit rate: of a recording written to a pipe, at bit rates that change, it reads a part.
"""

import mmap

_KBIT_S = {  # of layer III, by whether it is MPEG 1; 0 ("free") and 15 are none that can be followed
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_DIVISORS = {3: 1, 2: 2, 0: 4}  # of the rates, by version: MPEG 1, 2 and "2.5"
_LAYER_III = 1
_LONGEST_HEAD = 4 + 32 + 18  # bytes: header, side information, and VBRI up to its count of frames
_FRAME_COUNT = 1  # of Xing's flags

Frame = tuple[int, float]  # bytes, seconds


def seconds_of_frames(data: mmap.mmap) -> float:
    """Seconds of audio that the frames of an MP3 hold; between them tags and damage may lie."""
    at, total, end = _after_id3(data, 0), 0.0, len(data)
    follows = False
    while at + 4 <= end:
        frame = _frame(data, at)
        if frame is None or not (follows or _is_followed(data, at + frame[0])):
            follows = False
            at = data.find(b"\xff", _after_id3(data, at + 1))
            if at < 0:
                break
            continue
        follows = True
        at += frame[0]
        if at <= end:  # else it is cut
            total += 0.0 if _is_figures(data, at - frame[0]) else frame[1]
    return total


def states_its_length(data: mmap.mmap) -> bool:
    """Whether the first frame holds the number of frames."""
    head = data[(at := _after_id3(data, 0)) : at + _LONGEST_HEAD]
    if head[36:40] == b"VBRI":
        return any(head[50:54])
    for name in (b"Xing", b"Info"):
        if (place := head.find(name)) >= 0:
            flags, count = head[place + 7 : place + 8], head[place + 8 : place + 12]
            return bool(flags and flags[0] & _FRAME_COUNT) and any(count)
    return False


def _frame(data: mmap.mmap, at: int) -> Frame | None:
    """The frame whose header is at a place, None where none can be."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
    bit_rate, rate = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version not in _DIVISORS or layer != _LAYER_III or bit_rate in (0, 15) or rate == 3:
        return None
    first = version == 3
    samples, hz = (1_152 if first else 576), _RATES[rate] // _DIVISORS[version]
    padding = data[at + 2] >> 1 & 1
    return samples // 8 * 1_000 * _KBIT_S[first][bit_rate] // hz + padding, samples / hz


def _is_followed(data: mmap.mmap, at: int) -> bool:
    """Whether a frame, a tag or the end is at a place: sound holds bytes that look like a header."""
    return at >= len(data) or _frame(data, at) is not None or data[at : at + 3] in (b"TAG", b"ID3")


def _is_figures(data: mmap.mmap, at: int) -> bool:
    """Whether the frame is an encoder's, of figures in place of sound."""
    head = data[at : at + 4 + 32 + 4]
    return any(name in head for name in (b"Xing", b"Info", b"VBRI"))


def _after_id3(data: mmap.mmap, at: int) -> int:
    """The place behind the ID3v2 tags at a place; sizes are 4 times 7 bits (id3v2.4.0, 3.1)."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size
    return at
