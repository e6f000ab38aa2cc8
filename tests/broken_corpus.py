"""Broken and odd inputs, made on the spot, with what must become of each.

Every good recording holds the words of `WORDS` in the language of `tones`.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tones import RATE, silence, speech, tone

WORDS = [600, 900, 450, 1200, 700, 1000]
SPEECH = speech(WORDS)


@dataclass(frozen=True)
class Case:
    """A file `name` made by `make(path)`.

    Attributes:
        status: ok, empty or failed.
        says: a part of the reason (failed) or of a note (ok, empty); '' for none.
        hears: how many of the words must be heard: all, some or none.
    """

    name: str
    make: Callable[[Path], None]
    status: str
    says: str = ""
    hears: str = "all"


def _write(path: Path, waveform: np.ndarray = SPEECH, rate: int = RATE, **options: str) -> None:
    with path.open("wb") as file:
        options = {"format": "WAV", **options}
        soundfile.write(file, waveform, rate, **options)


def _at_rate(rate: int) -> Callable[[Path], None]:
    return lambda path: _write(path, speech(WORDS, rate=rate), rate)


def _kind(kind: str, subtype: str | None = None) -> Callable[[Path], None]:
    options = {"format": kind} | ({"subtype": subtype} if subtype else {})
    return lambda path: _write(path, **options)


def _cut(make: Callable[[Path], None], keep: float) -> Callable[[Path], None]:
    """What is left of a file when the copying stopped."""

    def cut(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def _patched(offset: int, data: bytes) -> Callable[[Path], None]:
    """A WAV file with some bytes of its 44-byte header replaced."""

    def patched(path: Path) -> None:
        _write(path)
        content = bytearray(path.read_bytes())
        content[offset : offset + len(data)] = data
        path.write_bytes(content)

    return patched


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: _put(path, data)


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _with_sample(value: float) -> Callable[[Path], None]:
    spoilt = SPEECH.copy()
    spoilt[len(spoilt) // 2] = value
    return lambda path: _write(path, spoilt, subtype="FLOAT")


def _channels(number: int) -> Callable[[Path], None]:
    return lambda path: _write(path, np.repeat(SPEECH[:, None], number, axis=1))


def _one_loud_channel(path: Path) -> None:
    _write(path, np.stack([SPEECH, silence(1)[:1].repeat(len(SPEECH))], axis=1))


def _no_permission(path: Path) -> None:
    _write(path)
    path.chmod(0)


def _damaged_middle(kind: str) -> Callable[[Path], None]:
    def damaged(path: Path) -> None:
        _write(path, format=kind)
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 2_000] = bytes(2_000)
        path.write_bytes(data)

    return damaged


def _id3_before_wav(path: Path) -> None:
    _write(path)
    path.write_bytes(path.read_bytes() + b"TAG" + b"x" * 125)


def _random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(40_000))


def _two_in_one(path: Path) -> None:
    """Two WAV files, one after the other, as a naive join makes them."""
    _write(path)
    path.write_bytes(path.read_bytes() * 2)


MP3 = _kind("MP3", "MPEG_LAYER_III")
OPUS = _kind("OGG", "OPUS")
VORBIS = _kind("OGG", "VORBIS")
TINY = tone(600, 0.01)


def LONG_VORBIS(path: Path) -> None:  # noqa: N802 - an entry of the table like those above
    """Several Ogg pages: of a cut one nothing can be had."""
    _write(path, speech(WORDS * 6), format="OGG", subtype="VORBIS")


CASES = (
    # whole, but odd
    Case("plain.wav", _write, "ok"),
    Case("eight_khz.wav", _at_rate(8_000), "ok"),
    Case("high_rate.wav", _at_rate(192_000), "ok"),
    Case("odd_rate.flac", lambda p: _write(p, speech(WORDS, rate=22_257), 22_257), "ok"),
    Case("bits24.wav", _kind("WAV", "PCM_24"), "ok"),
    Case("bits8.wav", _kind("WAV", "PCM_U8"), "ok"),
    Case("float64.wav", _kind("WAV", "DOUBLE"), "ok"),
    Case("mulaw.au", _kind("AU", "ULAW"), "ok"),
    Case("adpcm.wav", _kind("WAV", "MS_ADPCM"), "ok"),
    Case("big_endian.aiff", _kind("AIFF"), "ok"),
    Case("eight_channels.wav", _channels(8), "ok"),
    Case("one_loud_channel.wav", _one_loud_channel, "ok"),
    Case("clipped.wav", lambda p: _write(p, np.clip(SPEECH * 20, -1, 1)), "ok"),
    Case("beyond_full_scale.wav", lambda p: _write(p, SPEECH * 4, subtype="FLOAT"), "ok"),
    Case("offset_dc.wav", lambda p: _write(p, SPEECH + np.float32(0.01)), "ok"),
    Case("speech.mp3", MP3, "ok"),
    Case("speech.opus", OPUS, "ok"),
    Case("speech.ogg", VORBIS, "ok"),
    Case("flac_named.mp3", _kind("FLAC"), "ok"),
    Case("mp3_named.wav", MP3, "ok"),
    Case("wav_named.flac", _write, "ok"),
    Case("UPPER.WAV", _write, "ok"),
    Case("trailing_tag.wav", _id3_before_wav, "ok"),
    Case("two_in_one.wav", _two_in_one, "ok"),
    Case("streamed_header.wav", _patched(40, b"\xff\xff\xff\xff"), "ok"),
    Case("header_says_half.wav", _patched(40, struct.pack("<I", len(SPEECH))), "ok", "", "some"),
    Case("a.b.wav", _write, "ok"),
    Case("a.c.wav", _write, "ok"),
    Case("with space (1).wav", _write, "ok"),
    Case("ünïcödé 语音.wav", _write, "ok"),
    Case("new\nline.wav", _write, "ok"),
    Case("-dash.wav", _write, "ok"),
    Case(os.fsdecode(b"latin\xe9.wav"), _write, "ok"),
    Case("n" * 240 + ".wav", _write, "ok"),
    # whole, but nothing to hear
    Case("ten_ms.wav", lambda p: _write(p, TINY), "empty", "", "none"),
    Case("one_sample.wav", lambda p: _write(p, TINY[:1]), "empty", "", "none"),
    Case("silence.wav", lambda p: _write(p, silence(3)), "empty", "", "none"),
    Case("constant.wav", lambda p: _write(p, silence(1) + np.float32(0.02)), "empty", "", "none"),
    # cut short: what is there is transcribed, and the rest is missed
    Case("cut.wav", _cut(_write, 0.6), "ok", "cut short", "some"),
    Case("cut.aiff", _cut(_kind("AIFF"), 0.6), "ok", "cut short", "some"),
    Case("cut.au", _cut(_kind("AU"), 0.6), "ok", "cut short", "some"),
    Case("cut.w64", _cut(_kind("W64"), 0.6), "ok", "cut short", "some"),
    Case("cut.flac", _cut(_kind("FLAC"), 0.6), "ok", "cut short", "some"),
    Case("cut.mp3", _cut(MP3, 0.6), "ok", "cut short", "some"),
    Case("cut.ogg", _cut(LONG_VORBIS, 0.8), "ok", "cut short", "some"),
    Case("cut.opus", _cut(OPUS, 0.8), "ok", "cut short", "some"),
    Case("hole.flac", _damaged_middle("FLAC"), "ok", "stopped at", "some"),
    # nothing to be had
    Case("empty.wav", _bytes(b""), "failed", "zero length"),
    Case("empty.mp3", _bytes(b""), "failed", "zero length"),
    Case("one_byte.wav", _bytes(b"R"), "failed", "as audio"),
    Case("header_only.wav", lambda p: _write(p, silence(0)), "failed", "zero length"),
    Case("header_only.flac", lambda p: _write(p, silence(0), format="FLAC"), "failed"),
    Case(
        "half_a_header.wav",
        _cut(_write, 20 / (44 + 2 * len(SPEECH))),
        "failed",
        "as audio",
    ),
    Case("text.wav", _bytes(b"not audio at all\n" * 99), "failed", "as audio"),
    Case("text.mp3", _bytes(b"not audio at all\n" * 99), "failed", "as audio"),
    Case("page.flac", _bytes(b"<html><body>404 not found</body></html>"), "failed", "as audio"),
    Case("random.ogg", _random, "failed", "as audio"),
    Case("zeros.wav", _bytes(bytes(30_000)), "failed", "as audio"),
    Case("nan.wav", _with_sample(np.nan), "failed", "not finite"),
    Case("infinite.wav", _with_sample(np.inf), "failed", "not finite"),
    Case("one_hertz.wav", _patched(24, struct.pack("<I", 1)), "failed", "sample rate of 1 Hz"),
    Case("no_channels.wav", _patched(22, struct.pack("<H", 0)), "failed"),
    Case("absurd_rate.wav", _patched(24, struct.pack("<I", 2_000_000_000)), "failed"),
    Case("dangling.wav", lambda p: p.symlink_to("nowhere.wav"), "failed", "link to a file"),
    Case("loop.wav", lambda p: p.symlink_to(p.name), "failed", "symbolic links"),
    Case("fifo.wav", lambda p: os.mkfifo(p), "failed", "pipe or device"),
    Case("locked.wav", _no_permission, "failed", "Permission denied"),
)


def make_corpus(folder: Path) -> None:
    """Write every case into `folder`."""
    for case in CASES:
        case.make(folder / case.name)
