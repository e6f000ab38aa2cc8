"""A score -> report.html, report.json, CSV per utterance and per speaker, trn files, a summary.

Renders and writes; the numbers come from `asr.scoring`, `asr.breakdown` and `asr.significance`.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.breakdown import Analysis, analyse
from asr.errors import AsrError
from asr.facts import ReportFacts, UtteranceFacts
from asr.formats import distinct_fields
from asr.report_json import report_to_json
from asr.report_page import report_to_html
from asr.report_text import report_to_markdown
from asr.scoring import CorpusScore, GroupScore

__all__ = ["ReportFacts", "ReportPaths", "UtteranceFacts", "write_report"]


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the parts of a written report are."""

    folder: Path
    html: Path
    json: Path
    utterances: Path
    speakers: Path
    references: Path
    hypotheses: Path
    summary: Path


def write_report(
    score: CorpusScore,
    out: Path | str,
    *,
    facts: ReportFacts | None = None,
    analysis: Analysis | None = None,
) -> ReportPaths:
    """Write a report into the folder `out`, made where it is missing; files there are replaced.

    Each file appears whole or not at all. `analysis` is counted here unless given.

    Raises:
        AsrError: `out` is a file, or cannot be written.
    """
    facts = facts or ReportFacts()
    analysis = analysis or analyse(score, facts)
    out = Path(out)
    report = report_to_json(score, analysis, facts)
    files = {
        "report.html": report_to_html(score, analysis, facts, out),
        "report.json": json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        "utterances.csv": _utterance_rows(score, facts),
        "speakers.csv": _speaker_rows(score.speakers),
        "ref.trn": _trn(score, "reference"),
        "hyp.trn": _trn(score, "hypothesis"),
        "summary.md": report_to_markdown(score, analysis, facts),
    }
    write_files(out, files)
    return ReportPaths(out, *(out / name for name in files))


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts into a folder, made where it is missing; each file whole or not at all.

    Raises:
        AsrError: `folder` is a file, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _write(folder / name, text)
    except OSError as error:
        raise AsrError(f"cannot write to {folder}: {error.strerror or error}") from error


def _write(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(
            handle, "w", encoding="utf-8", newline="\n", errors="backslashreplace"
        ) as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _utterance_rows(score: CorpusScore, facts: ReportFacts) -> str:
    names = "utterance_id speaker duration wer cer hits substitutions deletions insertions"
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*names.split(), "reference_words", "missing", "reference", "hypothesis"])
    none = UtteranceFacts()
    for one in score.utterances:
        words, duration = one.words, facts.utterances.get(one.utterance_id, none).duration_s
        cer = one.characters.error_rate if one.characters else float("nan")
        numbers = (words.hits, words.substitutions, words.deletions, words.insertions)
        writer.writerow(
            [
                one.utterance_id,
                one.speaker_id or "",
                "" if duration is None else f"{duration:.3f}",
                _fraction(one.wer),
                _fraction(cer),
                *numbers,
                words.num_reference,
                int(one.missing),
                one.reference,
                one.hypothesis,
            ]
        )
    return table.getvalue()


def _speaker_rows(speakers: tuple[GroupScore, ...]) -> str:
    names = "speaker utterances wer cer sentence_error_rate hits substitutions deletions insertions"
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*names.split(), "reference_words"])
    for one in speakers:
        words = one.words
        numbers = (words.hits, words.substitutions, words.deletions, words.insertions)
        rates = (_fraction(one.wer), _fraction(one.cer), _fraction(one.sentence_error_rate))
        writer.writerow([one.name, one.num_utterances, *rates, *numbers, words.num_reference])
    return table.getvalue()


def _fraction(value: float) -> str:
    """A rate for a table; nothing where there is none."""
    return "" if value != value else f"{value:.6f}"


def _trn(score: CorpusScore, side: str) -> str:
    names = distinct_fields(one.utterance_id for one in score.utterances)
    lines = zip(score.utterances, names, strict=True)
    return "".join(f"{getattr(one, side)} ({name})\n" for one, name in lines)
