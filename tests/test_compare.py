"""Verdicts that claim no more than the data, and comparisons that must be refused."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from asr.compare import compare
from asr.compare_report import write_comparison
from asr.compare_text import comparison_to_json, comparison_to_markdown
from asr.errors import AsrError
from asr.report_json import StoredReport


def _report(
    name: str, rate: float, seed: int, *, utterances: int = 200, speakers: int = 20
) -> StoredReport:
    text, draw = random.Random(9), random.Random(seed)
    words = [f"w{number}" for number in range(500)]
    references = {f"u{n}": " ".join(text.choices(words, k=10)) for n in range(utterances)}
    hypotheses = {
        one: " ".join("wrong" if draw.random() < rate else word for word in line.split())
        for one, line in references.items()
    }
    who = {one: f"s{number % speakers}" for number, one in enumerate(references)}
    return StoredReport(
        Path(name) / "report.json", name, "asr-en-1", rate, references, hypotheses, who
    )


def test_a_clear_difference() -> None:
    pair = compare([_report("old", 0.3, 1), _report("new", 0.1, 2)], samples=1000).pairs[0]
    assert pair.bootstrap.interval.high < 0
    assert pair.p_adjusted < 1e-6
    assert pair.num_better > pair.num_worse
    assert pair.verdict.startswith("new makes fewer errors than old, by ")
    assert "20 speakers" in pair.verdict
    assert "not on unlike ones" in pair.verdict


def test_no_difference_is_not_called_equality() -> None:
    pair = compare([_report("a", 0.2, 1), _report("b", 0.2, 2)], samples=1000).pairs[0]
    assert pair.verdict.startswith("No difference between b and a has been shown")
    assert "does not make them equal" in pair.verdict


def test_the_same_outputs() -> None:
    pair = compare([_report("a", 0.2, 1), _report("b", 0.2, 1)], samples=500).pairs[0]
    assert pair.verdict == "b and a put out the same words on every utterance."
    assert (pair.num_different, pair.p_adjusted) == (0, 1.0)


def test_tests_that_disagree_are_told() -> None:
    """One speaker of six is far better, the others the same: many segments, but one voice."""
    a, b = (_report(name, 0.2, 1, speakers=6) for name in "ab")
    hypotheses = {
        one: b.references[one] if b.speakers[one] == "s0" else text
        for one, text in b.hypotheses.items()
    }
    pair = compare([a, replace(b, hypotheses=hypotheses)], samples=2000).pairs[0]
    assert pair.p_adjusted < 0.01
    assert pair.bootstrap.interval.high >= 0
    assert "the two tests disagree" in pair.verdict


def test_a_few_differences_alike_prove_little() -> None:
    """One error in each of four utterances of 200: p of the sign test, not of a normal variable."""
    a, b = (_report(name, 0.0, 1) for name in "ab")
    hypotheses = dict(a.hypotheses)
    for one in list(hypotheses)[:4]:
        hypotheses[one] = hypotheses[one].replace("w", "x", 1)
    pair = compare([replace(a, hypotheses=hypotheses), b], samples=500).pairs[0]
    assert pair.p_adjusted == 0.125
    assert "expect the same" not in pair.verdict


def test_one_utterance_says_nothing_of_others() -> None:
    a, b = (_report(name, 0.0, 1, utterances=1) for name in "ab")
    wrong = replace(a, hypotheses={"u0": "wrong " + a.references["u0"]})
    comparison = compare([wrong, b], samples=500)
    assert comparison.pairs[0].verdict == (
        "b makes fewer errors than a here, by 10.00 points of WER, and too few utterances have words "
        "to tell whether that holds for others (MAPSSWE p = 1.00)."
    )
    assert "nan" not in comparison_to_markdown(comparison)
    silent = [replace(one, references={"u0": ""}) for one in (wrong, b)]
    comparison = compare(silent, samples=500)
    assert comparison.pairs[0].verdict.startswith("The references have no words")
    assert "nan" not in comparison_to_markdown(comparison)


def test_speakers_count_whichever_report_names_them() -> None:
    a, b = _report("a", 0.2, 1), replace(_report("b", 0.2, 2), speakers={})
    units = [
        compare(reports, samples=500).pairs[0].bootstrap.interval.num_units
        for reports in ([a, b], [b, a])
    ]
    assert units == [20, 20]


def test_three_systems_are_corrected() -> None:
    comparison = compare(
        [_report(n, r, i) for i, (n, r) in enumerate([("a", 0.2), ("b", 0.2), ("c", 0.17)])],
        samples=1000,
    )
    assert [(one.name_a, one.name_b) for one in comparison.pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    raw = sorted(one.segments.p_value for one in comparison.pairs)
    assert min(one.p_adjusted for one in comparison.pairs) == pytest.approx(3 * raw[0])
    assert comparison.pairs[0].bootstrap.interval.level == pytest.approx(1 - 0.05 / 3)


def test_other_normalisers_are_refused_unless_forced() -> None:
    other = replace(_report("b", 0.1, 2), normalizer="none")
    with pytest.raises(AsrError, match=r"different normalisers.*\(none\).*--force"):
        compare([_report("a", 0.2, 1), other])
    forced = compare([_report("a", 0.2, 1), other], force=True, samples=500)
    assert "different normalisers" in forced.notes[0]


def test_other_references_are_refused_unless_forced() -> None:
    first, other = _report("a", 0.2, 1), _report("b", 0.1, 2)
    other = replace(other, references={**other.references, "u3": "something else"})
    with pytest.raises(AsrError, match="different references for 1 utterances, such as 'u3'"):
        compare([first, other])
    assert compare([first, other], force=True, samples=500).pairs


def test_only_shared_utterances_are_compared() -> None:
    comparison = compare([_report("a", 0.2, 1), _report("b", 0.1, 2, utterances=150)], samples=500)
    assert len(comparison.systems[0].score.utterances) == 150
    assert "Only the 150 utterances" in comparison.notes[0]


def test_nothing_shared_or_nothing_to_compare() -> None:
    other = replace(_report("b", 0.1, 2), references={"x": "y"}, hypotheses={"x": "y"})
    with pytest.raises(AsrError, match="no utterance in common"):
        compare([_report("a", 0.2, 1), other])
    with pytest.raises(AsrError, match="at least two"):
        compare([_report("a", 0.2, 1)])


def test_systems_of_one_name_are_told_apart_by_path() -> None:
    second = replace(_report("a", 0.1, 2), path=Path("elsewhere/report.json"))
    names = [one.name for one in compare([_report("a", 0.2, 1), second], samples=500).systems]
    assert names == ["a", "elsewhere"]
    deep = [replace(_report("a", 0.2, n), path=Path(f"run{n}/report/report.json")) for n in (1, 2)]
    assert [one.name for one in compare(deep, samples=500).systems] == [
        "run1/report",
        "run2/report",
    ]


def test_files(tmp_path: Path) -> None:
    comparison = compare([_report("old", 0.3, 1), _report("new", 0.1, 2)], samples=500)
    out = write_comparison(comparison, tmp_path / "out").parent
    assert comparison.pairs[0].verdict in (out / "comparison.md").read_text()
    assert comparison_to_json(comparison)["pairs"][0]["mapsswe"]["num_segments"] > 100
    changed = (out / "changed.csv").read_text().splitlines()
    assert len(changed) == 1 + len(comparison.pairs[0].changed)
    assert "p = <" not in comparison_to_markdown(comparison)


def test_page_escapes_and_runs_no_script(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    first = _report(bad, 0.2, 1)
    hypotheses = {**first.hypotheses, "u0": bad}
    comparison = compare([first, replace(first, name="b", hypotheses=hypotheses)], samples=500)
    page = write_comparison(comparison, tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in page
    assert "default-src 'none'" in page
    assert 'class="pair I"' in page or 'class="pair D"' in page
