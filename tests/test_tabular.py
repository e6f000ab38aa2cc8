import json
from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.listing import Reason
from asr.corpora.prepared import prepare_listing
from asr.corpora.tabular import TableColumns, list_table
from asr.errors import UsageError
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.textfiles import TextFileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", 4.0)
    write_audio(tmp_path / "sub/b.flac", 2.0)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'path,text,speaker,room\na.wav,"Yes, ""now""",anna,hall\nsub/b.flac,No,ben,\n'),
        ("t.csv", "path;text;speaker;room\na.wav;Yes, \"\"now\"\";anna;hall\nsub/b.flac;No;ben;\n"
         .replace('Yes, ""now""', '"Yes, ""now"""')),
        ("t.tsv", 'path\ttext\tspeaker\troom\na.wav\tYes, "now"\tanna\thall\nsub/b.flac\tNo\tben\t\n'),
        ("t.txt", 'Path|Text|Speaker|room\na.wav|Yes, "now"|anna|hall\r\nsub/b.flac|No|ben|\r\n'),
        ("t.jsonl", '{"audio": "a.wav", "sentence": "Yes, \\"now\\"", "speaker": "anna", "room": '
         '"hall"}\n\n{"audio": "sub/b.flac", "sentence": "No", "speaker": "ben", "room": null}\n'),
    ],
)  # fmt: skip
def test_every_kind_of_table(folder: Path, tmp_path: Path, name: str, content: str) -> None:
    write_texts(folder, {name: content})
    prepared = prepare_listing(list_table(folder / name), tmp_path / "out")
    first, second = read_manifest(tmp_path / "out/all.jsonl")
    assert (first.utterance_id, first.text, first.speaker_id) == ("a", 'Yes, "now"', "anna")
    assert (second.utterance_id, second.text, second.speaker_id) == ("sub/b", "No", "ben")
    assert (first.extra, second.extra) == ({"room": "hall"}, {})
    assert (first.duration_s, second.duration_s, prepared.problems) == (4.0, 2.0, ())


def test_columns_can_be_named(folder: Path) -> None:
    table = "Nr,File name,Said,Who\n1,a.wav,hello,7\n2,sub/b.flac,bye,8\n"
    write_texts(folder, {"calls.csv": table})
    columns = TableColumns(audio="File name", text="Said", speaker="Who", id="Nr")
    listing = list_table(folder / "calls.csv", columns)
    assert [(clip.utterance_id, clip.text, clip.speaker_id) for clip in listing.clips] == [
        ("1", "hello", "7"),
        ("2", "bye", "8"),
    ]
    with pytest.raises(UsageError, match="no column 'File'; it has: Nr, File name, Said, Who"):
        list_table(folder / "calls.csv", TableColumns(audio="File"))
    with pytest.raises(UsageError, match="known to hold the text.*--text-column"):
        list_table(folder / "calls.csv", TableColumns(audio="File name"))


def test_a_pair_without_a_header(folder: Path) -> None:
    write_texts(folder, {"t.tsv": "a.wav\thello\nsub/b.flac\tbye\n"})
    assert [clip.text for clip in list_table(folder / "t.tsv").clips] == ["hello", "bye"]


def test_clips_of_a_recording(folder: Path, tmp_path: Path) -> None:
    """A length counts where a recording is cut; else the audio is as long as it is."""
    table = "audio,start,duration,text\na.wav,0,1.5,one\na.wav,1.5,2,two\nsub/b.flac,,1.99,three\n"
    write_texts(folder, {"t.csv": table})
    prepare_listing(list_table(folder / "t.csv"), tmp_path / "out")
    utterances = read_manifest(tmp_path / "out/all.jsonl")
    assert [(one.utterance_id, one.offset_s, one.duration_s) for one in utterances] == [
        ("a", 0.0, 1.5),
        ("a@1.5", 1.5, 2.0),
        ("sub/b", 0.0, 2.0),
    ]


def test_a_length_counts_beside_a_start_of_nought(folder: Path) -> None:
    write_texts(folder, {"t.csv": "path,start,duration,text\na.wav,0,1.5,one\n"})
    (clip,) = list_table(folder / "t.csv").clips
    assert (clip.offset_s, clip.end_s) == (0.0, 1.5)


def test_the_lengths_of_a_manifest_are_those_of_utterances(folder: Path, tmp_path: Path) -> None:
    """NeMo's manifests; a duration of 0 reaches to the end, as `asr.manifest` has it."""
    rows = [("a.wav", 1.5), ("sub/b.flac", 0)]
    lines = [
        json.dumps({"audio_filepath": path, "duration": length, "text": "hello"})
        for path, length in rows
    ]
    write_texts(folder, {"m.jsonl": "\n".join(lines)})
    prepare_listing(list_table(folder / "m.jsonl"), tmp_path / "out")
    utterances = read_manifest(tmp_path / "out/all.jsonl")
    assert [(one.offset_s, one.duration_s) for one in utterances] == [(0.0, 1.5), (0.0, 2.0)]


