"""Guessing a layout, and the way from a folder to three manifests."""

from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.own import guess
from asr.corpora.prepared import prepare_listing
from asr.corpora.splits import Shares
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest


@pytest.mark.parametrize(
    ("files", "layout", "why"),
    [
        ({"wav.scp": "a a.wav\n", "text": "a hello\n"}, "kaldi", "wav.scp and text are there"),
        ({"data/wav.scp": "a ../a.wav\n", "data/text": "a hello\n"}, "kaldi", "there in data"),
        ({"validated.tsv": "client_id\tpath\tsentence\nx\ta.wav\thello\n", "clips/x": ""},
         "commonvoice", "tables with path, sentence and client_id"),
        ({"metadata.csv": "a|hello|hello\n"}, "ljspeech", "lines id|text and no header"),
        ({"metadata.csv": "Audio|Transcription|speaker\na.wav|hello|anna\n"}, "table",
         "metadata.csv names audio"),
        ({"metadata.csv": "file_name,text\na.wav,hello\n"}, "table", "metadata.csv names audio"),
        ({"x.jsonl": '{"audio_filepath": "a.wav", "text": "hello"}\n', "notes.csv": "day,who\n1,2\n"},
         "table", "x.jsonl names audio and texts"),
        ({"train.csv": "path,text\na.wav,hello\n", "test.csv": "path,text\nb.wav,bye\n"},
         "table", "test.csv, train.csv name audio and texts"),
        ({"a.txt": "hello"}, "folder", "1 of 2 recordings have a .txt or .lab"),
        ({"a.srt": "1\n00:00:00,000 --> 00:00:01,000\nhello\n", "a.txt": "hello"},
         "subtitles", "1 of 2 recordings have subtitles"),
    ],
)  # fmt: skip
def test_each_layout_is_guessed_and_says_why(
    tmp_path: Path, files: dict[str, str], layout: str, why: str
) -> None:
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    write_texts(tmp_path, files)
    found = guess(tmp_path)
    assert found.layout == layout
    assert why in found.why
    assert found.listing.clips[0].text in ("hello", "bye")


def test_tables_called_train_and_test_are_kept_and_dev_is_made(tmp_path: Path) -> None:
    for number in range(30):
        write_audio(tmp_path / f"{number}.wav", 0.1)
    rows = [f"{number}.wav,text {number},spk{number}\n" for number in range(30)]
    header = "path,text,speaker\n"
    write_texts(tmp_path, {"train.csv": header + "".join(rows[5:])})
    write_texts(tmp_path, {"test.csv": header + "".join(rows[:5])})
    prepared = prepare_listing(guess(tmp_path).listing, tmp_path / "out", shares=Shares())
    sizes = {one.name: one.num_utterances for one in prepared.sets}
    assert sizes["test"] == 5
    assert sizes["train"] + sizes["dev"] == 25
    assert sizes["dev"] > 0
    assert "kept the corpus's own test" in prepared.notes


