"""Scores joined by id, counted by jiwer, with NIST sclite as the oracle."""

import doctest
import math
import random
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from asr import confusions, edits, report_text, scoring, significance, substitutions, textrows
from asr.edits import align_words, count_spans
from asr.scoring import (
    CorpusScore,
    Counts,
    ScoringError,
    score,
)
from asr.textfiles import read_texts

DATA = Path(__file__).parent / "data" / "hypotheses"


@pytest.mark.parametrize(
    "module", [edits, scoring, significance, confusions, report_text, substitutions, textrows]
)
def test_examples_in_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0


def test_texts_meet_by_id_and_not_by_place() -> None:
    references = {"a": "one two three", "b": "four five"}
    result = score(references, {"b": "four five", "a": "one two three"})
    assert result.wer == 0.0
    assert [one.utterance_id for one in result.utterances] == ["a", "b"]


def test_corpus_rate_is_not_the_mean_of_rates() -> None:
    """1 error in 1 word and 0 in 9: 10 % of the corpus, though the mean of the rates is 50 %."""
    result = score({"a": "no", "b": "a b c d e f g h i"}, {"a": "yes", "b": "a b c d e f g h i"})
    assert result.wer == pytest.approx(0.1)


def test_one_letter_utterances_are_not_dropped() -> None:
    """jiwer's command drops them and prints 0.0 here; the rate is 4/3."""
    result = score({"a": "a", "b": "hello world"}, {"a": "hello world", "b": ""})
    assert result.counts.errors == 4
    assert result.wer == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("missing", "counts"),
    [("count", Counts(hits=1, deletions=2)), ("ignore", Counts(hits=1))],
)
def test_missing_hypotheses(missing: str, counts: Counts) -> None:
    result = score({"a": "yes", "b": "gone away"}, {"a": "yes", "x": "hm"}, missing=missing)  # type: ignore[arg-type]
    assert result.counts == counts
    assert result.missing_ids == ("b",)
    assert result.extra_ids == ("x",)


def test_missing_hypotheses_can_be_refused() -> None:
    with pytest.raises(ScoringError, match=r"1 of 2 references have no hypothesis \('b'\)"):
        score({"a": "yes", "b": "no"}, {"a": "yes"}, missing="error")


def test_ids_that_meet_nowhere_are_an_error_with_examples() -> None:
    with pytest.raises(ScoringError, match=r"'utt1'.*'wav/utt1'.*another column"):
        score({"utt1": "a"}, {"wav/utt1": "a"})


def test_no_hypotheses_at_all_are_all_deletions() -> None:
    assert score({"a": "one two"}, {}).counts == Counts(deletions=2)


def test_no_references_is_an_error() -> None:
    with pytest.raises(ScoringError, match="no references"):
        score({}, {"a": "x"})


def test_empty_references_are_counted_and_shown_apart() -> None:
    result = score({"a": "one two", "b": "", "c": ""}, {"a": "one two", "b": "um er", "c": ""})
    assert result.wer == pytest.approx(2 / 2)
    assert result.empty_references.num_utterances == 2
    assert result.empty_references.words.insertions == 2
    assert math.isnan(result.utterances[1].wer)


def test_no_reference_words_at_all_have_no_rate() -> None:
    """jiwer returns the number of inserted words, 3, as if it were a rate."""
    result = score({"a": ""}, {"a": "a b c"})
    assert math.isnan(result.wer)
    assert math.isnan(result.cer)
    assert result.counts.insertions == 3


def test_normaliser_is_applied_to_both_sides_and_named() -> None:
    result = score(
        {"a": "Hello."}, {"a": "hello"}, normalize=lambda t: t.lower().strip("."), normalizer="n-1"
    )
    assert (result.wer, result.normalizer) == (0.0, "n-1")
    assert result.utterances[0].raw_reference == "Hello."


def test_character_rate_counts_spaces() -> None:
    result = score({"a": "ab cd"}, {"a": "abcd"})
    assert result.character_counts == Counts(hits=4, deletions=1)
    assert result.cer == pytest.approx(1 / 5)
    assert score({"a": "x"}, {"a": "x"}, characters=False).character_counts is None


def test_rates_of_counts() -> None:
    """MER and WIL by their definitions: H=3 S=1 D=1 I=2, reference 5, hypothesis 6."""
    counts = Counts(hits=3, substitutions=1, deletions=1, insertions=2)
    assert counts.error_rate == pytest.approx(4 / 5)
    assert counts.match_error_rate == pytest.approx(4 / 7)
    assert counts.information_lost == pytest.approx(1 - 3 / 5 * 3 / 6)
    assert Counts(deletions=2).information_lost == 1.0


def test_speakers_are_summed_by_words() -> None:
    result = score(
        {"a": "one two", "b": "three", "c": "four"},
        {"a": "one", "b": "three", "c": "for"},
        speakers={"a": "S", "b": "S", "c": "T"},
    )
    assert [(one.name, one.wer) for one in result.speakers] == [("S", 1 / 3), ("T", 1.0)]
    assert result.speakers[0].sentence_error_rate == 0.5


