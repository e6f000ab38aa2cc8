"""Texts out of every format that toolkits write, and a message for everything that is none."""

import json
from pathlib import Path

import pytest

from asr.errors import UsageError
from asr.score_files import ScoreOptions, score_files
from asr.textfiles import Columns, TextFileError, read_texts
from asr.timedfiles import (
    read_ctm,
    read_stm,
    recordings_to_texts,
    segments_to_texts,
    words_to_segments,
)

EXPECTED = {"utt-1": "the cat", "utt-2": ""}


def _file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.trn", "the cat (utt-1)\n (utt-2)\n"),
        ("a.trn", ";; a comment\nthe cat (utt-1)\r\n(utt-2)\r\n"),
        ("text", "utt-1 the cat\nutt-2\n"),
        ("text", "utt-1\tthe cat\nutt-2\n"),
        ("a.tsv", "utt-1\tthe cat\nutt-2\t\n"),
        ("a.tsv", "id\tlocale\tsentence\nutt-1\ten\tthe cat\nutt-2\ten\t\n"),
        ("a.csv", 'path,sentence\nutt-1.wav,"the cat"\nutt-2.wav,\n'),
        ("a.jsonl", '{"id": "utt-1", "text": "the cat"}\n{"id": "utt-2", "text": ""}\n'),
        ("a.json", '{"utt-1": "the cat", "utt-2": ""}'),
        ("a.json", '[{"id": "utt-1", "text": "the cat"},\n {"id": "utt-2", "text": ""}]'),
        (
            "manifest",
            '{"audio_filepath": "utt-1.wav", "text": "the cat"}\n'
            '{"audio_filepath": "utt-2.wav", "text": ""}',
        ),
        ("bom.txt", b"\xef\xbb\xbfutt-1 the cat\nutt-2\n"),
        ("utf16.txt", "utt-1 the cat\nutt-2\n".encode("utf-16")),
    ],
)
def test_formats_are_recognised(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert read_texts(_file(tmp_path, name, text), "reference").texts == EXPECTED


def test_a_folder_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    _file(tmp_path, "utt-2.txt", "")
    _file(tmp_path, "sub/utt-1.txt", "the\ncat\n")
    texts = read_texts(tmp_path, "hypothesis").texts
    assert texts == {"sub/utt-1": "the cat", "utt-2": ""}


def test_pred_text_is_the_hypothesis_and_text_the_reference(tmp_path: Path) -> None:
    line = {"audio_filepath": "a/x.wav", "text": "right", "pred_text": "wrong", "duration": 2.5}
    path = _file(
        tmp_path,
        "nemo.json",
        json.dumps(line) + "\n" + json.dumps(line | {"audio_filepath": "a/y.wav"}),
    )
    assert read_texts(path, "reference").texts == {"a/x": "right", "a/y": "right"}
    hypotheses = read_texts(path, "hypothesis")
    assert hypotheses.texts == {"a/x": "wrong", "a/y": "wrong"}
    assert hypotheses.facts["a/x"].duration_s == 2.5


def test_a_row_without_a_recognized_text_is_missing_and_not_right(tmp_path: Path) -> None:
    """As NeMo leaves it where recognition failed: its reference is no hypothesis."""
    rows = ['{"id": "u", "text": "a b", "pred_text": "a"}', '{"id": "v", "text": "a long one"}']
    path = _file(tmp_path, "nemo.jsonl", "\n".join(rows))
    assert read_texts(path, "hypothesis").texts == {"u": "a"}
    assert read_texts(path, "reference").texts == {"u": "a b", "v": "a long one"}
    result = score_files(path, path).score
    assert result.missing_ids == ("v",)
    assert result.counts.deletions == 4
    rows[1] = '{"id": "v", "sentence": "a long one", "pred_text": "a"}'
    path = _file(tmp_path, "mixed.jsonl", "\n".join(rows))
    with pytest.raises(TextFileError, match=r"mixed.jsonl:2: no text under 'text'"):
        read_texts(path, "reference")


def test_what_is_called_reference_is_the_reference(tmp_path: Path) -> None:
    path = _file(tmp_path, "b.jsonl", '{"id": "u", "text": "the hat", "reference": "the cat"}\n')
    assert read_texts(path, "reference").texts == {"u": "the cat"}
    assert read_texts(path, "hypothesis").texts == {"u": "the hat"}
    assert score_files(path, path).score.counts.substitutions == 1


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("b.csv", "id,text,transcription\nu,the cat,the hat\n", "transcription"),
        ("b.jsonl", '{"id": "u", "text": "the cat", "pred": "the hat"}\n', "pred"),
    ],
)
def test_one_column_is_not_compared_with_itself(
    tmp_path: Path, name: str, text: str, key: str
) -> None:
    path = _file(tmp_path, name, text)
    with pytest.raises(UsageError, match=r"both would be read from 'text'.*--hypothesis-column"):
        score_files(path, path)
    options = ScoreOptions(hypothesis_columns=Columns(text=key))
    assert score_files(path, path, options).score.counts.substitutions == 1


