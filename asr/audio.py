"""Any audio file -> mono float32 waveform at the model's sample rate; probing; typed errors.

`AudioStream` decodes as it is asked, so memory does not grow with the recording; `load_audio` is a
stream read to its end. Both give the same samples.
"""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.codecs import AudioError as AudioError
from asr.codecs import AudioInfo as AudioInfo
from asr.codecs import open_decoder
from asr.codecs import printable as printable

MIN_SAMPLE_RATE = 1_000  # below this a header is damaged: no speech survives it
MAX_SAMPLE_RATE = 1_000_000

Waveform = NDArray[np.float32]


class AudioWarning(UserWarning):
    """Audio that was read, but of which something is missing or odd."""


def load_audio(
    path: Path | str,
    sample_rate: int = 16_000,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    channel: int | None = None,
) -> Waveform:
    """Read a recording, or a clip of it, as one waveform.

    Reads with libsndfile, else PyAV (extra `media`), else an ffmpeg program; resamples with soxr,
    quality HQ.

    Args:
        path: the audio file.
        sample_rate: of the waveform returned, Hz.
        offset_s: where the clip starts, seconds.
        duration_s: length of the clip, seconds; None: to the end.
        channel: which channel to take, the first is 0; None: the mean of all.

    Shape:
        returns (S,), float32, S = ceil or floor of native samples * sample_rate / native rate.

    Raises:
        AudioError: missing, a folder, unreadable, zero length, samples that are not finite, or a
            clip beyond the end.

    Warns:
        AudioWarning: the header (or the clip asked for) promises more than the decoder delivered.
    """
    with AudioStream(
        path, sample_rate, offset_s=offset_s, duration_s=duration_s, channel=channel
    ) as stream:
        blocks = list(stream)
        for note in stream.notes:
            warnings.warn(f"{printable(path)}: {note}", AudioWarning, stacklevel=2)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def probe(path: Path | str) -> AudioInfo:
    """What the header of an audio file says, without decoding it. Raises AudioError."""
    decoder = open_decoder(Path(path))
    try:
        check_sample_rate(Path(path), decoder.info.sample_rate)
        return decoder.info
    finally:
        decoder.close()


def check_sample_rate(path: Path, sample_rate: int) -> None:
    """Raise AudioError for a rate that only a damaged header can hold."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            path,
            f"the header gives a sample rate of {sample_rate} Hz, outside "
            f"{MIN_SAMPLE_RATE:,}-{MAX_SAMPLE_RATE:,} Hz; the file is damaged or not audio",
        )


class AudioStream:
    """One recording as mono float32 blocks (S,) at `sample_rate`, decoded while they are asked for.

    `info` is the header's word on the file; `notes` is complete when the blocks have been read.
    Iterate once, inside `with`. Arguments and errors are those of `load_audio`; errors in the
    samples are raised while iterating.
    """

    def __init__(
        self,
        path: Path | str,
        sample_rate: int = 16_000,
        *,
        offset_s: float = 0.0,
        duration_s: float | None = None,
        channel: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self._decoder = open_decoder(self.path)
        self.info = self._decoder.info
        self._channel = channel
        try:
            check_sample_rate(self.path, self.info.sample_rate)
            self._check_channel()
            self._start = self._native(offset_s, "offset")
            self._length = None if duration_s is None else self._native(duration_s, "duration")
        except AudioError:
            self.close()
            raise
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd: a header that promised more than was there, damage in the data."""
        return (*self._decoder.notes, *self._notes)

    def __enter__(self) -> "AudioStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the file."""
        self._decoder.close()

    def __iter__(self) -> Iterator[Waveform]:
        native_rate = self.info.sample_rate
        if native_rate == self.sample_rate:
            yield from self._clip()
            return
        resampler = soxr.ResampleStream(
            native_rate, self.sample_rate, 1, dtype="float32", quality="HQ"
        )
        nothing: Waveform = np.zeros(0, dtype=np.float32)
        delivered = 0
        for block in self._clip():
            resampled: Waveform = resampler.resample_chunk(block)
            delivered += len(resampled)
            if len(resampled):
                yield resampled
        rest: Waveform = resampler.resample_chunk(nothing, last=True)
        if delivered + len(rest) == 0:
            raise AudioError(self.path, f"zero length: no sample at {self.sample_rate} Hz")
        yield rest

    def _check_channel(self) -> None:
        if self._channel is not None and not 0 <= self._channel < self.info.channels:
            raise AudioError(
                self.path,
                f"has no channel {self._channel}: it has {self.info.channels}, the first is 0",
            )

    def _native(self, seconds: float, what: str) -> int:
        if not math.isfinite(seconds) or seconds < 0:
            raise AudioError(self.path, f"{what} must be 0 s or more, not {seconds}")
        return round(seconds * self.info.sample_rate)

    def _clip(self) -> Iterator[Waveform]:
        """Checked mono blocks at the native rate, at most `_length` samples in all."""
        delivered = 0
        for block in self._decoder.blocks(self._start):
            left = len(block) if self._length is None else self._length - delivered
            mono = self._mono(block[:left])
            delivered += len(mono)
            if not np.isfinite(mono).all():
                raise AudioError(
                    self.path, "holds samples that are not finite numbers (NaN or Inf)"
                )
            if len(mono):
                yield mono
            if delivered == self._length:
                break
        self._check_delivered(delivered)

    def _mono(self, block: NDArray[np.float32]) -> Waveform:
        """(S, C) -> (S,): one channel, or the mean of all."""
        if block.shape[1] == 1:
            return block[:, 0]
        if self._channel is not None:
            return np.ascontiguousarray(block[:, self._channel])
        mixed: Waveform = block.mean(axis=1, dtype=np.float32)
        return mixed

    def _check_delivered(self, delivered: int) -> None:
        rate = self.info.sample_rate
        if delivered == 0:
            damage = f" ({self._decoder.notes[0]})" if self._decoder.notes else ""
            if self._start:
                raise AudioError(
                    self.path,
                    f"nothing at {self._start / rate:.2f} s: the audio ends before{damage}",
                )
            raise AudioError(self.path, f"zero length: no samples could be read{damage}")
        if self._length is not None and self._length - delivered > 0.1 * rate:
            self._notes.append(
                f"the clip asks for {self._length / rate:.2f} s, {delivered / rate:.2f} s are there"
            )