def test_a_set_of_the_corpus_whose_audio_is_gone_is_made_anew(tmp_path: Path) -> None:
    rows = [f"{number}.wav,text {number},train\n" for number in range(20)]
    for number in range(20):
        write_audio(tmp_path / f"{number}.wav", 0.1)
    lost = "gone.wav,lost,test\n"
    write_texts(tmp_path, {"all.csv": "path,text,split\n" + "".join(rows) + lost})
    prepared = prepare_listing(guess(tmp_path).listing, tmp_path / "out", shares=Shares())
    assert {one.name for one in prepared.sets} == {"train", "dev", "test"}
    assert [str(problem.reason) for problem in prepared.problems] == ["no audio for a transcript"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.doc": "x", "2.doc": "x", "a.wav": "x"}, r"holds 2 x .doc, 1 x .wav.*asr prepare table"),
        ({}, "it holds no files"),
        ({"1/2/1-2.trans.txt": "1-2-0 A\n"}, "looks like LibriSpeech.*asr prepare librispeech"),
        ({"a.csv": "path,text\na,b\n", "b.csv": "path,text\na,b\n"},
         r"several tables of audio and texts \(a.csv, b.csv\).*asr prepare table"),
    ],
)  # fmt: skip
def test_what_cannot_be_guessed_says_what_is_known(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write_texts(tmp_path, files)
    with pytest.raises(AsrError, match=message):
        guess(tmp_path)


def test_no_folder_and_a_wrong_encoding_are_said(tmp_path: Path) -> None:
    with pytest.raises(AsrError, match="no folder .*name the folder that holds"):
        guess(tmp_path / "nowhere")
    write_texts(tmp_path, {"metadata.csv": "a|café\n".encode("latin-1")})
    with pytest.raises(AsrError, match="--encoding"):
        guess(tmp_path)
    with pytest.raises(UsageError, match="no encoding called"):
        guess(tmp_path, encoding="nothing")


@pytest.mark.parametrize(
    "files",
    [
        {"wav.scp": "a a.wav\n", "text": "a café\n", "utt2spk": "a André\n"},
        {"train.tsv": "client_id\tpath\tsentence\nAndré\ta.wav\tcafé\n", "clips/x": ""},
        {"metadata.csv": "path,text,speaker\na.wav,café,André\n"},
    ],
)
def test_an_encoding_is_that_of_every_layout(tmp_path: Path, files: dict[str, str]) -> None:
    write_texts(tmp_path, {name: text.encode("latin-1") for name, text in files.items()})
    (clip,) = guess(tmp_path, encoding="latin-1").listing.clips
    assert (clip.text, clip.speaker_id) == ("café", "André")


def test_old_manifests_of_sets_that_are_no_more_are_set_aside(tmp_path: Path) -> None:
    for speaker in ("anna", "ben", "carl"):
        write_audio(tmp_path / f"in/{speaker}/1.wav", 0.1)
        write_texts(tmp_path, {f"in/{speaker}/1.txt": "hello"})
    listing, out = guess(tmp_path / "in").listing, tmp_path / "out"
    prepare_listing(listing, out, shares=Shares())
    tested = (out / "test.jsonl").read_bytes()
    prepared = prepare_listing(listing, out, shares=Shares(test=0))
    assert sorted(path.name for path in out.iterdir()) == [
        "dev.jsonl",
        "test.jsonl.old",
        "train.jsonl",
    ]
    assert (out / "test.jsonl.old").read_bytes() == tested
    note = (
        f"no test in this split: {out}/test.jsonl, of an earlier one, is now {out}/test.jsonl.old"
    )
    assert prepared.notes[-1] == note
    (out / "dev.jsonl").write_text("of the corpus")
    assert not any("earlier" in note for note in prepare_listing(listing, out).notes)
    assert (out / "dev.jsonl").read_text() == "of the corpus"


def test_a_second_run_takes_old_problems_away(tmp_path: Path) -> None:
    write_audio(tmp_path / "in/a.wav")
    write_texts(tmp_path, {"in/a.txt": "hello", "in/b.txt": "no audio"})
    out = tmp_path / "out"
    first = prepare_listing(guess(tmp_path / "in").listing, out)
    assert first.problems_path == out / "problems.tsv"
    assert first.problems_path.is_file()
    (tmp_path / "in/b.txt").unlink()
    second = prepare_listing(guess(tmp_path / "in").listing, out)
    assert second.problems_path is None
    assert not (out / "problems.tsv").exists()


def test_progress_and_characters(tmp_path: Path) -> None:
    for name in "ab":
        write_audio(tmp_path / f"in/{name}.wav")
    write_texts(tmp_path, {"in/a.txt": "Äh", "in/b.txt": "ähä"})
    seen: list[tuple[int, int]] = []
    prepared = prepare_listing(
        guess(tmp_path / "in").listing,
        tmp_path / "out",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 2)]
    assert prepared.characters == {"Ä": 1, "h": 2, "ä": 2}


def test_real_recordings_of_one_reader_are_split_by_sentence(
    asr_data: Path, tmp_path: Path
) -> None:
    """kathleen: a table, one reader, many sentences read two or three times."""
    found = guess(asr_data / "kathleen")
    assert (found.layout, found.why) == ("table", "metadata.tsv names audio and texts")
    prepared = prepare_listing(found.listing, tmp_path, shares=Shares())
    assert sum(one.num_utterances for one in prepared.sets) == 1620
    texts = {
        one.name: {utterance.text for utterance in read_manifest(one.manifest)}
        for one in prepared.sets
    }
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["dev"]
    assert prepared.problems == ()
