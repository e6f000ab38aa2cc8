import itertools
import json
import re

import pytest

from asr.errors import UsageError
from asr.formats import (
    COMBINED_FORMATS,
    FILE_FORMATS,
    Labelled,
    parse_formats,
    transcript_from_json,
)
from asr.subtitles import MAX_CUE_S, MAX_LINE_CHARACTERS, Cue, break_lines, split_cues
from asr.transcript import Transcript, Word

HELLO = Transcript(
    "hello there",
    (Word("hello", 0.5, 0.9, 0.987654), Word("there", 2.0004, 2.34, 0.5)),
    3.25,
)
LABELLED = Labelled(HELLO, "talk 1", "talks/talk 1.wav")
EMPTY = Labelled(Transcript("", (), 1.5), "nothing", "nothing.wav")


def render(name, labelled=LABELLED):
    return {**FILE_FORMATS, **COMBINED_FORMATS}[name](labelled)


def test_txt():
    assert render("txt") == "hello there\n"
    assert render("txt", EMPTY) == "\n"


def test_srt():
    """The first cue stays for a second; the second ends with the recording."""
    assert render("srt") == (
        "1\n00:00:00,500 --> 00:00:01,500\nhello\n\n2\n00:00:02,000 --> 00:00:03,000\nthere\n"
    )
    assert render("srt", EMPTY) == ""


def test_vtt_escapes_markup():
    labelled = Labelled(Transcript("a<b & c", (Word("a<b & c", 0.0, 2.0, 1.0),), 2.0), "x", "x")
    assert render("vtt", labelled) == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na&lt;b &amp; c\n"
    assert render("vtt", EMPTY) == "WEBVTT\n"


def test_tsv_has_whispers_columns():
    assert render("tsv") == "start\tend\ttext\n500\t1500\thello\n2000\t3000\tthere\n"


def test_json():
    assert json.loads(render("json")) == {
        "audio_filepath": "talks/talk 1.wav",
        "utterance_id": "talk 1",
        "text": "hello there",
        "duration": 3.25,
        "words": [
            {"word": "hello", "start": 0.5, "end": 0.9, "confidence": 0.9877},
            {"word": "there", "start": 2.0, "end": 2.34, "confidence": 0.5},
        ],
    }


def test_jsonl_is_a_line_and_a_manifest_line(tmp_path):
    from asr.manifest import read_manifest

    line = render(
        "jsonl", Labelled(HELLO, "talk 1", "a\nb.wav", extra={"speaker": "s", "text": "?"})
    )
    assert line.count("\n") == 1
    (tmp_path / "m.jsonl").write_text(line)
    (utterance,) = read_manifest(tmp_path / "m.jsonl")
    assert (utterance.utterance_id, utterance.text) == ("talk 1", "hello there")
    assert (utterance.duration_s, utterance.speaker_id) == (3.25, "s")


def test_json_of_a_name_that_is_no_utf8_is_still_utf8():
    line = render("jsonl", Labelled(HELLO, "x", "caf\udce9.wav"))
    assert json.loads(line.encode())["audio_filepath"] == "caf\udce9.wav"
    assert "中" in render("jsonl", Labelled(HELLO, "x", "中.wav"))


def test_a_transcript_read_back_renders_the_same():
    again = transcript_from_json(json.loads(render("json")))
    for name in (*FILE_FORMATS, *COMBINED_FORMATS):
        assert render(name, Labelled(again, "talk 1", "talks/talk 1.wav")) == render(name)


def test_ctm():
    assert render("ctm") == (
        "talk_1 1 0.500 0.400 hello 0.9877\ntalk_1 1 2.000 0.340 there 0.5000\n"
    )
    assert render("ctm", Labelled(HELLO, "x", "x", channel=1)).startswith("x 2 ")
    assert render("ctm", EMPTY) == ""


def test_trn():
    assert render("trn") == "hello there (talk_1)\n"
    assert render("trn", EMPTY) == "(nothing)\n"


def test_textgrid():
    assert render("TextGrid") == (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        "xmin = 0\nxmax = 3.250\ntiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n"
        '        class = "IntervalTier"\n        name = "words"\n'
        "        xmin = 0\n        xmax = 3.250\n        intervals: size = 5\n"
        + "".join(
            f"        intervals [{n}]:\n            xmin = {start}\n            xmax = {end}\n"
            f'            text = "{text}"\n'
            for n, start, end, text in (
                (1, "0.000", "0.500", ""),
                (2, "0.500", "0.900", "hello"),
                (3, "0.900", "2.000", ""),
                (4, "2.000", "2.340", "there"),
                (5, "2.340", "3.250", ""),
            )
        )
    )