def test_a_speaker_may_be_called_0_and_one_without_a_name_is_none(tmp_path: Path) -> None:
    rows = ['{"id": "u", "text": "a", "speaker": 0}', '{"id": "v", "text": "a", "speaker": ""}']
    assert read_texts(_file(tmp_path, "a.jsonl", "\n".join(rows)), "reference").speakers == {
        "u": "0"
    }


def test_ids_with_spaces_before_a_tab(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.txt", "Anna 1\tone two\nAnna 2\tthree\tfour\n")
    assert read_texts(path, "reference").texts == {"Anna 1": "one two", "Anna 2": "three four"}
    path = _file(tmp_path, "b.txt", "u1\tone two\nu2 three\nu3\n")
    assert read_texts(path, "reference").texts == {"u1": "one two", "u2": "three", "u3": ""}


def test_an_offset_is_a_number_however_it_is_written(tmp_path: Path) -> None:
    rows = [
        f'{{"path": "a.wav", "text": "x", "offset": {offset}}}' for offset in ("5", "6.0", "0.0")
    ]
    in_json = read_texts(_file(tmp_path, "a.jsonl", "\n".join(rows)), "reference").texts
    table = "path,text,offset\na.wav,x,5.0\na.wav,x,6\na.wav,x,0.0\n"
    in_csv = read_texts(_file(tmp_path, "a.csv", table), "reference").texts
    assert list(in_json) == list(in_csv) == ["a@5.0", "a@6.0", "a"]


def test_fields_speakers_and_confidences_come_along(tmp_path: Path) -> None:
    line = {
        "utterance_id": "u",
        "text": "a b",
        "speaker": 7,
        "gender": "F",
        "duration": 3,
        "words": [{"word": "a", "confidence": 0.5}, {"word": "b", "confidence": 1}],
    }
    texts = read_texts(_file(tmp_path, "m.jsonl", json.dumps(line)), "hypothesis")
    assert texts.speakers == {"u": "7"}
    assert texts.facts["u"].fields == {"gender": "F"}
    assert texts.facts["u"].confidences == (0.5, 1.0)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.csv", "clip,gold,who\n1,hello,anna\n")
    texts = read_texts(path, "reference", columns=Columns("clip", "gold", "who"))
    assert (texts.texts, texts.speakers) == ({"1": "hello"}, {"1": "anna"})


def test_quotes_in_a_tsv_are_text(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.tsv", 'id\ttext\nu\t"Oh", she said\n')
    assert read_texts(path, "reference").texts == {"u": '"Oh", she said'}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.trn", "one (u)\ntwo (u)\n", r"a.trn:2: id 'u' was used before, on line 1"),
        ("a.txt", "the cat\nthe dog\n", r"a.txt:2: id 'the' was used before.*--by-line"),
        ("a.trn", "one\n", r"a.trn:1: no '\(utterance-id\)'"),
        ("a.trn", "{a / b} (u)\n", r"a.trn:1: alternatives"),
        ("a.txt", "", r"a.txt is empty"),
        ("a.txt", "\n  \n", r"a.txt is empty"),
        ("a.txt", b"u1 ok\nu2 caf\xe9\n", r"a.txt:2: byte 0xe9 is not utf-8.*--encoding"),
        ("a.jsonl", '{"id": "u", "text": "x"}\n{"id": \n', r"a.jsonl:2: not JSON"),
        (
            "a.jsonl",
            '{"id": "u", "words": 3}\n',
            r"a.jsonl:1: no text under 'reference', .*'text'.*there are 'id', 'words'",
        ),
        ("a.jsonl", '{"id": "u", "text": 3}\n', r"a.jsonl:1: 'text' is not a text but int"),
        ("a.csv", "id,text\nu\n", r"a.csv:2: 1 columns, but the header has 2"),
        ("a.csv", "x,y,z\n1,2,3\n", r"a.csv:1: 3 columns without a header.*--id-column"),
        ("a.csv", "id,text\n", r"a.csv has no utterances"),
        ("a.csv", ",,\n", r"a.csv has no utterances"),
        ("a.csv", "name,text\nu,one\n", r"a.csv:1: .*'name', 'text'.*--id-column"),
        ("a.csv", 'id,text\nt,two\nu,"one\nv,six\n', r"a.csv:3: this row is not CSV"),
        ("a.csv", "path,text\n,one\n", r"a.csv:2: 'path' names no file"),
    ],
)
def test_bad_files_say_where_and_what_to_do(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(TextFileError, match=message):
        read_texts(_file(tmp_path, name, text), "reference")


def test_the_option_that_would_help_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"id": "u", "words": "x"}\n')
    with pytest.raises(TextFileError, match=r"Name it with --text-column"):
        read_texts(path, "reference")
    with pytest.raises(TextFileError, match=r"Name it with --hypothesis-column"):
        read_texts(path, "hypothesis")


