"""Where training takes waveforms from: decoded when asked for, or a cache on disk."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError
from asr.errors import AsrError
from asr.manifest import Utterance
from asr.utterances import load_utterance
from asr.whole_file import write_atomically

_FORMAT = 2  # of the cache's files
_DECODED_AT_ONCE = 256  # utterances held in memory while a cache is made
_MAX_ERRORS_SHOWN = 10
_OTHER_PLACE = "choose another data.cache_dir, or null to decode in every epoch"


class WaveformSource(Protocol):
    """Where waveforms come from: decoded when asked for, or a cache."""

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """Mono float32 waveform (S,)."""
        ...


@dataclass(frozen=True)
class DecodedWaveforms:
    """Decodes the audio file each time."""

    sample_rate: int

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """Decode one utterance; AudioError where that fails."""
        return load_utterance(utterance, self.sample_rate)


class _Span(NamedTuple):
    """Samples [start, end) of the cache, with the CRC-32 of their bytes."""

    start: int
    end: int
    checksum: int


class CachedWaveforms:
    """Waveforms decoded once into one memory-mapped float32 file (230 MB an hour at 16 kHz).

    The file's name is a hash of what made it: paths, sizes and times of the audio files, clips, sample
    rate. Changed audio or another rate therefore makes a new cache. A truncated cache is made anew; of
    one whose samples are damaged the utterance is decoded, and the next run makes it anew.
    """

    def __init__(self, utterances: Sequence[Utterance], sample_rate: int, folder: Path) -> None:
        key = _cache_key(utterances, sample_rate)
        self._decode = DecodedWaveforms(sample_rate)
        self._data_file, self._index_file = folder / f"{key}.f32", folder / f"{key}.json"
        spans = _read_index(self._data_file, self._index_file)
        if spans is None:
            spans = _write_cache(utterances, self._decode, self._data_file, self._index_file)
        self._spans = spans
        self._open()

    def __call__(self, utterance: Utterance) -> NDArray[np.float32]:
        """A view of the cached samples."""
        start, end, checksum = self._spans[utterance.utterance_id]
        samples = self._samples[start:end]
        if zlib.crc32(samples.data) == checksum:
            return samples
        with contextlib.suppress(OSError):  # gone by now, or not ours to delete
            self._index_file.unlink()
            _say(f"{self._data_file} is damaged: decoding what is; the next run makes it anew")
        return self._decode(utterance)

    def _open(self) -> None:
        self._samples: NDArray[np.float32] = np.memmap(self._data_file, dtype=np.float32, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """All but the samples: a process that is spawned opens the file itself."""
        return {name: value for name, value in vars(self).items() if name != "_samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


def check_files(utterances: Sequence[Utterance]) -> None:
    """AsrError with the audio files that are not there."""
    missing = [
        AudioError(utterance.audio_path, "no such file")
        for utterance in utterances
        if not utterance.audio_path.is_file()
    ]
    if missing:
        raise AsrError(_describe_failures(missing, len(utterances)))


def _cache_key(utterances: Sequence[Utterance], sample_rate: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {sample_rate}".encode())
    for utterance in utterances:
        stat = utterance.audio_path.stat()
        place = (
            f"\n{utterance.utterance_id}\t{utterance.audio_path.resolve()}\t{stat.st_size}\t"
            f"{stat.st_mtime_ns}\t{utterance.offset_s}\t{utterance.duration_s}"
        )
        digest.update(place.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:20]


def _read_index(data_file: Path, index_file: Path) -> dict[str, _Span] | None:
    """Where each utterance is; None where there is no cache, or (said) a damaged one."""
    if not index_file.is_file():
        return None
    try:
        spans = {name: _Span(*span) for name, span in json.loads(index_file.read_bytes()).items()}
        wanted = 4 * max(span.end for span in spans.values())
        found = data_file.stat().st_size
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _say(f"the waveform cache {index_file} is damaged ({error}): making it anew")
        return None
    if found != wanted:
        _say(
            f"the waveform cache {data_file} has {found} bytes instead of {wanted}: making it anew"
        )
        return None
    return spans


def _write_cache(
    utterances: Sequence[Utterance], decode: DecodedWaveforms, data_file: Path, index_file: Path
) -> dict[str, _Span]:
    """Decode all into the cache's files; an error leaves none behind."""
    temporary = data_file.with_name(f".{data_file.name}.{os.urandom(6).hex()}")
    try:
        data_file.parent.mkdir(parents=True, exist_ok=True)
        _check_space(data_file, utterances, decode.sample_rate)
        with temporary.open("wb") as out:
            spans = _decode_into(out, utterances, decode)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(data_file)
        write_atomically(index_file, [json.dumps(spans)])
    except OSError as error:
        raise AsrError(
            f"cannot write the waveform cache {data_file}: {error.strerror or error}; {_OTHER_PLACE}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return spans


def _check_space(data_file: Path, utterances: Sequence[Utterance], sample_rate: int) -> None:
    """Say what is made; refuse before hours of decoding what the disk has no room for."""
    duration_s = sum(utterance.duration_s for utterance in utterances)
    needed, free = 4 * sample_rate * duration_s, shutil.disk_usage(data_file.parent).free
    if needed > free:
        raise AsrError(
            f"the waveform cache {data_file} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            f"free; {_OTHER_PLACE}"
        )
    _say(
        f"decoding {len(utterances)} utterances, {duration_s / 3600:.2f} h, into the waveform cache "
        f"{data_file}"
    )


def _decode_into(
    out: BinaryIO, utterances: Sequence[Utterance], decode: DecodedWaveforms
) -> dict[str, _Span]:
    """Write every waveform; AsrError lists all files that cannot be read."""
    spans: dict[str, _Span] = {}
    failures: list[AudioError] = []
    position = 0
    for utterance, result in _decoded(utterances, decode):
        if isinstance(result, AudioError):
            failures.append(result)
            continue
        samples = result.tobytes()
        out.write(samples)
        end = position + len(result)
        spans[utterance.utterance_id] = _Span(position, end, zlib.crc32(samples))
        position = end
    if failures:
        raise AsrError(_describe_failures(failures, len(utterances)))
    return spans


def _describe_failures(failures: Sequence[AudioError], total: int) -> str:
    shown = "\n  ".join(str(failure) for failure in failures[:_MAX_ERRORS_SHOWN])
    return (
        f"{len(failures)} of {total} audio files cannot be read; mend them or take them out of the "
        f"manifest:\n  {shown}"
    )


def _decoded(
    utterances: Sequence[Utterance], decode: DecodedWaveforms
) -> Iterator[tuple[Utterance, NDArray[np.float32] | AudioError]]:
    """Each utterance with its waveform or what kept it from being read; bounded memory."""

    def try_decode(utterance: Utterance) -> NDArray[np.float32] | AudioError:
        try:
            return decode(utterance)
        except AudioError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(utterances), _DECODED_AT_ONCE):
            part = utterances[start : start + _DECODED_AT_ONCE]
            yield from zip(part, pool.map(try_decode, part), strict=True)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
