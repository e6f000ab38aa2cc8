"""A score in a few lines: the Markdown summary for pull requests, and a line for the terminal."""

from asr.breakdown import Analysis
from asr.facts import ReportFacts
from asr.scoring import CorpusScore
from asr.significance import Interval


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as percent; a dash where there is no rate.

    >>> percent(0.1234), percent(float("nan"))
    ('12.34 %', '–')
    """
    if fraction is None or fraction != fraction:
        return "–"
    return f"{100 * fraction:.{digits}f} %"


def interval_text(interval: Interval) -> str:
    """The interval with its basis, as a reader should quote it."""
    if interval.low != interval.low:
        return "no interval: too few utterances"
    unit = f"{interval.num_units:,} {interval.unit}s"
    return (
        f"{100 * interval.level:.3g} % interval {100 * interval.low:.2f} – {percent(interval.high)}, "
        f"bootstrap over {unit}"
    )


def headline(score: CorpusScore, interval: Interval) -> str:
    """One line: WER, interval, counts."""
    counts = score.counts
    return (
        f"WER {percent(score.wer)} ({interval_text(interval)}); "
        f"{counts.errors:,} errors in {counts.num_reference:,} words: "
        f"{counts.substitutions:,} substituted, {counts.deletions:,} deleted, "
        f"{counts.insertions:,} inserted"
    )


def speed_text(facts: ReportFacts) -> str | None:
    """Speed as times real time, with what it was measured on; None where it is not known."""
    factor = facts.real_time_factor
    if not factor or facts.audio_s is None or facts.wall_s is None:
        return None
    where = f" on {facts.device}" if facts.device else ""
    return (
        f"{1 / factor:.1f}x real time ({facts.audio_s / 60:.1f} min of audio in "
        f"{facts.wall_s:.1f} s{where})"
    )


def report_to_markdown(score: CorpusScore, analysis: Analysis, facts: ReportFacts) -> str:
    """A table of the figures, the notes, and the most frequent errors."""
    counts, total = score.counts, score.total
    rows = [
        ("WER", f"**{percent(score.wer)}** ({interval_text(analysis.interval)})"),
        ("CER", percent(score.cer)),
        ("substitutions / deletions / insertions", _kinds(score)),
        ("utterances with an error", percent(total.sentence_error_rate)),
        ("utterances / reference words", f"{total.num_utterances:,} / {counts.num_reference:,}"),
        ("normaliser", f"`{score.normalizer}`"),
        ("system", facts.system),
        ("decoder", facts.decoder),
        ("speed", speed_text(facts)),
    ]
    lines = [f"### {_cell(facts.title)}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in rows if value]
    lines += ["", *(f"- {_cell(note)}" for note in (*facts.notes, *analysis.notes))]
    if analysis.substitutions:
        errors = ", ".join(
            f"{_cell(one.reference)} → {_cell(one.hypothesis)} ({one.count})"
            for one in analysis.substitutions[:10]
        )
        lines += ["", f"Most frequent substitutions: {errors}"]
    return "\n".join(lines).rstrip() + "\n"


def _kinds(score: CorpusScore) -> str:
    counts = score.counts
    return f"{counts.substitutions:,} / {counts.deletions:,} / {counts.insertions:,}"


def _cell(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
