from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.listing import Reason
from asr.corpora.ljspeech import is_ljspeech, list_ljspeech
from asr.corpora.prepared import prepare_listing
from asr.errors import AsrError
from asr.manifest import read_manifest

LINES = (
    "LJ001-0001|Printing, in 1455|Printing, in fourteen fifty-five\n"
    'LJ001-0002|he said "no|he said "no\n'
    "LJ001-0003|in being comparatively modern.|\n"
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write_audio(tmp_path / f"LJSpeech-1.1/wavs/LJ001-000{number}.wav", number)
    return write_texts(tmp_path / "LJSpeech-1.1", {"metadata.csv": LINES})


def test_the_spelt_out_text_is_taken(corpus: Path, tmp_path: Path) -> None:
    assert is_ljspeech(corpus)
    prepared = prepare_listing(list_ljspeech(corpus), tmp_path / "out", name="ljspeech")
    utterances = read_manifest(tmp_path / "out/ljspeech.jsonl")
    assert [(one.utterance_id, one.text, one.duration_s) for one in utterances] == [
        ("LJ001-0001", "Printing, in fourteen fifty-five", 1.0),
        ("LJ001-0002", 'he said "no', 2.0),
        ("LJ001-0003", "in being comparatively modern.", 3.0),
    ]
    assert {one.speaker_id for one in utterances} == {None}
    assert prepared.problems == ()


def test_what_does_not_fit_is_named(corpus: Path) -> None:
    write_audio(corpus / "wavs/LJ002-0001.wav")
    write_texts(corpus, {"metadata.csv": LINES + "LJ001-0004|gone|gone\na|b|c|d\n|x|x\n"})
    listing = list_ljspeech(corpus)
    assert [(problem.reason, problem.where[-6:]) for problem in listing.problems] == [
        (Reason.BAD_LINE, ".csv:5"),
        (Reason.BAD_LINE, ".csv:6"),
        (Reason.NO_TEXT, "01.wav"),
    ]
    assert len(listing.clips) == 4


def test_other_tables_are_not_ljspeech(tmp_path: Path) -> None:
    write_texts(tmp_path, {"metadata.csv": "path|text\na.wav|b\n"})
    assert not is_ljspeech(tmp_path)
    write_texts(tmp_path, {"metadata.csv": "audio| Transcription|speaker\na.wav|b|anna\n"})
    assert not is_ljspeech(tmp_path)
    with pytest.raises(AsrError, match="no .*metadata.csv: LJSpeech"):
        list_ljspeech(tmp_path / "nowhere")
