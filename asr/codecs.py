"""Encoded audio -> native samples: libsndfile first, then PyAV, then an ffmpeg program.

Each reader has `info` (what the header promises), `blocks(start)` (float32 blocks of shape (S, C)
from a native sample on, decoded as they are asked for), `notes` (what was odd, complete once the
blocks are read) and `close()`.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.errors import AsrError
from asr.joined import ends_with_ogg_eos, goes_on, mp3_seconds

BLOCK = 65_536  # native samples per read
CAREFUL_BLOCK = 1_024  # per read once a larger read has failed: saves what comes before the damage
# libsndfile lands on the exact sample in these; in lossy formats a seek changes the decoder's
# state, so we read through.
EXACT_SEEK = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64", "CAF", "NIST", "SVX", "VOC"}
_LONGEST_HEADER = 4_096  # bytes, of a WAV that holds no more than that
_CUT_SHORT = "cut short"
INSTALL_MEDIA = "pip install 'asr[media]', or put ffmpeg on the PATH"

Block = NDArray[np.float32]


class AudioError(AsrError):
    """Audio that cannot be used: `path` says which file, `reason` says why and what to do."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{printable(path)}: {reason}")


def printable(path: Path | str) -> str:
    """A path on one line: control characters and undecodable bytes are shown as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(path)
    )


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; `num_samples` is per channel, 0 where the header does not tell."""

    sample_rate: int
    channels: int
    num_samples: int
    duration_s: float
    format: str


class Decoder(Protocol):
    """An open audio file."""

    info: AudioInfo
    notes: list[str]

    def blocks(self, start: int) -> Iterator[Block]:
        """Float32 blocks (S, C) from native sample `start` to the end."""
        ...

    def close(self) -> None:
        """Free the file."""
        ...


def open_decoder(path: Path) -> Decoder:
    """The first reader that understands `path`; never waits on a pipe. Raises AudioError."""
    check_regular_file(path)
    try:
        sound = SoundFileDecoder(path)
    except soundfile.LibsndfileError as error:
        sndfile_says = error.error_string.strip(" .") or "unknown format"
    else:
        if not sound.guesses_its_length:
            return sound
        return _rather_by_ffmpeg(sound, path)
    decoder = open_media(path)
    if decoder is None:
        raise AudioError(
            path,
            f"not audio that libsndfile reads ({sndfile_says}); for m4a, mp4, webm: {INSTALL_MEDIA}",
        )
    return decoder


def _rather_by_ffmpeg(sound: "SoundFileDecoder", path: Path) -> Decoder:
    with suppress(AudioError):
        if decoder := open_media(path):
            sound.close()
            return decoder
    return sound


def open_media(path: Path) -> Decoder | None:
    """A reader by FFmpeg; None where there is none.

    Raises:
        AudioError: FFmpeg does not know the file as audio.
    """
    return next((open_by(path, None) for open_by in media_readers()), None)


def media_readers() -> list[Callable[[Path, int | None], Decoder]]:
    """What opens a file by FFmpeg, at a rate other than the file's if one is given; the best first."""
    from asr.media import FfmpegDecoder, PyAVDecoder  # most files do not come this far

    readers: list[Callable[[Path, int | None], Decoder]] = []
    if importlib.util.find_spec("av") is not None:
        readers.append(PyAVDecoder)
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        readers.append(FfmpegDecoder)
    return readers


