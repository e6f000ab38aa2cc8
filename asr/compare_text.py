"""A comparison for the terminal and for pull requests (Markdown), and as JSON and CSV."""

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from asr.compare import Comparison, PairComparison, p_text, span_text
from asr.report_text import interval_text, percent

_EXAMPLES = 5


def comparison_to_markdown(comparison: Comparison) -> str:
    """Systems, pairs, verdicts and the utterances that changed most."""
    lines = [
        "| system | WER | errors | words |",
        "|---|---|---|---|",
    ]
    for system in comparison.systems:
        counts = system.score.counts
        lines.append(
            f"| {system.name} | {percent(system.score.wer)} ({interval_text(system.interval)}) | "
            f"{counts.errors:,} | {counts.num_reference:,} |"
        )
    for pair in comparison.pairs:
        lines += ["", *_pair_lines(pair)]
    lines += ["", *(f"Note: {note}" for note in comparison.notes)]
    lines.append(f"Normaliser: {comparison.normalizer}.")
    return "\n".join(lines) + "\n"


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON types; utterances are in changed.csv."""
    return {
        "format": "asr-comparison-1",
        "normalizer": comparison.normalizer,
        "notes": list(comparison.notes),
        "systems": [
            {
                "name": one.name,
                "wer": _finite(one.score.wer),
                "wer_interval": _all_finite(asdict(one.interval)),
                "errors": one.score.counts.errors,
                "reference_words": one.score.counts.num_reference,
            }
            for one in comparison.systems
        ],
        "pairs": [_pair(one) for one in comparison.pairs],
    }


def _pair(pair: PairComparison) -> dict[str, Any]:
    return {
        "a": pair.name_a,
        "b": pair.name_b,
        "difference": _finite(pair.bootstrap.difference),
        "difference_interval": _all_finite(asdict(pair.bootstrap.interval)),
        "probability_b_better": _finite(pair.bootstrap.probability_b_better),
        "mapsswe": _all_finite(asdict(pair.segments)),
        "p_adjusted": pair.p_adjusted,
        "num_better": pair.num_better,
        "num_worse": pair.num_worse,
        "num_different": pair.num_different,
        "verdict": pair.verdict,
    }


def _pair_lines(pair: PairComparison) -> list[str]:
    test = pair.segments
    lines = [f"**{pair.verdict}**"]
    if math.isnan(pair.bootstrap.difference):
        return lines
    lines += [
        "",
        f"- {pair.name_b} minus {pair.name_a}: {100 * pair.bootstrap.difference:+.2f} points, "
        f"{span_text(pair.bootstrap.interval)}",
        f"- probability that {pair.name_b} is better: {pair.bootstrap.probability_b_better:.4f} "
        "(share of the bootstrap samples)",
        f"- MAPSSWE: {test.num_segments:,} segments, z = {test.z:.3f}, "
        f"p {p_text(test.p_value)}, after Holm's correction p {p_text(pair.p_adjusted)}",
        f"- {pair.num_different:,} utterances differ; {pair.name_b} is better on "
        f"{pair.num_better:,} and worse on {pair.num_worse:,} of them",
    ]
    for one in pair.changed[:_EXAMPLES]:
        lines.append(f"  - {one.utterance_id}: {one.errors_a} -> {one.errors_b} errors")
    return lines


def comparison_to_csv(comparison: Comparison) -> str:
    """A row for each utterance of each pair whose number of errors changed."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    names = "a b utterance_id errors_a errors_b reference hypothesis_a hypothesis_b"
    writer.writerow(names.split())
    for pair in comparison.pairs:
        for one in pair.changed:
            numbers = (one.errors_a, one.errors_b)
            texts = (one.reference, one.hypothesis_a, one.hypothesis_b)
            writer.writerow([pair.name_a, pair.name_b, one.utterance_id, *numbers, *texts])
    return table.getvalue()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _all_finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in values.items()}