def test_textgrid_intervals_never_overlap_nor_vanish():
    """Words that overlap, that have no length, that end after the recording; a quotation mark."""
    words = (Word('"a"', 0.0, 0.5, 1), Word("b", 0.4, 0.4, 1), Word("c", 0.4, 1.2, 1))
    text = render("TextGrid", Labelled(Transcript('"a" b c', words, 1.0), "x", "x"))
    edges = [float(value) for value in re.findall(r"    xm(?:in|ax) = ([\d.]+)", text)][2:]
    starts, ends = edges[::2], edges[1::2]
    assert starts[1:] == ends[:-1]
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert 'text = """a"""' in text


def test_hours_in_time_stamps():
    words = (Word("late", 3600 * 11 + 62.0006, 3600 * 11 + 64.9996, 1.0),)
    assert "11:01:02,001 --> 11:01:05,000" in render(
        "srt", Labelled(Transcript("late", words, 3600 * 12.0), "x", "x")
    )


def test_parse_formats():
    assert parse_formats(["SRT,json", "textgrid", "srt"]) == ("srt", "json", "TextGrid")
    assert set(parse_formats(["all"])) == {*FILE_FORMATS, *COMBINED_FORMATS}
    with pytest.raises(UsageError, match="unknown format 'docx'; there are: txt, srt"):
        parse_formats(["docx"])


# --- subtitles ------------------------------------------------------------------------------------


def spoken(text, word_s=0.3, gap_s=0.05, start_s=0.0, pauses=()):
    """Words of equal length; `pauses` are the indices of words that come after 0.8 s."""
    words = []
    for index, word in enumerate(text.split()):
        start_s += 0.8 if index in pauses else 0.0
        words.append(Word(word, start_s, start_s + word_s, 1.0))
        start_s += word_s + gap_s
    return Transcript(text, tuple(words), start_s + 1.0)


STORY = (
    "it was the best of times it was the worst of times it was the age of wisdom it was the age "
    "of foolishness it was the epoch of belief it was the epoch of incredulity it was the season "
    "of light it was the season of darkness it was the spring of hope it was the winter of despair"
)


def test_cues_fit_the_screen_and_lose_no_word():
    transcript = spoken(STORY)
    cues = split_cues(transcript)
    assert " ".join(" ".join(cue.lines) for cue in cues) == STORY
    assert all(len(cue.lines) <= 2 for cue in cues)
    assert max(len(line) for cue in cues for line in cue.lines) <= MAX_LINE_CHARACTERS
    assert all(cue.end_s - cue.start_s <= MAX_CUE_S for cue in cues)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(cues))


def test_a_pause_ends_a_cue():
    cues = split_cues(spoken("one two three four five six", pauses=(4,)))
    assert [cue.lines for cue in cues] == [("one two three four",), ("five six",)]


def test_a_long_phrase_is_cut_at_its_longest_inner_pause():
    """A gap of 0.4 s, too short to be a pause, after the ninth word."""
    words = list(spoken(STORY).words[:30])
    words[9:] = [Word(w.text, w.start_s + 0.35, w.end_s + 0.35, 1.0) for w in words[9:]]
    first = split_cues(Transcript("", tuple(words), 60.0))[0]
    assert " ".join(first.lines) == "it was the best of times it was the"


def test_a_short_word_stays_a_second_but_never_into_the_next_cue():
    words = (Word("yes", 1.0, 1.2, 1.0), Word("no", 1.9, 2.1, 1.0))
    cues = split_cues(Transcript("yes no", words, 2.5))
    assert cues == [Cue(1.0, 1.9, ("yes",)), Cue(1.9, 2.5, ("no",))]


def test_lines_break_evenly():
    assert break_lines(["a", "few", "words"]) == ("a few words",)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again"]
    assert break_lines(words) == ("the quick brown fox jumps", "over the lazy dog again")


def test_a_word_longer_than_a_line_is_kept_whole():
    transcript = spoken("a " + "x" * 60 + " b")
    assert [line for cue in split_cues(transcript) for line in cue.lines] == ["a", "x" * 60, "b"]


def test_text_without_words_is_one_cue():
    assert split_cues(Transcript("some text", (), 2.0)) == [Cue(0.0, 2.0, ("some text",))]


def test_cues_of_ten_thousand_words_without_a_pause_are_quick():
    import time

    started = time.monotonic()
    assert len(split_cues(spoken("word " * 10_000))) > 500
    assert time.monotonic() - started < 10
