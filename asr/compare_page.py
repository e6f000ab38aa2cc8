"""A comparison as one HTML page without scripts: verdicts, figures, the utterances that changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

import asr
from asr.compare import ChangedUtterance, Comparison, PairComparison, p_text, span_text
from asr.report_page import encode_operation, environment
from asr.report_text import interval_text
from asr.scoring import AlignedPair, UtteranceScore

_SHOWN = 200
_MOST_WORDS = 400


@dataclass(frozen=True, slots=True)
class ShownPair:
    """One place of an alignment, as the page shows it."""

    kind: str
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True, slots=True)
class ShownChange:
    """An utterance with the alignments of both systems."""

    utterance: ChangedUtterance
    a: tuple[ShownPair, ...]
    b: tuple[ShownPair, ...]


@dataclass(frozen=True, slots=True)
class ShownComparison:
    """A pair of systems with the utterances that changed most."""

    pair: PairComparison
    changes: tuple[ShownChange, ...]


def comparison_to_html(comparison: Comparison) -> str:
    """The page; every text is escaped, and its policy lets no script run."""
    style = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    template = environment().get_template("compare.html.j2")
    return template.render(
        comparison=comparison,
        pairs=[_shown(comparison, pair) for pair in comparison.pairs],
        interval_text=interval_text,
        p_text=p_text,
        span_text=span_text,
        style=Markup(style),
        version=asr.__version__,
    )


def _shown(comparison: Comparison, pair: PairComparison) -> ShownComparison:
    scores = {one.name: one.score for one in comparison.systems}
    changes = pair.changed[:_SHOWN]
    wanted = {one.utterance_id for one in changes}
    a, b = (
        {u.utterance_id: _pairs(u) for u in scores[name].utterances if u.utterance_id in wanted}
        for name in (pair.name_a, pair.name_b)
    )
    return ShownComparison(
        pair,
        tuple(ShownChange(one, a[one.utterance_id], b[one.utterance_id]) for one in changes),
    )


def _pairs(utterance: UtteranceScore) -> tuple[ShownPair, ...]:
    places: Sequence[AlignedPair] = list(utterance.pairs())[:_MOST_WORDS]
    return tuple(
        ShownPair(encode_operation(one.operation), one.reference, one.hypothesis) for one in places
    )