def test_a_hypothesis_of_100_000_words_and_other_scripts() -> None:
    result = score(
        {"long": "one two three", "ar": "مرحبا بالعالم", "hi": "नमस्ते"},
        {"long": " ".join(["one two three", *["blah"] * 99_997]), "ar": "مرحبا", "hi": "नमस्ते"},
    )
    assert result.counts == Counts(hits=5, deletions=1, insertions=99_997)


def test_alignment_is_least_cost_by_brute_force() -> None:
    draw = random.Random(0)
    for _ in range(200):
        pair = tuple(" ".join(draw.choices("abc", k=draw.randint(0, 5))) for _ in range(2))
        errors = count_spans(align_words([pair])[0]).errors  # type: ignore[list-item]
        assert errors == _distance(pair[0].split(), pair[1].split())


def _distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein by its recursive definition."""
    if not reference or not hypothesis:
        return len(reference) + len(hypothesis)
    if reference[0] == hypothesis[0]:
        return _distance(reference[1:], hypothesis[1:])
    return 1 + min(
        _distance(reference[1:], hypothesis[1:]),
        _distance(reference[1:], hypothesis),
        _distance(reference, hypothesis[1:]),
    )


def test_totals_equal_sclite_on_10000_pairs(tmp_path: Path) -> None:
    """Corrupted sentences of a 3,000-word vocabulary, 40 % of the words touched."""
    draw = random.Random(1)
    vocabulary = [f"w{number}" for number in range(3000)]
    references = {f"s-{n}": draw.choices(vocabulary, k=draw.randint(1, 12)) for n in range(10_000)}
    hypotheses = {name: _corrupt(draw, words, vocabulary) for name, words in references.items()}
    ours, theirs = _both(references, hypotheses, tmp_path)
    assert ours.counts.errors == theirs["errors"] > 20_000
    assert ours.counts.num_reference == theirs["words"]
    wrong = sum(1 for one in ours.utterances if one.words.errors)
    assert wrong == theirs["wrong"]


def test_sclite_never_finds_fewer_errors(tmp_path: Path) -> None:
    """Unrelated word salad: sclite's weights 4/3/3 may cost it some errors, never gain any."""
    draw = random.Random(2)
    vocabulary = [f"w{number}" for number in range(5)]
    references = {f"s-{n}": draw.choices(vocabulary, k=draw.randint(1, 12)) for n in range(3000)}
    hypotheses = {name: draw.choices(vocabulary, k=draw.randint(1, 12)) for name in references}
    ours, theirs = _both(references, hypotheses, tmp_path)
    assert ours.counts.errors <= theirs["errors"] <= 1.005 * ours.counts.errors


def test_real_hypotheses_equal_sclite(tmp_path: Path) -> None:
    """What a model of the recipe synthetic/demo put out on its 300 test utterances."""
    references, hypotheses = (
        {name: text.split() for name, text in read_texts(DATA / file, side).texts.items()}
        for file, side in (("ref.trn", "reference"), ("hyp.trn", "hypothesis"))
    )
    ours, theirs = _both(references, hypotheses, tmp_path)
    assert ours.counts.errors == theirs["errors"] == 399
    assert ours.counts.num_reference == theirs["words"] == 2048


def test_real_sentences_equal_sclite(asr_data: Path, tmp_path: Path) -> None:
    """dev-clean's references with words dropped, doubled and misspelt."""
    draw = random.Random(3)
    lines = [
        line.split()
        for file in sorted((asr_data / "LibriSpeech" / "dev-clean").rglob("*.trans.txt"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    references = {line[0]: line[1:] for line in lines}
    vocabulary = [word for words in references.values() for word in words]
    hypotheses = {name: _corrupt(draw, words, vocabulary) for name, words in references.items()}
    ours, theirs = _both(references, hypotheses, tmp_path)
    assert ours.counts.errors == theirs["errors"] > 1000


def _corrupt(draw: random.Random, words: list[str], vocabulary: list[str]) -> list[str]:
    out: list[str] = []
    for word in words:
        chance = draw.random()
        if chance < 0.2:
            out.append(draw.choice(vocabulary))
        elif chance < 0.3:
            out += [word, draw.choice(vocabulary)]
        elif chance > 0.4:
            out.append(word)
    return out


def _both(
    references: dict[str, list[str]], hypotheses: dict[str, list[str]], folder: Path
) -> tuple[CorpusScore, dict[str, int]]:
    if shutil.which("sctk") is None:
        pytest.skip("sclite (Debian package sctk) is not installed")
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        lines = "".join(f"{' '.join(words)} ({one})\n" for one, words in texts.items())
        (folder / f"{name}.trn").write_text(lines, encoding="utf-8")
    command = "sctk sclite -s -i rm -r ref.trn trn -h hyp.trn trn -o rsum stdout"
    output = subprocess.run(
        command.split(), cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    cells = next(line for line in output.splitlines() if "| Sum" in line)
    numbers = [int(number) for number in re.findall(r"\d+", cells)]
    names = ("utterances", "words", "hits", "sub", "del", "ins", "errors", "wrong")
    ours = score(
        {name: " ".join(words) for name, words in references.items()},
        {name: " ".join(words) for name, words in hypotheses.items()},
        characters=False,
    )
    return ours, dict(zip(names, numbers, strict=True))