def test_other_lengths_are_not_interpreted(folder: Path) -> None:
    """They may be milliseconds, as Common Voice has them."""
    write_texts(folder, {"t.csv": "path,duration,text\na.wav,1500,one\n"})
    (clip,) = list_table(folder / "t.csv").clips
    assert clip.end_s is None


def test_audio_may_lie_elsewhere_and_its_ending_be_left_out(folder: Path) -> None:
    write_audio(folder / "clips/x.opus")
    write_texts(folder, {"t.csv": "id,text\nx,hello\n"})
    (clip,) = list_table(folder / "t.csv").clips
    assert clip.audio_path == folder / "clips/x.opus"
    write_texts(folder, {"lists/t.csv": "file,text\nb.flac,hello\n"})
    (clip,) = list_table(folder / "lists/t.csv", audio_dir=folder / "sub").clips
    assert clip.audio_path == folder / "sub/b.flac"


def test_sets_are_kept_and_their_names_made_safe(folder: Path, tmp_path: Path) -> None:
    table = "file,text,split\na.wav,hello,validation\nsub/b.flac,bye,../x\n"
    write_texts(folder, {"t.csv": table})
    prepared = prepare_listing(list_table(folder / "t.csv"), tmp_path / "out")
    assert [one.manifest for one in prepared.sets] == [
        tmp_path / "out/dev.jsonl",
        tmp_path / "out/_x.jsonl",
    ]


def test_a_manifest_of_our_own_comes_back(folder: Path, tmp_path: Path) -> None:
    utterances = [
        Utterance("u1", folder / "a.wav", "hello", 1.0, 0.5, "anna", {"room": "hall"}),
        Utterance("u2", folder / "a.wav", "bye", 0.5),
    ]
    write_manifest(folder / "m.jsonl", utterances)
    prepare_listing(list_table(folder / "m.jsonl"), tmp_path / "out")
    assert read_manifest(tmp_path / "out/all.jsonl") == utterances


def test_what_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    rows = ["a.wav,fine,0", "gone.wav,hello,0", ",hello,0", "sub/b.flac,,0", "a.wav,again,0", "x,y"]
    rows += ["sub/b.flac,hello,soon", "sub/b.flac,hello,9"]
    text = "\ufefffile,text,start\n" + "\n".join(rows)
    write_texts(folder, {"t.csv": text})
    prepared = prepare_listing(list_table(folder / "t.csv"), tmp_path / "out")
    assert sorted((one.where[-1], one.reason) for one in prepared.problems) == [
        ("3", Reason.NO_AUDIO),
        ("4", Reason.NO_AUDIO),
        ("5", Reason.EMPTY_TEXT),
        ("6", Reason.ID_TWICE),
        ("7", Reason.BAD_LINE),
        ("8", Reason.BAD_LINE),
        ("9", Reason.BAD_TIMES),
    ]
    table = (tmp_path / "out/problems.tsv").read_text().splitlines()
    assert table[0] == "reason\twhere\twhat"
    assert len(table) == 8
    assert f"id or transcript twice\t{folder}/t.csv:6\tid a was used before" in "\n".join(table)
    assert prepared.sets[0].num_utterances == 1


@pytest.mark.parametrize("last", ["a.wav,six", 'a.wav,six 5" long', 'a.wav,"six"'])
def test_a_quotation_mark_that_is_never_closed_costs_its_own_row(folder: Path, last: str) -> None:
    rows = ["file,text", 'a.wav,"one,', 'two"', 'a.wav,"three', "a.wav,four", last]
    write_texts(folder, {"t.csv": "\n".join(rows)})
    listing = list_table(folder / "t.csv")
    texts = [clip.text for clip in listing.clips]
    assert texts == ["one,\ntwo", "four", last.partition(",")[2].strip('"')]
    (problem,) = listing.problems
    assert problem.where.endswith("t.csv:4")
    assert "not CSV" in problem.what


def test_bad_json_is_a_problem_and_an_empty_table_an_error(folder: Path) -> None:
    good = json.dumps({"path": "a.wav", "text": "hello"})
    write_texts(folder, {"t.jsonl": f"{good}\n{{broken\n[1]\n", "only.jsonl": "[\n", "no.csv": ""})
    listing = list_table(folder / "t.jsonl")
    assert [problem.where[-1] for problem in listing.problems] == ["2", "3"]
    assert len(listing.clips) == 1
    with pytest.raises(TextFileError, match="has no rows; the first problem: .*:1: not a JSON"):
        list_table(folder / "only.jsonl")
    with pytest.raises(TextFileError, match="is empty"):
        list_table(folder / "no.csv")
    with pytest.raises(TextFileError, match="cannot read"):
        list_table(folder / "gone.csv")


def test_kathleen_has_its_published_size(asr_data: Path, tmp_path: Path) -> None:
    prepared = prepare_listing(list_table(asr_data / "kathleen/metadata.tsv"), tmp_path)
    (one,) = prepared.sets
    assert (one.num_utterances, one.num_speakers, prepared.problems) == (1620, 0, ())
    assert one.duration_s / 3600 == pytest.approx(1.37, abs=0.005)
