"""Audio behind manifests: what headers say of each file, and what decoded clips hold.

Headers take one opening a file; content decodes every clip, a block at a time, so that memory does
not grow with the recordings. Nothing is mended or replaced: what cannot be read is a finding.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError, AudioInfo, AudioStream, probe
from asr.audit_facts import AudioSummary, Reason, distribution
from asr.manifest import Utterance
from asr.parallel import parallel_map

Progress = Callable[[str, int, int], None]
Issue = tuple[Reason, str]
_Item = TypeVar("_Item")

_DURATION_TOLERANCE = 0.01  # of the file's duration,
_DURATION_TOLERANCE_S = 0.1  # but at least this: encoders pad
_FRAME_S = 0.025
_SILENCE_DB = -50.0  # below full scale; speech recorded to be heard peaks 20 dB above this
_FULL_SCALE = 0.99
_MAX_CLIPPED = 1e-3  # share of samples; a normalised recording touches full scale a few times
_PROGRESS_EVERY = 500


@dataclass(frozen=True)
class FileFacts:
    """A file's header, or why there is none."""

    info: AudioInfo | None
    issue: Issue | None


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """A decoded clip.

    Attributes:
        digest: hash of its samples, whatever container they came in; None where it cannot be read.
        level_db: RMS of its loudest 25 ms against full scale; -inf for digital silence.
        clipped: share of samples at full scale.
        issue: why it cannot be read, or not to its end.
    """

    digest: bytes | None
    level_db: float
    clipped: float
    issue: Issue | None


@dataclass(frozen=True)
class AudioAudit:
    """What a manifest's audio is like.

    Attributes:
        issues: of each utterance.
        durations_s: of each utterance, from the file where the manifest leaves it open; 0: unknown.
        keys: what makes two utterances the same audio: a hash of the samples where they were
            decoded, else the file and the stretch of it; None where it cannot be read.
    """

    issues: list[list[Issue]]
    durations_s: NDArray[np.float64]
    keys: list[object]
    summary: AudioSummary | None


def audit_audio(
    utterances: Sequence[Utterance],
    sample_rate: int,
    *,
    headers: bool = True,
    content: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> AudioAudit:
    """Look at the audio of a manifest.

    Args:
        sample_rate: what the model hears, Hz; files of a lower rate are issues.
        headers: open every file. content: decode every clip, too; needs headers.
        jobs: threads; None: one a core.
        progress: called with what is being done, how many are done, and of how many.
    """
    issues: list[list[Issue]] = [[] for _ in utterances]
    durations = np.array([one.duration_s for one in utterances], dtype=np.float64)
    keys: list[object] = [
        (os.path.abspath(one.audio_path), one.offset_s, one.duration_s)  # noqa: PTH100
        for one in utterances
    ]
    if not headers:
        return AudioAudit(issues, durations, keys, None)
    users = _users(utterances)
    shown = _counted(parallel_map(_look_at, users, jobs), "headers", len(users), progress)
    kinds: Counter[tuple[int, int, str]] = Counter()
    for facts, indices in zip(shown, users.values(), strict=True):
        if facts.info is not None:
            kinds[facts.info.sample_rate, facts.info.channels, facts.info.format] += 1
        for index in indices:
            issues[index] += _header_issues(facts, utterances[index], len(indices), sample_rate)
            if facts.info and not durations[index]:
                durations[index] = max(0.0, facts.info.duration_s - utterances[index].offset_s)
    levels = None
    if content:
        levels = _audit_content(utterances, issues, keys, jobs, progress)
    return AudioAudit(issues, durations, keys, _summary(len(users), kinds, levels))


def _users(utterances: Sequence[Utterance]) -> dict[Path, list[int]]:
    """Indices of the utterances of each file."""
    users: dict[Path, list[int]] = {}
    for index, utterance in enumerate(utterances):
        users.setdefault(utterance.audio_path, []).append(index)
    return users


def _look_at(path: Path) -> FileFacts:
    try:
        return FileFacts(probe(path), None)
    except AudioError as error:
        missing = not os.path.lexists(path)
        reason = Reason.MISSING_AUDIO if missing else Reason.UNREADABLE_AUDIO
        return FileFacts(None, (reason, str(error)))


def _header_issues(
    facts: FileFacts, utterance: Utterance, num_users: int, sample_rate: int
) -> Iterator[Issue]:
    if facts.issue:
        yield facts.issue
    if facts.info is None:
        return
    if facts.info.sample_rate < sample_rate:
        yield Reason.SAMPLE_RATE, f"{facts.info.sample_rate} Hz; the model hears {sample_rate} Hz"
    mismatch = _duration_mismatch(utterance, facts.info.duration_s, is_clip=num_users > 1)
    if mismatch:
        yield Reason.DURATION, mismatch


def _duration_mismatch(utterance: Utterance, file_s: float, *, is_clip: bool) -> str:
    """How manifest and file disagree, or ''. A clip may end before its file, but not after it."""
    if not file_s:  # the header does not tell
        return ""
    end_s = utterance.offset_s + utterance.duration_s
    tolerance_s = max(_DURATION_TOLERANCE_S, _DURATION_TOLERANCE * file_s)
    if utterance.offset_s >= file_s or end_s > file_s + tolerance_s:
        return f"ends at {end_s:.2f} s; the file is {file_s:.2f} s long"
    whole = utterance.duration_s and not utterance.offset_s and not is_clip
    if whole and abs(utterance.duration_s - file_s) > tolerance_s:
        return f"{utterance.duration_s:.2f} s in the manifest; the file is {file_s:.2f} s long"
    return ""


def _audit_content(
    utterances: Sequence[Utterance],
    issues: list[list[Issue]],
    keys: list[object],
    jobs: int | None,
    progress: Progress | None,
) -> NDArray[np.float64]:
    """Decode all that headers found readable; fills `issues` and `keys`; returns levels in dBFS."""
    readable = [
        index for index, found in enumerate(issues)
        if not any(reason in (Reason.MISSING_AUDIO, Reason.UNREADABLE_AUDIO) for reason, _ in found)
    ]  # fmt: skip
    clips = parallel_map(inspect_clip, (utterances[index] for index in readable), jobs)
    levels = np.full(len(readable), -np.inf)
    keys[:] = [None] * len(keys)
    counted = _counted(clips, "decoded", len(readable), progress)
    for place, (index, clip) in enumerate(zip(readable, counted, strict=True)):
        keys[index], levels[place] = clip.digest, clip.level_db
        issues[index] += _content_issues(clip)
    return levels


def inspect_clip(utterance: Utterance) -> ClipFacts:
    """Decode one utterance at its file's sample rate and measure it; never raises AudioError."""
    digest = hashlib.blake2b(digest_size=16)
    loudest, num_clipped, num_samples = 0.0, 0, 0
    try:
        info = probe(utterance.audio_path)
        rate, offset_s = info.sample_rate, utterance.offset_s
        duration_s = _clip_duration(utterance, info)
        with AudioStream(
            utterance.audio_path, rate, offset_s=offset_s, duration_s=duration_s
        ) as stream:
            for block in stream:
                digest.update(block.tobytes())
                loudest = max(loudest, _loudest_frame(block, max(1, round(_FRAME_S * rate))))
                num_clipped += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))
                num_samples += len(block)
            notes = stream.notes
    except AudioError as error:
        return ClipFacts(None, -np.inf, 0.0, (Reason.UNREADABLE_AUDIO, str(error)))
    level_db = 10 * float(np.log10(loudest)) if loudest > 0 else -np.inf
    issue = (Reason.DAMAGED_AUDIO, "; ".join(notes)) if notes else None
    return ClipFacts(digest.digest(), level_db, num_clipped / num_samples, issue)


