"""Groups, confusions, compounds, vocabulary, confidence: each by a case counted by hand."""

import pytest

from asr.breakdown import analyse, breakdowns, judged_words, vocabulary_split
from asr.confusions import Confusion, compound_errors, letter_errors, word_errors
from asr.facts import ReportFacts, UtteranceFacts
from asr.scoring import score


def test_groups_by_field_duration_and_rate() -> None:
    result = score(
        {"a": "one two", "b": "three four", "c": "five"},
        {"a": "one", "b": "three four", "c": "five"},
    )
    facts = {
        "a": UtteranceFacts(1.0, fields={"gender": "F", "id": "1", "same": "x"}),
        "b": UtteranceFacts(4.0, fields={"gender": "M", "id": "2", "same": "x"}),
        "c": UtteranceFacts(4.5, fields={"gender": "F", "id": "3", "same": "x"}),
    }
    cuts = {
        one.by: {group.name: group.wer for group in one.groups} for one in breakdowns(result, facts)
    }
    assert cuts["gender"] == {"F": pytest.approx(1 / 3), "M": 0.0}
    assert cuts["duration (s)"] == {"< 2": 0.5, "2 – 5": 0.0}
    assert cuts["speaking rate (words/s)"] == {"< 1.5": 0.0, "2 – 2.5": 0.5}
    assert set(cuts) == {
        "gender",
        "duration (s)",
        "speaking rate (words/s)",
    }  # neither ids nor constants


def test_confusions_with_what_fixing_them_is_worth() -> None:
    """Four errors in ten words; "their" for "there" twice: 0.4 would be 0.2."""
    result = score(
        {"u": "there it is there a b c d e f"}, {"u": "their it was their a b c d e f um"}
    )
    substitutions, deletions, insertions = word_errors(result)
    assert substitutions == (
        Confusion("there", "their", 2, 0.2),
        Confusion("is", "was", 1, pytest.approx(0.3)),
    )
    assert deletions == ()
    assert insertions == (Confusion("", "um", 1, pytest.approx(0.3)),)


def test_compounds_and_their_exact_worth() -> None:
    """every one / everyone costs two errors and is one difference; so does in to / into."""
    result = score(
        {"u": "every one walks into town", "v": "no one is every one"},
        {"u": "everyone walks in to town", "v": "no one is everyone"},
    )
    assert result.counts.errors == 6
    found = {(one.reference, one.hypothesis): one for one in compound_errors(result)}
    assert found["every one", "everyone"].count == 2
    assert found["every one", "everyone"].rate_if_fixed == pytest.approx((6 - 4) / 10)
    assert found["into", "in to"].rate_if_fixed == pytest.approx((6 - 2) / 10)
    assert len(found) == 2


def test_compound_next_to_another_error() -> None:
    result = score({"u": "go may be now"}, {"u": "so maybe now"})
    (found,) = compound_errors(result)
    assert (found.reference, found.hypothesis) == ("may be", "maybe")


def test_letters() -> None:
    result = score({"u": "bad bat"}, {"u": "bed bet"})
    assert letter_errors(result) == (Confusion("a", "e", 2, 0.0),)
    with pytest.raises(ValueError, match="without characters"):
        letter_errors(score({"u": "a"}, {"u": "b"}, characters=False))


def test_words_in_and_out_of_the_vocabulary() -> None:
    result = score(
        {"u": "the cat purrs", "v": "the dog"}, {"u": "the cat pours", "v": "um the dog"}
    )
    split = vocabulary_split(result, ReportFacts(vocabulary=frozenset({"the", "cat", "dog"})))
    assert split is not None
    assert (split.known.hits, split.known.errors) == (4, 0)
    assert (split.unknown.num_reference, split.unknown.substitutions) == (1, 1)
    assert (split.rate, split.unknown_words) == (0.2, (("purrs", 1),))
    assert vocabulary_split(result, ReportFacts()) is None


def test_judged_words() -> None:
    """A deleted word has no confidence; words and confidences that do not match are left out."""
    result = score({"u": "a b c d"}, {"u": "a x y"})
    facts = {"u": UtteranceFacts(confidences=(1.0, 0.95, 0.25))}
    assert judged_words(result, facts) == (("a", 1.0, True), ("x", 0.95, False), ("y", 0.25, False))
    assert judged_words(result, {"u": UtteranceFacts(confidences=(1.0,))}) == ()


def test_notes_tell_what_a_reader_must_know() -> None:
    result = score(
        {"a": "x", "b": "...", "c": "y"},
        {"a": "x", "b": "um er", "z": "q"},
        speakers={"a": "s"},
        normalize=lambda text: text.strip("."),
    )
    notes = " ".join(analyse(result, samples=200).notes)
    assert "1 utterance without a hypothesis: the words count as deletions" in notes
    assert "1 hypothesis without a reference: not scored" in notes
    assert (
        "1 empty reference, 1 of them only after normalisation: 2 words recognised there" in notes
    )
    assert "2 utterances without a speaker" in notes
