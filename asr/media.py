"""Media containers through FFmpeg: its libraries (PyAV, extra `media`), or else its program.

Both readers have the interface of `asr.codecs.Decoder`. They read samples from the start: a seek in a
compressed stream is not exact.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from asr.codecs import BLOCK, AudioError, AudioInfo, Block, reason_of, shortfall

# Containers that hold media. Playlists and scripts (hls, concat, tty...) are left out: they would
# open other files.
MEDIA_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "tta,w64,wav,wv"
)
# Streams without a length: FFmpeg guesses one from the first bit rate.
_GUESSED = {"aac", "ac3", "amr", "eac3", "mp3"}
# Containers that give each frame its time; others are read through.
_TIMED = {"asf", "avi", "flv", "matroska", "mov", "mpeg", "mpegts"}
_GAP_S = 0.1  # without a frame, that is filled with silence
_LONGEST_GAP_S = 3_600.0  # beyond it a clock was set


class PyAVDecoder:
    """FFmpeg's libraries through PyAV (extra `media`): m4a, mp4, webm, mkv and most others."""

    def __init__(self, path: Path, sample_rate: int | None = None) -> None:
        """Open `path`; its samples come at `sample_rate` if one is given."""
        import av

        self._path, self._rate = path, sample_rate
        self.notes: list[str] = []
        options = {"protocol_whitelist": "file", "format_whitelist": MEDIA_FORMATS}
        # Tags need not be UTF-8; PyAV 19 has no such argument any more.
        tags: dict[str, Any] = (
            {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
        )
        try:
            self._container = av.open(f"file:{path}", options=options, **tags)
        except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
            raise AudioError(
                path, f"no decoder recognises this as audio ({reason_of(error)})"
            ) from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(path, "has no audio track")
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context is None:
            self._container.close()
            raise AudioError(path, "there is no decoder for its audio track")
        self.info = self._read_info()
        if not self.info.sample_rate or not self.info.channels:  # guessed from a text, say
            self._container.close()
            raise AudioError(path, "no decoder recognises this as audio (no sample rate)")

    def _read_info(self) -> AudioInfo:
        stream, container = self._stream, self._container
        duration_s, kind = 0.0, container.format.name.split(",")[0]
        if kind in _GUESSED:
            pass
        elif stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration and not container.streams.video:
            duration_s = container.duration / 1e6
        rate = self._rate or stream.sample_rate
        name = f"{kind}/{stream.codec_context.name}".upper()
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
        """Blocks at one rate and layout, at the times that the container gives its frames.

        A track that begins after a film's pictures, or has gaps, as those of a recorder that was paused,
        has silence there.
        """
        import av

        layout, rate = self._stream.layout, self.info.sample_rate
        begins_s = (self._container.start_time or 0) / 1e6
        resampler: Any = None
        setting, delivered = None, 0
        try:
            for frame in self._frames():
                found = (frame.format.name, frame.layout.name, frame.sample_rate)
                if found != setting:  # another recording, as in a programme with inserted parts
                    for converted in resampler.resample(None) if resampler else ():
                        delivered += converted.samples
                        yield self._samples(converted)
                    resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
                    setting = found
                if frame.time is not None:
                    missing_s = frame.time - begins_s - delivered / rate
                    if missing_s > _LONGEST_GAP_S:
                        begins_s += missing_s
                    elif missing_s > _GAP_S:
                        yield from self._silence(round(missing_s * rate))
                        delivered += round(missing_s * rate)
                for converted in resampler.resample(frame) if resampler else ():
                    delivered += converted.samples
                    yield self._samples(converted)
        except av.FFmpegError as error:
            self.notes.append(f"decoding stopped: {reason_of(error)}")
            return
        for converted in resampler.resample(None) if resampler else ():
            yield self._samples(converted)

    def _silence(self, num_samples: int) -> Iterator[Block]:
        for first in range(0, num_samples, BLOCK):
            size = min(BLOCK, num_samples - first)
            yield np.zeros((size, self.info.channels), dtype=np.float32)

    def _frames(self) -> Iterator[Any]:
        """The frames that can be decoded; damage between them is noted once."""
        import av

        damage = ""
        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except (av.InvalidDataError, av.error.PatchWelcomeError) as error:
                damage = damage or f"damaged data is left out ({reason_of(error)})"
        if damage:
            self.notes.append(damage)

    def _samples(self, frame: Any) -> Block:
        return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1, self.info.channels)

    def close(self) -> None:
        self._container.close()


class FfmpegDecoder:
    """The ffmpeg program, for where PyAV is not installed."""

    def __init__(self, path: Path, sample_rate: int | None = None) -> None:
        """Open `path`; its samples come at `sample_rate` if one is given."""
        self._path, self._rate = path, sample_rate
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
        kind = container["format_name"].split(",")[0]
        rate = self._rate or int(stream["sample_rate"])
        duration_s = 0.0 if kind in _GUESSED else float(promised)
        name = f"{kind}/{stream['codec_name']}".upper()
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
        if self.info.format.partition("/")[0].lower() in _TIMED:
            command += ["-af", f"aresample=async=1:first_pts=0:min_hard_comp={_GAP_S}"]
        command += ["-f", "f32le", "-c:a", "pcm_f32le", "-ar", str(self.info.sample_rate), "pipe:1"]
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
