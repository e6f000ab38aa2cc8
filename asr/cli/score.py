"""`asr score`: any two texts -> WER report; `asr compare`: is one system better than another."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class MissingPolicy(enum.Enum):
    """What to do with a reference that has no hypothesis."""

    ERROR = "error"
    COUNT = "count"
    IGNORE = "ignore"


_FORMAT_HELP = "trn, text (Kaldi), tsv, csv, jsonl, ctm, stm or folder; else by suffix and content."
_FORCE_HELP = "Compare under different normalisers or references all the same."


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("score")(score)
    app.command("compare")(compare)


def score(
    reference: Annotated[Path, typer.Argument(help="What was said.")],
    hypothesis: Annotated[Path, typer.Argument(help="What was recognised.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the report.")] = None,
    normalizer: Annotated[
        str,
        typer.Option(
            help="asr-en-1, asr-en-2, asr-en-2-digits, asr-any-1, none, or whisper-en (extra)."
        ),
    ] = "asr-en-1",
    substitutions: Annotated[
        Path | None, typer.Option(help="File of rules `colour => color`, for both sides.")
    ] = None,
    missing: Annotated[
        MissingPolicy, typer.Option(help="References without a hypothesis: refuse, count, skip.")
    ] = MissingPolicy.COUNT,
    by_line: Annotated[
        bool, typer.Option("--by-line", help="Plain lines without ids, joined by line number.")
    ] = False,
    reference_format: Annotated[str | None, typer.Option(help=_FORMAT_HELP)] = None,
    hypothesis_format: Annotated[str | None, typer.Option(help=_FORMAT_HELP)] = None,
    id_column: Annotated[str | None, typer.Option(help="Column or key of the id.")] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column or key of the reference text.")
    ] = None,
    hypothesis_column: Annotated[
        str | None, typer.Option(help="Column or key of the hypothesis text.")
    ] = None,
    speaker_column: Annotated[
        str | None, typer.Option(help="Column or key of the speaker.")
    ] = None,
    speakers: Annotated[
        Path | None, typer.Option(help="File with `id speaker` a line (Kaldi's utt2spk).")
    ] = None,
    speaker_pattern: Annotated[
        str | None, typer.Option(help="Regular expression: the speaker's part of an id.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="Words the system knows, one a line: errors in and out.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of both files.")] = "utf-8",
    title: Annotated[str | None, typer.Option(help="Headline of the page.")] = None,
    name: Annotated[str | None, typer.Option(help="The system's name in comparisons.")] = None,
    samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    fail_above: Annotated[
        float | None, typer.Option(metavar="WER", help="Exit status 1 above this WER in percent.")
    ] = None,
) -> int:
    """Score any system's output against references, joined by utterance id.

    Prints WER with a 95 % interval; with -o writes report.html, report.json, utterances.csv,
    speakers.csv, ref.trn, hyp.trn and summary.md.

    Example: asr score dev-clean.jsonl hypotheses.trn -o report
    """
    from asr.breakdown import analyse
    from asr.report import write_report
    from asr.report_text import headline, percent
    from asr.score_files import ScoreOptions, score_files
    from asr.textfiles import Columns

    options = ScoreOptions(
        reference_format=reference_format,
        hypothesis_format=hypothesis_format,
        by_line=by_line,
        reference_columns=Columns(id_column, text_column, speaker_column),
        hypothesis_columns=Columns(id_column, hypothesis_column, speaker_column),
        encoding=encoding,
        missing=missing.value,
        normalizer=normalizer,
        substitutions=substitutions,
        speakers=speakers,
        speaker_pattern=speaker_pattern,
        vocabulary=vocabulary,
        title=title,
        system=name,
    )
    scored = score_files(reference, hypothesis, options)
    analysis = analyse(scored.score, scored.facts, samples=samples, seed=seed)
    typer.echo(headline(scored.score, analysis.interval))
    typer.echo(f"CER {percent(scored.score.cer)}; normaliser {scored.score.normalizer}")
    for note in (*scored.facts.notes, *analysis.notes):
        typer.echo(f"note: {note}")
    if out is not None:
        paths = write_report(scored.score, out, facts=scored.facts, analysis=analysis)
        typer.echo(f"report: {paths.html}")
    if fail_above is not None and not 100 * scored.score.wer <= fail_above:
        typer.echo(f"WER {percent(scored.score.wer)} is above {fail_above:g} %", err=True)
        return 1
    return 0


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Two or more reports (folders or .json).")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the files.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Name of a system, once for each report, in order.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help=_FORCE_HELP)] = False,
    samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> int:
    """Say whether one system is better than another, with paired tests and no overclaiming.

    Prints Markdown; with -o writes comparison.html, comparison.json, comparison.md and changed.csv.

    Example: asr compare reports/greedy reports/beam
    """
    from dataclasses import replace

    from asr.compare import compare as compare_reports
    from asr.compare_report import write_comparison
    from asr.compare_text import comparison_to_markdown
    from asr.errors import UsageError
    from asr.report_json import read_report

    if len(reports) < 2:
        raise UsageError("a comparison needs at least two reports")
    if name and len(name) != len(reports):
        raise UsageError(f"{len(reports)} reports but {len(name)} names; give one --name for each")
    stored = [read_report(path) for path in reports]
    stored = (
        [replace(one, name=new) for one, new in zip(stored, name, strict=True)] if name else stored
    )
    comparison = compare_reports(stored, force=force, samples=samples, seed=seed)
    typer.echo(comparison_to_markdown(comparison), nl=False)
    if out is not None:
        typer.echo(f"\ncomparison: {write_comparison(comparison, out)}")
    return 0
