"""An audit as text for the terminal, in full and in a few lines, as JSON and as a table of findings."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asr
from asr.audit import AuditOptions, audit
from asr.audit_facts import (
    EXPLANATIONS,
    AudioSummary,
    Audit,
    Distribution,
    Finding,
    ManifestAudit,
    Overlap,
    Reason,
    UnknownCharacter,
)
from asr.audit_texts import show_character
from asr.tokenizer import SPACE

_BARS = "▁▂▃▄▅▆▇█"
_MAX_SHOWN = 3
_MAX_CHARACTERS = 80
_MAX_UNKNOWN = 20
_MAX_JSON_EXAMPLES = 20


def brief_audit(manifests: Sequence[Path | str]) -> str:
    """A few lines on manifests just prepared: sizes, overlaps, counts of findings; opens no audio."""
    result = audit(list(dict.fromkeys(manifests)), AuditOptions(headers=False))
    counts = result.counts()
    lines = [f"audit ({basis(result)}):"]
    for one in result.manifests:
        found = [
            f"{counts[reason, one.name]:,} {reason}"
            for reason in Reason
            if counts[reason, one.name]
        ]
        rate = f", {one.rates.median:.1f} characters/s" if one.rates else ""
        lines.append(
            f"  {one.name}: {one.num_words:,} words, {one.num_distinct_words:,} different{rate}; "
            f"{', '.join(found) or 'nothing suspicious'}"
        )
    lines += [f"  {overlap_text(one)}" for one in result.overlaps]
    names = " ".join(str(one.path) for one in result.manifests)
    return "\n".join([*lines, f"  more, and the audio: asr info {names} --audio -o audit"])


def audit_to_text(result: Audit) -> str:
    """Everything but the pictures."""
    lines: list[str] = []
    for one in result.manifests:
        lines += [*_manifest_lines(one), ""]
    lines += [basis(result)]
    lines += [overlap_text(one) for one in result.overlaps]
    lines += ["", *_finding_lines(result)]
    return "\n".join(lines)


def basis(result: Audit) -> str:
    """What the manifests were held against."""
    model = f"of {result.model_name}" if result.model_name else "of the default model"
    return (
        f"texts normalised by {result.normalizer}, alphabet of {result.alphabet_name} "
        f"({len(result.alphabet)} characters), {1000 * result.output_frame_s:g} ms a frame {model}"
    )


def overlap_text(one: Overlap) -> str:
    """One overlap as a sentence."""
    shown = ", ".join(one.examples[:_MAX_SHOWN]) + (", ..." if one.num_shared > _MAX_SHOWN else "")
    return (
        f"{one.first} and {one.second} share {one.num_shared:,} {one.kind}, in {one.num_first:,} and "
        f"{one.num_second:,} utterances: {shown}"
    )


def _manifest_lines(one: ManifestAudit) -> list[str]:
    speakers = f"{one.num_speakers:,} speakers"
    if one.num_without_speaker:
        speakers += f", {one.num_without_speaker:,} utterances without a speaker"
    lines = [
        f"manifest {one.path}",
        f"  {one.num_utterances:,} utterances, {one.hours:.2f} h, {speakers}",
        f"  {one.num_words:,} words, {one.num_distinct_words:,} different, "
        f"{one.num_characters:,} characters",
    ]
    for name, shown in (
        ("seconds", one.durations),
        ("characters/s", one.rates),
        ("minutes a speaker", one.speaker_minutes),
    ):
        if shown:
            lines.append(f"  {name:18}{sparkline(shown)}")
    lines.append(f"  {'characters':18}{characters_text(one.characters)}")
    lines += [f"  {'unknown':18}{unknown_text(char)}" for char in one.unknown[:_MAX_UNKNOWN]]
    if len(one.unknown) > _MAX_UNKNOWN:
        lines.append(f"  {'':18}and {len(one.unknown) - _MAX_UNKNOWN:,} more characters")
    if one.audio:
        lines.append(f"  {'audio':18}{audio_text(one.audio)}")
    return lines


def sparkline(shown: Distribution) -> str:
    """Minimum, bars, maximum, median.

    >>> sparkline(Distribution((0, 1, 2, 3), (1, 8, 0), 0, 0.1, 1.4, 1.9))
    '0.10 ▁█  1.90, median 1.40'
    """
    most = max(shown.counts) or 1
    bars = "".join(
        _BARS[(count * len(_BARS) - 1) // most] if count else " " for count in shown.counts
    )
    beyond = f" ({shown.beyond:,} further out)" if shown.beyond else ""
    return f"{shown.minimum:.2f} {bars} {shown.maximum:.2f}{beyond}, median {shown.median:.2f}"


def characters_text(characters: Sequence[tuple[str, int]]) -> str:
    """Characters by frequency; the space is left out."""
    shown = [show_character(char) for char, _ in characters if char != SPACE]
    more = f" and {len(shown) - _MAX_CHARACTERS} more" if len(shown) > _MAX_CHARACTERS else ""
    return " ".join(shown[:_MAX_CHARACTERS]) + more or "none"


def unknown_text(one: UnknownCharacter) -> str:
    """An unknown character with examples."""
    why = "the normaliser leaves it out" if one.lost else "not in the alphabet"
    examples = ", ".join(example.utterance_id for example in one.examples[:_MAX_SHOWN])
    return (
        f"{show_character(one.character)} {one.count:,} times in {one.num_utterances:,} utterances, "
        f"{why}: {examples}"
    )


def audio_text(audio: AudioSummary) -> str:
    """Files by format, sample rate and channels."""
    parts = [f"{audio.num_files:,} files"]
    tables: tuple[tuple[Sequence[tuple[object, int]], Callable[[object], str]], ...] = (
        (audio.formats, str),
        (audio.sample_rates, lambda value: f"{value} Hz"),
        (audio.channels, lambda value: f"{value} channel{'' if value == 1 else 's'}"),
    )
    for table, name in tables:
        counts = [name(v) if len(table) == 1 else f"{name(v)} ({n:,})" for v, n in table]
        parts.append(", ".join(counts))
    if audio.levels:
        parts.append(f"loudest 25 ms median {audio.levels.median:.0f} dBFS")
    return "; ".join(part for part in parts if part)


def _finding_lines(result: Audit) -> list[str]:
    if not result.findings:
        return [f"nothing suspicious{'' if result.content_checked else _unchecked(result)}"]
    counts = result.counts()
    lines = [f"{result.num_suspects():,} utterances with a finding{_unchecked(result)}"]
    by_place: dict[tuple[Reason, str], list[Finding]] = {}
    for found in result.findings:
        by_place.setdefault((found.reason, found.manifest), []).append(found)
    for reason in Reason:
        if not any(key[0] is reason for key in counts):
            continue
        lines.append(f"{reason}: {EXPLANATIONS[reason]}")
        for one in result.manifests:
            found_here = by_place.get((reason, one.name), [])
            if found_here:
                lines.append(f"  {one.name}: {len(found_here):,}")
            for found in found_here[:_MAX_SHOWN]:
                lines.append(f"    {found.utterance.utterance_id}: {found.detail}")
    return lines


def _unchecked(result: Audit) -> str:
    if result.content_checked:
        return ""
    return (
        " (--audio also decodes the audio: silence, clipping, damage, copies)"
        if result.headers_checked
        else " (no audio was opened)"
    )


def audit_to_json(result: Audit) -> dict[str, Any]:
    """The audit as JSON values, with some examples of each finding; findings.tsv has them all."""
    return {
        "version": asr.__version__,
        "normalizer": result.normalizer,
        "alphabet": result.alphabet,
        "alphabet_name": result.alphabet_name,
        "model": result.model_name,
        "output_frame_s": result.output_frame_s,
        "sample_rate": result.sample_rate,
        "headers_checked": result.headers_checked,
        "content_checked": result.content_checked,
        "manifests": [_manifest_json(one) for one in result.manifests],
        "overlaps": [asdict(one) for one in result.overlaps],
        "findings": _findings_json(result),
    }


def _manifest_json(one: ManifestAudit) -> dict[str, Any]:
    distributions = {
        name: shown and asdict(shown)
        for name, shown in (
            ("durations_s", one.durations),
            ("characters_per_s", one.rates),
            ("speaker_minutes", one.speaker_minutes),
        )
    }
    return {
        "name": one.name,
        "path": str(one.path),
        "utterances": one.num_utterances,
        "hours": one.hours,
        "speakers": one.num_speakers,
        "utterances_without_speaker": one.num_without_speaker,
        "words": one.num_words,
        "different_words": one.num_distinct_words,
        "characters": dict(one.characters),
        "unknown_characters": [
            {
                "character": char.character,
                "count": char.count,
                "utterances": char.num_utterances,
                "lost": char.lost,
                "examples": [example.utterance_id for example in char.examples],
            }
            for char in one.unknown
        ],
        **distributions,
        "audio": one.audio and asdict(one.audio),
    }


def _findings_json(result: Audit) -> list[dict[str, Any]]:
    groups: dict[tuple[Reason, str], dict[str, Any]] = {}
    for found in result.findings:
        group = groups.setdefault(
            (found.reason, found.manifest),
            {"reason": str(found.reason), "manifest": found.manifest, "count": 0, "examples": []},
        )
        group["count"] += 1
        if len(group["examples"]) < _MAX_JSON_EXAMPLES:
            example = {"utterance_id": found.utterance.utterance_id, "detail": found.detail}
            group["examples"].append(example)
    return list(groups.values())


def findings_to_tsv(findings: Sequence[Finding]) -> str:
    """A row for each finding."""
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    names = "manifest utterance_id reason detail audio_filepath offset duration speaker text"
    writer.writerow(names.split())
    for found in findings:
        one = found.utterance
        writer.writerow(
            [
                found.manifest,
                one.utterance_id,
                found.reason,
                found.detail,
                one.audio_path,
                one.offset_s,
                one.duration_s,
                one.speaker_id or "",
                one.text,
            ]
        )
    return table.getvalue()
