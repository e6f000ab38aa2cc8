"""Encoded audio -> native samples: libsndfile first, then PyAV, then an ffmpeg program.

Each reader has `info` (what the header promises), `blocks(start)` (float32 blocks of shape (S, C)
from a native sample on, decoded as they are asked for), `notes` (what was odd, complete once the
blocks are read) and `close()`.
"""

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.errors import AsrError

BLOCK = 65_536  # native samples per read
CAREFUL_BLOCK = 1_024  # per read once a larger read has failed: saves what comes before the damage
# libsndfile lands on the exact sample in these; in lossy formats a seek changes the decoder's
# state, so we read through.
EXACT_SEEK = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64", "CAF", "NIST", "SVX", "VOC"}
# Containers that hold media. Playlists and scripts (hls, concat, tty...) are left out: they would
# open other files.
MEDIA_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "tta,w64,wav,wv"
)
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
        return SoundFileDecoder(path)
    except soundfile.LibsndfileError as error:
        sndfile_says = error.error_string.strip(" .") or "unknown format"
    if importlib.util.find_spec("av") is not None:
        return PyAVDecoder(path)
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return FfmpegDecoder(path)
    raise AudioError(
        path,
        f"not audio that libsndfile reads ({sndfile_says}); for m4a, mp4, webm: {INSTALL_MEDIA}",
    )


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


class SoundFileDecoder:
    """libsndfile: WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, AU, CAF; by content, not by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._file = self._open()
        file = self._file
        # A header without a length (a FLAC written to a pipe) shows as 0 or as the largest integer.
        num_samples = file.frames if 0 < file.frames < 2**62 else 0
        self.info = AudioInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            num_samples=num_samples,
            duration_s=num_samples / file.samplerate if file.samplerate > 0 else 0.0,
            format=f"{file.format}/{file.subtype}",
        )
        self._container = str(file.format)

    def _open(self) -> soundfile.SoundFile:
        """By descriptor: any file name works, and the content decides, not the name's ending."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise AudioError(self._path, error.strerror or str(error)) from error
        try:
            return soundfile.SoundFile(descriptor, closefd=True)
        except soundfile.LibsndfileError:
            raise
        except BaseException:
            os.close(descriptor)
            raise

    def blocks(self, start: int) -> Iterator[Block]:
        position = start if self._container in EXACT_SEEK else 0
        if position and self.info.num_samples and position >= self.info.num_samples:
            return
        if position:
            self._file.seek(position)
        for block in self._careful_blocks(position):
            first = max(0, start - position)
            position += len(block)
            if len(block) > first:
                yield block[first:]
        self._note_shortfall(position)

    def _careful_blocks(self, position: int) -> Iterator[Block]:
        """Blocks to the end or the damage; the block that fails is read again in small pieces."""
        size = BLOCK
        while True:
            try:
                block: Block = self._file.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if size == BLOCK and self._reopen_at(position):
                    size = CAREFUL_BLOCK
                    continue
                self.notes.append(
                    f"decoding stopped: {error.error_string.strip() or 'damaged data'}"
                )
                return
            if len(block) == 0:
                return
            position += len(block)
            yield block

    def _reopen_at(self, position: int) -> bool:
        if self._container not in EXACT_SEEK:
            return False
        self._file.close()
        self._file = self._open()
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
            self.notes.append("cut short: the Ogg stream has no end page")

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
        f"cut short: the header promises {promised / sample_rate:.2f} s, "
        f"{delivered / sample_rate:.2f} s could be read"
    )


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


