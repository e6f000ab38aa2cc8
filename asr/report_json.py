"""A score as JSON: `report.json`, described by `templates/report.schema.json`, and back.

Rates are fractions; a rate that does not exist (no reference words) is null.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer

import asr
from asr.breakdown import Analysis, Breakdown, VocabularySplit
from asr.confusions import Confusion
from asr.errors import AsrError
from asr.facts import ReportFacts, UtteranceFacts
from asr.scoring import CorpusScore, Counts, GroupScore, UtteranceScore

FORMAT = "asr-report-1"


class ReportError(AsrError):
    """A report that cannot be read; the message says which file and what to do."""


@dataclass(frozen=True)
class StoredReport:
    """What `report.json` keeps of the texts: enough to score and compare again."""

    path: Path
    name: str
    normalizer: str
    wer: float
    references: Mapping[str, str]
    hypotheses: Mapping[str, str]
    speakers: Mapping[str, str]


def report_to_json(score: CorpusScore, analysis: Analysis, facts: ReportFacts) -> dict[str, Any]:
    """The whole report as JSON types."""
    total = score.total
    return {
        "wer": _rate(score.wer),
        "cer": _rate(score.cer),
        "counts": _counts(score.counts, "words"),
        "format": FORMAT,
        "wer_interval": _interval(analysis),
        "character_counts": _optional_counts(score.character_counts),
        "match_error_rate": _rate(score.counts.match_error_rate),
        "word_information_lost": _rate(score.counts.information_lost),
        "sentence_error_rate": _rate(total.sentence_error_rate),
        "num_utterances": total.num_utterances,
        "normalizer": score.normalizer,
        "system": _system(facts),
        "scoring": {
            "asr": asr.__version__,
            "jiwer": _jiwer_version(),
            "missing": score.missing,
            "missing_ids": list(score.missing_ids),
            "extra_ids": list(score.extra_ids),
        },
        "notes": [*facts.notes, *analysis.notes],
        "empty_references": _group(score.empty_references),
        "breakdowns": [_breakdown(one) for one in analysis.breakdowns],
        "vocabulary": _vocabulary(analysis.vocabulary),
        "confidence": asdict(analysis.confidence) if analysis.confidence else None,
        "substitutions": _confusions(analysis.substitutions),
        "deletions": _confusions(analysis.deletions),
        "insertions": _confusions(analysis.insertions),
        "compounds": _confusions(analysis.compounds),
        "letters": _confusions(analysis.letters),
        "utterances": [
            _utterance(one, facts.utterances.get(one.utterance_id)) for one in score.utterances
        ],
    }


def read_report(path: Path | str) -> StoredReport:
    """Read a report's folder or its `report.json`.

    Raises:
        ReportError: there is none, it is no JSON, or it is not a report of this project.
    """
    path = Path(path)
    file = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(
            f"no report at {file}; `asr score` and `asr evaluate` write reports (-o OUT)"
        ) from None
    except OSError as error:
        raise ReportError(f"cannot read {file}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{file} is not JSON ({error}); give a report's folder") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ReportError(
            f"{file} is not a report of format {FORMAT}; score again with `asr score`"
        )
    return _stored(file, content)


def _stored(file: Path, content: Mapping[str, Any]) -> StoredReport:
    try:
        utterances: Sequence[Mapping[str, Any]] = content["utterances"]
        wer = content["wer"]
        name = content["system"]["name"] or file.resolve().parent.name
        return StoredReport(
            file,
            name,
            content["normalizer"],
            math.nan if wer is None else wer,
            {one["utterance_id"]: one["reference"] for one in utterances},
            {one["utterance_id"]: one["hypothesis"] for one in utterances},
            {one["utterance_id"]: one["speaker"] for one in utterances if one["speaker"]},
        )
    except (KeyError, TypeError) as error:
        raise ReportError(f"{file} is damaged (no {error}); score again") from None


def _rate(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _counts(counts: Counts, unit: str) -> dict[str, int]:
    return {
        **asdict(counts),
        f"reference_{unit}": counts.num_reference,
        f"hypothesis_{unit}": counts.num_hypothesis,
    }


def _optional_counts(counts: Counts | None) -> dict[str, int] | None:
    return None if counts is None else _counts(counts, "characters")


def _interval(analysis: Analysis) -> dict[str, Any]:
    interval = asdict(analysis.interval)
    return interval | {"low": _rate(interval["low"]), "high": _rate(interval["high"])}


def _system(facts: ReportFacts) -> dict[str, Any]:
    return {
        "name": facts.system,
        "num_parameters": facts.num_parameters,
        "decoder": facts.decoder,
        "device": facts.device,
        "audio_s": facts.audio_s,
        "wall_s": facts.wall_s,
        "real_time_factor": facts.real_time_factor,
        "reference": facts.reference,
        "hypothesis": facts.hypothesis,
    }


def _group(group: GroupScore) -> dict[str, Any]:
    return {
        "name": group.name,
        "num_utterances": group.num_utterances,
        "wer": _rate(group.wer),
        "cer": _rate(group.cer),
        "sentence_error_rate": _rate(group.sentence_error_rate),
        "counts": _counts(group.words, "words"),
    }


def _breakdown(breakdown: Breakdown) -> dict[str, Any]:
    return {"by": breakdown.by, "groups": [_group(one) for one in breakdown.groups]}


def _vocabulary(split: VocabularySplit | None) -> dict[str, Any] | None:
    if split is None:
        return None
    return {
        "name": split.name,
        "size": split.size,
        "unknown_rate": split.rate,
        "known": _counts(split.known, "words") | {"error_rate": _rate(split.known.error_rate)},
        "unknown": _counts(split.unknown, "words")
        | {"error_rate": _rate(split.unknown.error_rate)},
        "unknown_words": [{"word": word, "count": count} for word, count in split.unknown_words],
    }


def _confusions(confusions: Sequence[Confusion]) -> list[dict[str, Any]]:
    return [
        {
            "reference": one.reference,
            "hypothesis": one.hypothesis,
            "count": one.count,
            "rate_if_fixed": _rate(one.rate_if_fixed),
        }
        for one in confusions
    ]


def _utterance(utterance: UtteranceScore, facts: UtteranceFacts | None) -> dict[str, Any]:
    return {
        "utterance_id": utterance.utterance_id,
        "speaker": utterance.speaker_id,
        "wer": _rate(utterance.wer),
        "counts": _counts(utterance.words, "words"),
        "character_counts": _optional_counts(utterance.characters),
        "missing": utterance.missing,
        "duration": facts.duration_s if facts else None,
        "reference": utterance.reference,
        "hypothesis": utterance.hypothesis,
    }


def _jiwer_version() -> str:
    from importlib.metadata import version

    return version(jiwer.__name__)
