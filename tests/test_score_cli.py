"""`asr score` and `asr compare` as a user meets them."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from asr.cli import score as score_commands
from asr.errors import AsrError
from asr.score_files import ScoreOptions, score_files
from asr.substitutions import read_substitutions
from asr.textfiles import Columns


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """3 errors in 10 words: the colour of the word, and an utterance that is missing."""
    reference, hypothesis = tmp_path / "ref.trn", tmp_path / "hyp.txt"
    reference.write_text("The colour is grey. (a-1)\nOne, two three! (a-2)\nnot there at (b-1)\n")
    hypothesis.write_text("a-1 the color is grey\na-2 one two three\nzz what\n")
    return reference, hypothesis


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    score_commands.register(app)
    return CliRunner().invoke(app, [str(one) for one in arguments], standalone_mode=False)


def test_score_prints_and_writes(files: tuple[Path, Path], tmp_path: Path) -> None:
    done = _run("score", *files, "-o", tmp_path / "out", "--speaker-pattern", "^[^-]+")
    assert done.return_value == 0
    assert done.stdout.startswith("WER 40.00 % (95 % interval ")
    assert "1 utterance without a hypothesis" in done.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["wer"], report["normalizer"]) == (0.4, "asr-en-1")
    assert [one["name"] for one in report["breakdowns"][0]["groups"]] == ["a", "b"]


def test_without_out_nothing_is_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert _run("score", *files).return_value == 0
    assert sorted(tmp_path.iterdir()) == before


def test_fail_above(files: tuple[Path, Path]) -> None:
    assert _run("score", *files, "--fail-above", 40).return_value == 0
    failed = _run("score", *files, "--fail-above", 39.9)
    assert failed.return_value == 1
    assert "WER 40.00 % is above 39.9 %" in failed.stderr


def test_missing_policies(files: tuple[Path, Path]) -> None:
    assert "WER 14.29 %" in _run("score", *files, "--missing", "ignore").stdout
    refused = _run("score", *files, "--missing", "error")
    assert isinstance(refused.exception, AsrError)


def test_normalisers_and_substitutions(files: tuple[Path, Path], tmp_path: Path) -> None:
    rules = tmp_path / "rules.glm"
    rules.write_text(";; spelling\n[Colour] => [color] / [ ] __ [ ]\nnot there at =>\n")
    plain = score_files(*files, ScoreOptions(normalizer="none")).score
    assert plain.counts.errors == 8  # five by case, spelling and punctuation, three deleted
    mapped = score_files(*files, ScoreOptions(substitutions=rules)).score
    assert mapped.wer == 0.0
    assert mapped.normalizer.startswith("asr-en-1+rules.glm@")
    spoken = score_files(*files).score.utterances[1]
    assert spoken.reference == "one two three"  # and never "123"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\n", r"rules:1: a rule is"),
        ("a => b\na => c\n", r"rules:2: 'a' has another rule"),
        ("! => b\n", r"rules:1: nothing is left of '!'"),
        ("[a] => [b] / [x] __ [ ]\n", r"rules:1: rules that depend on their neighbours"),
        ("[a] => [{b c / b d}] / [ ] __ [ ]\n", r"rules:1: alternatives in braces"),
    ],
)
def test_bad_substitutions(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules").write_text(text)
    with pytest.raises(AsrError, match=message):
        read_substitutions(tmp_path / "rules", lambda one: one.strip("!"))


def test_a_normaliser_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ref.tsv").write_text("u\tمرحبا بالعالم\n", encoding="utf-8")
    (tmp_path / "hyp.tsv").write_text("u\tمرحبا\n", encoding="utf-8")
    with pytest.raises(AsrError, match=r"asr-en-1 leaves nothing of 1 of 1 references.*asr-any-1"):
        score_files(tmp_path / "ref.tsv", tmp_path / "hyp.tsv")
    options = ScoreOptions(normalizer="asr-any-1")
    assert score_files(tmp_path / "ref.tsv", tmp_path / "hyp.tsv", options).score.wer == 0.5


def test_letters_that_the_normaliser_drops_are_noted(tmp_path: Path) -> None:
    (tmp_path / "ref.tsv").write_text("u\tsøn\nv\tcafé ole\n", encoding="utf-8")
    (tmp_path / "hyp.tsv").write_text("u\tsæn\nv\tcafé ole\n", encoding="utf-8")
    done = _run("score", tmp_path / "ref.tsv", tmp_path / "hyp.tsv", "-o", tmp_path / "report")
    said = "note: 1 of 2 references have letters that the normaliser asr-en-1 drops, such as 'ø'"
    assert said in done.stdout
    (noted,) = json.loads((tmp_path / "report/report.json").read_text())["notes"]
    assert noted.startswith(said.removeprefix("note: "))
    for name in ("asr-any-1", "asr-en-2", "none"):
        options = ScoreOptions(normalizer=name)
        scored = score_files(tmp_path / "ref.tsv", tmp_path / "hyp.tsv", options)
        assert scored.score.counts.substitutions == 1
        assert scored.facts.notes == ()


def test_composed_and_decomposed_letters_are_the_same_word(tmp_path: Path) -> None:
    (tmp_path / "ref.tsv").write_text("u\tcaf\u00e9\n", encoding="utf-8")
    (tmp_path / "hyp.tsv").write_text("u\tcafe\u0301\n", encoding="utf-8")
    options = ScoreOptions(normalizer="asr-any-1")
    assert score_files(tmp_path / "ref.tsv", tmp_path / "hyp.tsv", options).score.wer == 0.0


def test_plain_lines(tmp_path: Path) -> None:
    reference, hypothesis = tmp_path / "r", tmp_path / "h"
    reference.write_text("I\nhello world\n")
    hypothesis.write_text("\nhello world\n")
    done = _run("score", reference, hypothesis, "--by-line")
    assert "WER 33.33 %" in done.stdout
    hypothesis.write_text("hello world\n")
    with pytest.raises(AsrError, match=r"has 2 lines but .* has 1"):
        score_files(reference, hypothesis, ScoreOptions(by_line=True))


def test_stm_and_ctm(tmp_path: Path) -> None:
    (tmp_path / "r.stm").write_text("rec 1 anna 0 2 hello there\nrec 1 ben 2 4 fine\n")
    (tmp_path / "h.ctm").write_text("rec 1 0.1 0.4 hello\nrec 1 2.5 0.5 fine\n")
    result = score_files(tmp_path / "r.stm", tmp_path / "h.ctm").score
    assert result.counts.deletions == 1
    assert [one.name for one in result.speakers] == ["anna", "ben"]


def test_speaker_file_and_patterns(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("a-1 anna\na-2 anna\nb-1 ben\n")
    result = score_files(*files, ScoreOptions(speakers=tmp_path / "utt2spk")).score
    assert [one.name for one in result.speakers] == ["anna", "ben"]
    with pytest.raises(AsrError, match="matches no utterance id, such as 'a-1'"):
        score_files(*files, ScoreOptions(speaker_pattern="^x"))
    with pytest.raises(AsrError, match="--speaker-pattern"):
        score_files(*files, ScoreOptions(speaker_pattern="("))
    (tmp_path / "utt2spk").write_text("x-1 anna\n")
    with pytest.raises(AsrError, match="has no utterance id of .*, such as 'a-1'"):
        score_files(*files, ScoreOptions(speakers=tmp_path / "utt2spk"))
    for name in ("r.jsonl", "h.jsonl"):
        (tmp_path / name).write_text('{"id": "u", "text": "one"}\n')
    options = ScoreOptions(reference_columns=Columns(speaker="who"))
    with pytest.raises(AsrError, match="--speaker-column 'who': neither file"):
        score_files(tmp_path / "r.jsonl", tmp_path / "h.jsonl", options)


def test_vocabulary_is_the_first_word_of_each_line(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "lexicon").write_text("The DH AH\nis IH Z\n")
    facts = score_files(*files, ScoreOptions(vocabulary=tmp_path / "lexicon")).facts
    assert facts.vocabulary == {"the", "is"}


def test_whisper_normaliser_needs_its_extra(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "whisper_normalizer", None)
    with pytest.raises(AsrError, match=r"pip install 'asr\[whisper\]'"):
        score_files(*files, ScoreOptions(normalizer="whisper-en"))


def test_whisper_normaliser(files: tuple[Path, Path]) -> None:
    pytest.importorskip("whisper_normalizer")
    result = score_files(*files, ScoreOptions(normalizer="whisper-en")).score
    assert result.normalizer.startswith("whisper-en-0.")
    assert result.utterances[0].reference == "the color is gray"


def test_compare_two_reports(files: tuple[Path, Path], tmp_path: Path) -> None:
    reference, hypothesis = files
    _run("score", reference, hypothesis, "-o", tmp_path / "a", "--name", "bad")
    _run("score", reference, reference, "-o", tmp_path / "b", "--name", "good")
    done = _run("compare", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c", "--samples", 500)
    assert done.return_value == 0
    assert "| bad | 40.00 %" in done.stdout
    assert "good minus bad: -40.00 points" in done.stdout
    assert (tmp_path / "c" / "changed.csv").is_file()
    named = _run("compare", tmp_path / "a", tmp_path / "b", "--name", "old", "--name", "new")
    assert "new minus old: -40.00 points" in named.stdout
    assert isinstance(
        _run("compare", tmp_path / "a", tmp_path / "b", "--name", "x").exception, AsrError
    )


def test_trn_files_of_a_report_are_read_again(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("id,text\nmy talk,hello there\nmy_talk,good day\ntalk (2),bye\n")
    _run("score", table, shutil.copy(table, tmp_path / "b.csv"), "-o", tmp_path / "report")
    again = score_files(tmp_path / "report" / "ref.trn", tmp_path / "report" / "hyp.trn").score
    assert [one.reference for one in again.utterances] == ["hello there", "good day", "bye"]


def test_compare_needs_two(tmp_path: Path) -> None:
    assert isinstance(_run("compare", tmp_path).exception, AsrError)
