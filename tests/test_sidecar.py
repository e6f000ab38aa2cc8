import os
import time
from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.listing import Reason, with_speakers
from asr.corpora.own import guess
from asr.corpora.prepared import prepare_listing
from asr.corpora.sidecar import list_folder
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest


def test_a_text_beside_each_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_audio(folder / "wavs/anna/1.wav")
    write_audio(folder / "wavs/anna/2.FLAC")
    write_audio(folder / "wavs/ben/day1/1.opus")
    write_texts(
        folder,
        {
            "wavs/anna/1.txt": b"\xef\xbb\xbfGood morning,\r\neveryone.\r\n",
            "wavs/anna/2.lab": "hello\n",
            "wavs/ben/day1/1.TXT": "no",
            "README.txt": "About these recordings.",
        },
    )
    prepared = prepare_listing(list_folder(folder), tmp_path / "out")
    utterances = read_manifest(tmp_path / "out/all.jsonl")
    assert [(one.utterance_id, one.text, one.speaker_id) for one in utterances] == [
        ("wavs/anna/1", "Good morning, everyone.", "anna"),
        ("wavs/anna/2", "hello", "anna"),
        ("wavs/ben/day1/1", "no", "ben"),
    ]
    assert prepared.problems == ()
    assert prepared.notes[0].startswith("speakers: the 2 folders anna, ben; where folders are no")


def test_folders_called_train_and_test_are_sets(tmp_path: Path) -> None:
    for name in ("train/anna/1", "train/ben/1", "Test/carl/1"):
        write_audio(tmp_path / f"in/{name}.wav")
        write_texts(tmp_path / "in", {f"{name}.txt": "hello"})
    clips = list_folder(tmp_path / "in").clips
    assert [(clip.subset, clip.speaker_id) for clip in clips] == [
        ("test", "carl"),
        ("train", "anna"),
        ("train", "ben"),
    ]


def test_one_folder_tells_no_speakers_but_a_pattern_does(tmp_path: Path) -> None:
    for name in ("anna_1", "anna_2", "ben_1", "noise"):
        write_audio(tmp_path / f"{name}.wav")
        write_texts(tmp_path, {f"{name}.txt": "hello"})
    listing = list_folder(tmp_path)
    assert {clip.speaker_id for clip in listing.clips} == {None}
    told = with_speakers(listing, "^([^_]+)_")
    assert [clip.speaker_id for clip in told.clips] == ["anna", "anna", "ben", None]
    with pytest.raises(UsageError, match="fits no utterance id; the first are anna_1, anna_2"):
        with_speakers(listing, "^x")
    with pytest.raises(UsageError, match="is no regular expression"):
        with_speakers(listing, "(")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    for name in ("fine", "silent", "alone", "empty", "latin", "htk", "twice"):
        write_audio(tmp_path / f"{name}.wav", 0.0 if name == "silent" else 1.0)
        write_texts(tmp_path, {f"{name}.txt": "hello"})
    (tmp_path / "alone.txt").unlink()
    write_audio(tmp_path / "twice.flac")
    write_texts(
        tmp_path,
        {
            "empty.txt": "\n",
            "latin.txt": "café".encode("latin-1"),
            "htk.txt": "0 3000000 sil\n3000000 4000000 hh\n",
            "fine.lab": "other",
            "lost.txt": "no audio",
            "broken.txt": "hello",
            "broken.wav": b"RIFF and nothing more",
            "none.txt": "hello",
            "none.wav": "",
            "._fine.wav": "a resource fork",
        },
    )
    prepared = prepare_listing(list_folder(tmp_path), tmp_path / "out")
    assert sorted((Path(one.where).name, one.reason) for one in prepared.problems) == [
        ("alone.wav", Reason.NO_TEXT),
        ("broken.txt", Reason.UNREADABLE),
        ("empty.txt", Reason.EMPTY_TEXT),
        ("fine.lab", Reason.ID_TWICE),
        ("htk.txt", Reason.BAD_LINE),
        ("latin.txt", Reason.BAD_LINE),
        ("lost.txt", Reason.NO_AUDIO),
        ("none.txt", Reason.EMPTY_AUDIO),
        ("silent.txt", Reason.EMPTY_AUDIO),
        ("twice.wav", Reason.ID_TWICE),
    ]
    assert [one.utterance_id for one in read_manifest(tmp_path / "out/all.jsonl")] == [
        "fine",
        "twice",
    ]
    assert (tmp_path / "out/problems.tsv").read_text().count("\n") == 11


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_audio(tmp_path / "elsewhere/a.wav")
    write_texts(tmp_path, {"elsewhere/a.txt": "hello"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    assert [clip.utterance_id for clip in list_folder(tmp_path / "in").clips] == ["linked/a"]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(AsrError, match="no folder"):
        list_folder(tmp_path / "nowhere")


def test_a_hundred_thousand_files_in_one_folder(tmp_path: Path) -> None:
    """Listing and guessing stay linear: a quadratic step would take minutes."""
    names = [f"{number:06d}" for number in range(50_000)]
    one, two = tmp_path / "one", tmp_path / "two"  # a file has room for 65,000 names
    one.write_text("not opened")
    two.write_text("hello")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        os.link(one, folder / f"{name}.wav")
        os.link(two, folder / f"{name}.txt")
    start = time.monotonic()
    found = guess(folder)
    assert time.monotonic() - start < 60
    assert found.layout == "folder"
    assert [clip.utterance_id for clip in found.listing.clips] == names
    assert found.listing.problems == ()