class PyAVDecoder:
    """FFmpeg's libraries through PyAV (extra `media`): m4a, mp4, webm, mkv and most others."""

    def __init__(self, path: Path) -> None:
        import av

        self._path = path
        self.notes: list[str] = []
        options = {"protocol_whitelist": "file", "format_whitelist": MEDIA_FORMATS}
        try:
            self._container = av.open(f"file:{path}", options=options, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
            raise AudioError(
                path, f"no decoder recognises this as audio ({reason_of(error)})"
            ) from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(path, "has no audio track")
        self._stream = self._container.streams.audio[0]
        self.info = self._read_info()
        if not self.info.sample_rate or not self.info.channels:  # guessed from a text, say
            self._container.close()
            raise AudioError(path, "no decoder recognises this as audio (no sample rate)")

    def _read_info(self) -> AudioInfo:
        stream, container = self._stream, self._container
        duration_s = 0.0
        if stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration and not container.streams.video:
            duration_s = container.duration / 1e6
        rate = stream.sample_rate
        name = f"{container.format.name.split(',')[0]}/{stream.codec_context.name}".upper()
        return AudioInfo(rate, stream.channels, round(duration_s * rate), duration_s, name)

    def blocks(self, start: int) -> Iterator[Block]:
        position = 0
        for block in self._decoded():
            first = max(0, start - position)
            position += len(block)
            if len(block) > first:
                yield block[first:]
        note = shortfall(self.info.num_samples, position, self.info.sample_rate, tolerance_s=0.25)
        if note:
            self.notes.append(note)

    def _decoded(self) -> Iterator[Block]:
        import av

        layout, rate = self._stream.layout, self.info.sample_rate
        resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
        try:
            for frame in self._container.decode(self._stream):
                for converted in resampler.resample(frame):
                    yield self._samples(converted)
        except av.FFmpegError as error:
            self.notes.append(f"decoding stopped: {reason_of(error)}")
            return
        for converted in resampler.resample(None):
            yield self._samples(converted)

    def _samples(self, frame: Any) -> Block:
        return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1, self.info.channels)

    def close(self) -> None:
        self._container.close()


class FfmpegDecoder:
    """The ffmpeg program, for where PyAV is not installed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.info = self._probe()

    def _probe(self) -> AudioInfo:
        entries = "stream=codec_type,codec_name,sample_rate,channels,duration"
        command = [
            "ffprobe",
            *self._input(),
            "-show_entries",
            f"{entries}:format=duration,format_name",
        ]
        done = subprocess.run([*command, "-of", "json"], capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["unknown format"]
            raise AudioError(self._path, f"no decoder recognises this as audio ({said[-1]})")
        answer = json.loads(done.stdout)
        streams, container = answer.get("streams", []), answer["format"]
        stream = next((one for one in streams if one.get("codec_type") == "audio"), None)
        if stream is None:
            raise AudioError(self._path, "has no audio track")
        has_video = any(one.get("codec_type") == "video" for one in streams)
        promised = stream.get("duration") or (0.0 if has_video else container.get("duration", 0.0))
        rate, duration_s = int(stream["sample_rate"]), float(promised)
        name = f"{container['format_name'].split(',')[0]}/{stream['codec_name']}".upper()
        return AudioInfo(rate, int(stream["channels"]), round(duration_s * rate), duration_s, name)

    def _input(self) -> list[str]:
        limits = ["-protocol_whitelist", "file,pipe", "-format_whitelist", MEDIA_FORMATS]
        return ["-v", "error", *limits, "-i", f"file:{self._path}"]

    def blocks(self, start: int) -> Iterator[Block]:
        channels, position = self.info.channels, 0
        for data in self._pcm(4 * channels * BLOCK):
            block = np.frombuffer(data, dtype="<f4").reshape(-1, channels)
            first = max(0, start - position)
            position += len(block)
            if len(block) > first:
                yield block[first:]
        note = shortfall(self.info.num_samples, position, self.info.sample_rate, tolerance_s=0.25)
        if note:
            self.notes.append(note)

    def _pcm(self, size: int) -> Iterator[bytes]:
        """Raw float32 of whole sample frames, `size` bytes at a time."""
        command = ["ffmpeg", "-nostdin", *self._input(), "-map", "0:a:0"]
        command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        pipe: IO[bytes] | None = self._process.stdout
        assert pipe is not None
        while data := pipe.read(size):
            yield data[: len(data) // (4 * self.info.channels) * 4 * self.info.channels]
        if self._process.wait() != 0:
            self.notes.append(f"decoding stopped: ffmpeg ended with {self._process.returncode}")

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def reason_of(error: BaseException) -> str:
    """The short reason of an operating-system or FFmpeg error."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