def check_regular_file(path: Path) -> None:
    """Raise AudioError unless `path` is a readable file with something in it."""
    try:
        status = path.stat()
    except OSError as error:
        dangling = path.is_symlink() and isinstance(error, FileNotFoundError)
        reason = "link to a file that is not there" if dangling else error.strerror
        raise AudioError(path, reason or str(error)) from error
    except ValueError as error:  # a NUL character in the name
        raise AudioError(path, str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(path, "is a folder, not an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is not a regular file (a pipe or device); pass audio on stdin as -")
    if status.st_size == 0:
        raise AudioError(path, "zero length: the file is empty")


def hash_file(path: Path) -> str:
    """Hash of a file's bytes (BLAKE2b, 128 bits). Raises AudioError if it cannot be read."""
    check_regular_file(path)
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise AudioError(path, reason_of(error)) from error
    return digest.hexdigest()


class SoundFileDecoder:
    """libsndfile: WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, AU, CAF; by content, not by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._file = self._open()
        file = self._file
        # A header without a length (a FLAC written to a pipe) shows as 0 or as the largest integer.
        num_samples = file.frames if 0 < file.frames < 2**62 else 0
        if file.format == "MP3" and (seconds := mp3_seconds(path)):
            num_samples = round(seconds * file.samplerate)
        self.info = AudioInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            num_samples=num_samples,
            duration_s=num_samples / file.samplerate if file.samplerate > 0 else 0.0,
            format=f"{file.format}/{file.subtype}",
        )
        self._container = str(file.format)
        # MP3 in a WAV, of which the header says a bit rate.
        self.guesses_its_length = self._container != "MP3" and file.subtype.startswith("MPEG_LAYER")

    def _open(self) -> soundfile.SoundFile:
        """By descriptor: any file name works, and the content decides, not the name's ending."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise AudioError(self._path, error.strerror or str(error)) from error
        try:
            file = soundfile.SoundFile(descriptor, closefd=True)
        except soundfile.LibsndfileError:
            raise
        except BaseException:
            os.close(descriptor)
            raise
        # After each block soundfile would seek to where the decoder is. An MP3 decoder then lacks bits
        # that earlier frames keep (ISO 11172-3, C.1.5.4.2.2); in a FLAC without a length it fails.
        file.seekable = lambda: False
        return file

    def blocks(self, start: int) -> Iterator[Block]:
        position = start if self._container in EXACT_SEEK else 0
        if position and self.info.num_samples and position >= self.info.num_samples:
            return
        if position and not self._seek(position):  # damaged, or GSM
            self._file.close()
            self._file, position = self._open(), 0
        for block in self._careful_blocks(position):
            first = max(0, start - position)
            position += len(block)
            if len(block) > first:
                yield block[first:]
        self._note_shortfall(position)

    def _careful_blocks(self, position: int) -> Iterator[Block]:
        """Blocks to the end or the damage; the block that fails is read again in small pieces."""
        size = BLOCK
        end = self.info.num_samples if self._container in EXACT_SEEK else 0
        while True:
            try:
                wanted = min(size, end - position) if end else size
                block: Block = self._file.read(wanted, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if size == BLOCK and self._reopen_at(position):
                    size = CAREFUL_BLOCK
                    continue
                said = error.error_string.strip(" .") or "damaged data"
                by_ffmpeg = self._container not in EXACT_SEEK - {"FLAC"} or position == 0
                yield from self._read_on(position, said, by_ffmpeg)
                return
            if len(block) == 0:
                if why := goes_on(self._path, self._container, position / self.info.sample_rate):
                    yield from self._read_on(position, why)
                elif position == 0 and self._has_more_than_a_wav_header():
                    yield from self._read_on(position, "by its header it holds nothing")
                return
            position += len(block)
            yield block

    def _read_on(self, position: int, said: str, by_ffmpeg: bool = True) -> Iterator[Block]:
        """What FFmpeg, if it is to be asked, reads beyond `position`; either way with a note.

        libsndfile gives up on sound Opus files (with DTX), on the rest of an MP3 behind damage, on a WAV
        whose recorder was killed before it wrote a length, and reads one recording of several in a file.
        """
        stopped = f"{position / self.info.sample_rate:.2f} s ({said})"
        advice = f"; for the rest: {INSTALL_MEDIA}" if by_ffmpeg else ""
        for open_by in media_readers() if by_ffmpeg else ():
            try:
                other = open_by(self._path, self.info.sample_rate)
            except AudioError:
                continue
            advice, begun = "", position
            if other.info.channels == self.info.channels:
                for block in other.blocks(begun):
                    position += len(block)
                    yield block
            other.close()
            if position > begun:
                self.notes.append(f"libsndfile stopped at {stopped}: the rest by FFmpeg")
                self.notes += [note for note in other.notes if not note.startswith(_CUT_SHORT)]
                return
        self.notes.append(f"decoding stopped at {stopped}{advice}")

    def _has_more_than_a_wav_header(self) -> bool:
        is_wav = self._container in ("WAV", "WAVEX")
        return is_wav and self._path.stat().st_size > _LONGEST_HEADER

    def _reopen_at(self, position: int) -> bool:
        if self._container not in EXACT_SEEK:
            return False
        self._file.close()
        self._file = self._open()
        return self._seek(position)

    def _seek(self, position: int) -> bool:
        try:
            return bool(self._file.seek(position) == position)
        except soundfile.LibsndfileError:
            return False

    def _note_shortfall(self, delivered: int) -> None:
        promised = max(self.info.num_samples, self._promised_by_chunk_size())
        note = shortfall(promised, delivered, self.info.sample_rate)
        if note:
            self.notes.append(note)
        elif self._container == "OGG" and not ends_with_ogg_eos(self._path):
            self.notes.append(f"{_CUT_SHORT}: the Ogg stream has no end page")

    def _promised_by_chunk_size(self) -> int:
        """Samples promised by a WAV, AIFF or AU header whose data chunk is longer than the file.

        libsndfile shortens its count to what is there and says so only in its log:
        `data : 64000 (should be 32000)`. A size of 0 or near 2**31 or 2**32 is what programs write
        to a pipe and promises nothing.
        """
        chunks = "riff|Riff size" if self._container in {"W64", "RF64"} else "data|SSND|Data Size"
        pattern = rf"^\s*(?:{chunks})\s*: (\d+) \(should be (\d+)\)"
        found = re.search(pattern, self._file.extra_info, re.MULTILINE)
        if not found:
            return 0
        said, there = int(found[1]), int(found[2])
        streamed = said >= 2**31 - 2**16
        if streamed or said <= there or there <= 0:
            return 0
        return round(self.info.num_samples * said / there)

    def close(self) -> None:
        self._file.close()


def shortfall(promised: int, delivered: int, sample_rate: int, tolerance_s: float = 0.1) -> str:
    """A note if fewer native samples were delivered than the header promised, else ''."""
    if promised - delivered <= tolerance_s * sample_rate:
        return ""
    return (
        f"{_CUT_SHORT}: the header promises {promised / sample_rate:.2f} s, "
        f"{delivered / sample_rate:.2f} s could be read"
    )


def reason_of(error: BaseException) -> str:
    """The short reason of an operating-system or FFmpeg error."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
