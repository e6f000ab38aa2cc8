"""A score as one HTML file that opens without a network; the look is in `templates/report.*`.

Texts of utterances reach the page as data in a JSON block and are shown as text nodes, and the
content security policy lets no script run but the page's own: a transcript cannot run anything.
"""

import base64
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import asr
from asr.breakdown import Analysis, Breakdown
from asr.confidence import ConfidenceQuality
from asr.edits import Operation
from asr.facts import ReportFacts, UtteranceFacts
from asr.plots import Bar, bar_chart, error_kinds, reliability
from asr.report_text import interval_text, percent, speed_text
from asr.scoring import CorpusScore, GroupScore, Span, UtteranceScore

TEMPLATES = Path(__file__).parent / "templates"
_LETTERS: Mapping[Operation, str] = {"equal": "=", "substitute": "S", "delete": "D", "insert": "I"}
_SHOWN_SPEAKERS = 400


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot of the page."""

    title: str
    svg: Markup
    caption: str


def report_to_html(score: CorpusScore, analysis: Analysis, facts: ReportFacts, folder: Path) -> str:
    """The page; audio is linked relative to `folder`, where the page will lie."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            score=score,
            analysis=analysis,
            facts=facts,
            version=asr.__version__,
            figures=_figures(score, analysis),
            interval=interval_text(analysis.interval),
            speed=speed_text(facts),
            style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=script_hash(script),
            data=json_block(_table(score, facts, folder)),
        )
    )


def environment() -> Environment:
    """Templates with everything escaped; an unknown name is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["percent"] = percent
    return env


def script_hash(script: str) -> str:
    """The hash by which the page's policy knows its own script (CSP level 2)."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def json_block(value: Any) -> Markup:
    """JSON that may stand inside a <script> element: no "<" can end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def encode_operation(operation: Operation) -> str:
    """The letter of an operation, in the page's data and in its style sheet's classes."""
    return _LETTERS[operation]


def encode_alignment(alignment: Sequence[Span]) -> str:
    """Run lengths of operations: "=4S1D2" is four words right, one substituted, two deleted."""
    return "".join(
        f"{_LETTERS[one.operation]}{max(one.ref_end - one.ref_start, one.hyp_end - one.hyp_start)}"
        for one in alignment
    )


def _table(score: CorpusScore, facts: ReportFacts, folder: Path) -> list[list[Any]]:
    """Rows in the order of `COLUMNS` in report.js."""
    none = UtteranceFacts()
    root = folder.resolve()
    return [
        _row(one, facts.utterances.get(one.utterance_id, none), root) for one in score.utterances
    ]


def _row(one: UtteranceScore, facts: UtteranceFacts, root: Path) -> list[Any]:
    cer = one.characters.error_rate if one.characters else math.nan
    return [
        one.utterance_id,
        one.speaker_id or "",
        None if facts.duration_s is None else round(facts.duration_s, 2),
        one.words.num_reference,
        one.words.errors,
        None if math.isnan(one.wer) else round(one.wer, 4),
        None if math.isnan(cer) else round(cer, 4),
        one.reference,
        one.hypothesis,
        encode_alignment(one.alignment),
        int(one.missing),
        audio_link(facts, root),
    ]


def audio_link(facts: UtteranceFacts, root: Path) -> str:
    """A relative link with the stretch to play; empty where the file is not at hand."""
    if facts.audio_path is None or not facts.audio_path.is_file():
        return ""
    link = quote(Path(os.path.relpath(facts.audio_path.resolve(), root)).as_posix())
    if facts.offset_s and facts.duration_s:
        return f"{link}#t={facts.offset_s:.2f},{facts.offset_s + facts.duration_s:.2f}"
    return link


def _figures(score: CorpusScore, analysis: Analysis) -> list[Figure]:
    figures = []
    if score.counts.errors:
        svg = error_kinds(score.counts)
        figures.append(_figure("Kinds of errors", svg, "Share of all errors."))
    figures += [_group_figure(one, score.wer) for one in analysis.breakdowns if len(one.groups) > 1]
    if analysis.confidence:
        svg = reliability(analysis.confidence.bins)
        figures.append(_figure("Confidence", svg, _confidence_caption(analysis.confidence)))
    return figures


def _confidence_caption(quality: ConfidenceQuality) -> str:
    caption = (
        "Points below the line: the system is surer than it is right. Mean distance from the line "
    )
    caption += f"{100 * quality.calibration_error:.1f} points"
    if quality.auc is None:
        return f"{caption}."
    return f"{caption}; a right word has the higher confidence in {percent(quality.auc)} of pairs (AUC)."


def _group_figure(breakdown: Breakdown, wer: float) -> Figure:
    groups = [one for one in breakdown.groups if one.words.num_reference]
    if breakdown.by == "speaker":
        groups = sorted(groups, key=lambda one: -one.wer)[:_SHOWN_SPEAKERS]
    title = f"WER by {breakdown.by}"
    bars = [Bar(one.name, one.wer, _group_title(one)) for one in groups]
    caption = "Dashed line: the whole corpus. Few words make a bar uncertain; the counts are below."
    return _figure(title, bar_chart(bars, title, wer), caption)


def _group_title(group: GroupScore) -> str:
    return (
        f"{group.name}: {percent(group.wer)}, {group.words.errors:,} errors in "
        f"{group.words.num_reference:,} words, {group.num_utterances:,} utterances"
    )


def _figure(title: str, svg: str, caption: str) -> Figure:
    return Figure(title, Markup(svg), caption)