def test_one_line_of_json_under_a_named_id(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"name": "u1", "text": "one"}\n')
    assert read_texts(path, "reference", columns=Columns(id="name")).texts == {"u1": "one"}


def test_long_cells_and_numbers_that_are_none(tmp_path: Path) -> None:
    text = "one " * 50_000
    path = _file(tmp_path, "a.csv", f"id,text,duration\nu,{text},nan\n")
    texts = read_texts(path, "reference")
    assert texts.texts == {"u": text}
    assert texts.facts["u"].duration_s is None


def test_other_encodings_by_name(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.txt", b"u caf\xe9\n")
    assert read_texts(path, "reference", encoding="latin-1").texts == {"u": "café"}
    with pytest.raises(UsageError, match="no encoding called 'nonsense'"):
        read_texts(path, "reference", encoding="nonsense")


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(TextFileError, match=r"cannot read .*none"):
        read_texts(tmp_path / "none", "reference")


STM = """;; comment
rec 1 anna 0.0 2.0 <o,f0,female> HELLO THERE
rec 1 ben 2.0 4.0 FINE
rec 1 inter_segment_gap 4.0 5.0 IGNORE_TIME_SEGMENT_IN_SCORING
rec 1 anna 5.0 6.0 BYE
"""
CTM = """rec 1 0.1 0.4 HELLO 0.9
rec 1 1.8 0.3 THERE 0.8
rec 1 2.5 0.5 FINE 0.7
rec 1 4.2 0.2 NOISE 0.1
rec 1 6.3 0.2 BYE 0.6
other 1 0.0 0.2 LOST 0.6
"""


def test_ctm_words_fall_into_stm_segments_by_their_middle(tmp_path: Path) -> None:
    segments = read_stm(_file(tmp_path, "r.stm", STM))
    references = segments_to_texts(tmp_path, segments)
    hypotheses = words_to_segments(tmp_path, read_ctm(_file(tmp_path, "h.ctm", CTM)), segments)
    assert list(references.texts.values()) == ["HELLO THERE", "FINE", "BYE"]
    assert list(references.speakers.values()) == ["anna", "ben", "anna"]
    assert list(hypotheses.texts.values()) == ["HELLO THERE", "FINE", "BYE", "LOST"]
    assert hypotheses.facts["rec-1-0.000-2.000"].confidences == (0.9, 0.8)


IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"


@pytest.mark.parametrize(
    ("stm", "ctm", "texts"),
    [
        ("r A s 0 9 -\nr A t 2 3 -\n", "1 a\n2.5 b\n5 c\n", ["a b c", ""]),
        ("r A s 0 5 -\nr A t 4 9 -\n", "1 a\n4.5 b\n6 c\n", ["a b", "c"]),
        ("r A s 1 2 -\nr A t 4 5 -\n", "0 a\n2.5 b\n3.9 c\n9 d\n", ["a b", "c d"]),
        ("r A s 0 8 -\nr A t 1 2 -\nr A u 20 21 -\n", "9 a\n15 b\n", ["a", "", "b"]),
        ("r A s 0 2 -\nr A t 2 4 -\n", "2 a\n", ["", "a"]),
        (f"r A s 0 1 {IGNORED}\nr A t 3 4 -\n", "0.5 a\n1.1 b\n3 c\n", ["b c"]),
        (f"r A s 0 3 -\nr A t 1 2 {IGNORED}\nr A u 4 5 -\n", "1.5 a\n", ["a", ""]),
        (f"r A s 0 1 {IGNORED}\n", "0.5 a\n1.1 b\n", []),
    ],
)
def test_words_of_overlapping_segments_go_where_sclite_puts_them(
    tmp_path: Path, stm: str, ctm: str, texts: list[str]
) -> None:
    segments = read_stm(_file(tmp_path, "r.stm", stm))
    lines = [line.split() for line in ctm.splitlines()]
    words = "".join(f"r A {time} 0 {word}\n" for time, word in lines)
    found = words_to_segments(tmp_path, read_ctm(_file(tmp_path, "h.ctm", words)), segments)
    assert list(found.texts.values()) == texts


def test_segments_of_a_recording_without_words_are_missing(tmp_path: Path) -> None:
    segments = read_stm(_file(tmp_path, "r.stm", "r A s 0 2 one\nq A s 0 2 two\n"))
    words = read_ctm(_file(tmp_path, "h.ctm", "r A 0.1 0.2 one\n"))
    assert list(words_to_segments(tmp_path, words, segments).texts) == ["r-A-0.000-2.000"]


def test_channels_that_are_called_otherwise(tmp_path: Path) -> None:
    segments = read_stm(_file(tmp_path, "r.stm", "r A s 0 2 one\n"))
    words = read_ctm(_file(tmp_path, "h.ctm", "r 1 0.1 0.2 one\n"))
    with pytest.raises(TextFileError, match=r"in common: 'r 1' here, 'r A' there"):
        words_to_segments(tmp_path, words, segments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r A s 0 2 one\nr A t 0 2 two\n", r"a.stm:2: the same recording.* line 1"),
        ("r A s 0 2 i { uh / um } think\n", r"a.stm:1: alternatives in braces"),
        ("r A s 0 inf one\n", r"a.stm:1: 'inf' is not a number"),
    ],
)
def test_bad_stm_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TextFileError, match=message):
        read_stm(_file(tmp_path, "a.stm", text))


def test_ctm_alone_is_a_text_for_each_recording(tmp_path: Path) -> None:
    words = read_ctm(_file(tmp_path, "h.ctm", "b 1 2 1 two\nb 1 1 1 one\na 1 0 1 x\n"))
    assert recordings_to_texts(tmp_path, words).texts == {"a": "x", "b": "one two"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ctm", "rec 1 0.1 x word\n"),
        ("a.ctm", "rec 1 0.1\n"),
        ("a.ctm", "rec 1 0.1 0.2 word nan\n"),
    ],
)
def test_bad_ctm_lines(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(TextFileError, match=r"a.ctm:1: "):
        read_ctm(_file(tmp_path, name, text))