def _clip_duration(utterance: Utterance, info: AudioInfo) -> float | None:
    """As in the manifest, but no more than the header promises: that fault is one of the header."""
    if not utterance.duration_s or not info.duration_s:
        return utterance.duration_s or None
    return min(utterance.duration_s, max(0.0, info.duration_s - utterance.offset_s))


def _loudest_frame(block: NDArray[np.float32], frame: int) -> float:
    """The greatest variance of the block's frames, the rest of it being one: a constant is silent."""
    whole = len(block) // frame * frame
    powers: list[float] = block[:whole].reshape(-1, frame).var(axis=1).tolist()
    return max([*powers, float(block[whole:].var()) if whole < len(block) else 0.0])


def _content_issues(clip: ClipFacts) -> Iterator[Issue]:
    if clip.issue:
        yield clip.issue
    if clip.digest is None:
        return
    if clip.level_db < _SILENCE_DB:
        loudest = "digital silence" if clip.level_db == -np.inf else f"{clip.level_db:.0f} dBFS"
        yield Reason.SILENCE, f"loudest 25 ms: {loudest}"
    if clip.clipped > _MAX_CLIPPED:
        yield Reason.CLIPPING, f"{100 * clip.clipped:.2f} % of samples at full scale"


def _summary(
    num_files: int, kinds: Counter[tuple[int, int, str]], levels: NDArray[np.float64] | None
) -> AudioSummary:
    sample_rates: Counter[int] = Counter()
    channels: Counter[int] = Counter()
    formats: Counter[str] = Counter()
    for (sample_rate, number, format_name), count in kinds.items():
        sample_rates[sample_rate] += count
        channels[number] += count
        formats[format_name] += count
    return AudioSummary(
        num_files,
        tuple(sample_rates.most_common()),
        tuple(channels.most_common()),
        tuple(formats.most_common()),
        None if levels is None else distribution(levels),
    )


def _counted(
    items: Iterator[_Item], what: str, total: int, progress: Progress | None
) -> Iterator[_Item]:
    for number, item in enumerate(items, start=1):
        if progress is not None and (number % _PROGRESS_EVERY == 0 or number == total):
            progress(what, number, total)
        yield item
