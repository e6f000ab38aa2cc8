import io
import json
import os
import sys

import numpy as np
import pytest
import soundfile
from tones import RATE

from asr.errors import UsageError
from asr.inputs import shard, work_list


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """talks/{a.wav, b.flac, sub/a.mp3, notes.md, .hidden.wav} below the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "talks/a.wav",
        "talks/b.flac",
        "talks/sub/a.mp3",
        "talks/notes.md",
        "talks/.h.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def listed(*inputs, **options):
    return [(str(item.path), item.name) for item in work_list(inputs, **options)]


def test_a_folder_is_searched_sorted_and_mirrored(tree):
    assert listed("talks") == [
        ("talks/a.wav", "a"),
        ("talks/b.flac", "b"),
        ("talks/sub/a.mp3", "sub/a"),
    ]


def test_ids_are_short_where_that_is_distinct(tree):
    assert [item.utterance_id for item in work_list(["talks"])] == ["a", "b", "sub/a"]


def test_globs(tree):
    assert listed("talks/*.wav") == [("talks/a.wav", "a")]
    assert listed("talks/**/a.*") == [("talks/a.wav", "a.wav"), ("talks/sub/a.mp3", "a.mp3")]
    (item,) = work_list(["talks/*.ogg"])
    assert "no file matches" in item.problem


def test_a_file_whose_name_looks_like_a_pattern(tree):
    (tree / "a[1].wav").touch()
    assert listed("a[1].wav") == [("a[1].wav", "a[1]")]


def test_only_the_ending_of_an_audio_file_is_cut(tree):
    for name in ("a.b.wav", "a.c.wav", "Mr. Smith", "d.e"):
        (tree / name).touch()
    assert [name for _, name in listed("a.b.wav", "a.c.wav", "Mr. Smith", "d.e")] == [
        "a.b",
        "a.c",
        "Mr. Smith",
        "d.e",
    ]


def test_same_stem_keeps_the_ending_of_both(tree):
    (tree / "talks/a.flac").touch()
    assert listed("talks")[:2] == [("talks/a.flac", "a.flac"), ("talks/a.wav", "a.wav")]


def test_same_file_name_in_two_folders(tree):
    (tree / "other").mkdir()
    (tree / "other/a.wav").touch()
    assert [name for _, name in listed("talks/a.wav", "other/a.wav")] == ["talks/a", "other/a"]
    assert [name for _, name in listed("talks", "other")] == ["talks/a", "b", "sub/a", "other/a"]


def test_an_escape_name_may_be_taken_too(tree):
    """x.wav and x.mp3 become x.wav and x.mp3: then x.wav.flac must not become x.wav."""
    for name in ("x.wav", "x.mp3", "x.wav.flac"):
        (tree / name).touch()
    names = [name for _, name in listed("x.wav", "x.mp3", "x.wav.flac")]
    assert len(set(names)) == 3


def test_folders_further_up_tell_names_apart(tree):
    for name in ("x/d/a.wav", "y/d/a.wav", "y/d/b.wav"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    expected = [("x/d/a.wav", "x/d/a"), ("y/d/a.wav", "y/d/a"), ("y/d/b.wav", "b")]
    assert listed("x/d/a.wav", "y/d/a.wav", "y/d/b.wav") == expected
    assert listed("x/d", "y/d") == expected


def test_names_that_cannot_be_told_apart_are_refused_before_any_work(tree):
    for name in "xy":
        line = {"audio_filepath": f"talks/{name}.wav", "utterance_id": "u", "duration": 1.0}
        (tree / f"{name}.jsonl").write_text(json.dumps(line))
    with pytest.raises(
        UsageError, match=r"2 inputs would be written as 'u': talks/x.wav, talks/y.wav"
    ):
        work_list(["x.jsonl", "y.jsonl"])


def test_ids_of_trn_are_told_apart(tree):
    for name in ("a b.wav", "a_b.wav"):
        (tree / name).touch()
    items = work_list(["a b.wav", "a_b.wav"])
    assert [item.utterance_id for item in items] == ["a b", "a_b"]
    assert [item.field_id for item in items] == ["a_b", "a_b-2"]


def test_a_closed_folder_is_named(tree, monkeypatch):
    """As os.walk has it; root, who runs some tests, may look into any."""

    def walk(folder, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", f"{folder}/closed"))
        yield str(folder), [], ["a.wav"]

    monkeypatch.setattr("asr.inputs.os.walk", walk)
    good, closed = work_list(["talks"])
    assert (str(good.path), good.problem) == ("talks/a.wav", "")
    assert str(closed.path) == "talks/closed"
    assert closed.problem == "cannot look into this folder: Permission denied"


def test_a_name_too_long_fails_alone(tree):
    long, good = work_list([f"{'word ' * 100}.wav", "talks/a.wav"])
    assert str(long.path).startswith("word word")
    assert good.name == "a"


def test_the_same_file_twice_is_one_recording(tree):
    first, second = work_list(["talks/a.wav", "./talks/../talks/a.wav"])
    assert (first.name, first.duplicate_of) == ("a", "")
    assert (second.name, second.duplicate_of) == ("a", "a")
    assert sum(not item.duplicate_of for item in work_list(["talks", "talks/a.wav"])) == 3


def test_what_is_missing_is_an_item_of_its_own(tree):
    (tree / "bare").mkdir()
    missing, empty, good = work_list(["nowhere.wav", "bare", "talks/a.wav"])
    assert missing.problem == ""  # reading it says why
    assert "no audio files in this folder" in empty.problem
    assert good.name == "a"


def test_folders_that_link_to_themselves_end(tree):
    (tree / "talks/again").symlink_to(tree / "talks")
    (tree / "talks/more").symlink_to(tree / "elsewhere")
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere/z.wav").touch()
    assert [name for _, name in listed("talks")] == ["a", "b", "more/z", "sub/a"]


def test_names_with_newlines_spaces_and_other_scripts(tree):
    for name in ("new\nline.wav", " space .wav", "中文.wav"):
        (tree / name).touch()
    assert [name for _, name in listed("new\nline.wav", " space .wav", "中文.wav")] == [
        "new\nline",
        " space ",
        "中文",
    ]
    assert work_list(["new\nline.wav"])[0].label == "new\\nline.wav"


def manifest(tree, *lines):
    path = tree / "m.jsonl"
    path.write_text(
        "".join(json.dumps({"text": "", "duration": 1.5, **line}) + "\n" for line in lines)
    )
    return str(path)


def test_a_manifest_names_clips(tree):
    path = manifest(
        tree,
        {"audio_filepath": "talks/a.wav", "utterance_id": "one", "speaker": "s", "note": 7},
        {"audio_filepath": "talks/a.wav", "utterance_id": "two", "offset": 2.5},
    )
    one, two = work_list([path])
    assert (one.name, one.utterance_id, one.path) == ("one", "one", tree / "talks/a.wav")
    assert (one.offset_s, one.duration_s, one.extra) == (0.0, 1.5, {"speaker": "s", "note": 7})
    assert (two.offset_s, two.extra) == (2.5, {"offset": 2.5})
    assert two.label.endswith("a.wav [two]")


def test_an_id_cannot_lead_out_of_the_output_folder(tree):
    path = manifest(
        tree,
        {"audio_filepath": "talks/a.wav", "utterance_id": "../../etc/x"},
        {"audio_filepath": "talks/a.wav", "utterance_id": "/abs/y"},
        {"audio_filepath": "talks/a.wav", "utterance_id": "//"},
    )
    assert [item.name for item in work_list([path])] == ["__/__/etc/x", "abs/y", "utterance"]


def test_lists_of_files(tree):
    (tree / "list.txt").write_text("talks/a.wav\n\ntalks/sub\nnowhere.wav\n")
    expected = [("talks/a.wav", "a.wav"), ("talks/sub/a.mp3", "a.mp3"), ("nowhere.wav", "nowhere")]
    assert listed("list.txt") == expected
    assert listed(files_from="list.txt") == expected
    (tree / "talks/list.lst").write_bytes(b"b.flac\0new\nline.wav\0")
    assert [path for path, _ in listed("talks/list.lst")] == ["talks/b.flac", "new\nline.wav"]


def test_a_list_that_is_none_fails_alone(tree):
    (tree / "empty.txt").write_text("\n")
    (tree / "here.txt").write_text("talks/a.wav\nhere.txt\n")
    a, empty, itself = (
        work_list(["here.txt", "empty.txt"])[0],
        *work_list(["empty.txt", "here.txt"])[::2],
    )
    assert a.name == "a"
    assert "names no files" in empty.problem
    assert itself.problem == "this list names itself"


def test_a_list_with_a_byte_order_mark(tree):
    (tree / "list.txt").write_bytes(b"\xef\xbb\xbftalks/a.wav\r\n")
    assert listed("list.txt") == [("talks/a.wav", "a")]


def test_a_list_on_stdin(tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"talks/a.wav\ntalks/b.flac\n")))
    assert [name for _, name in listed(files_from="-")] == ["a", "b"]


def test_audio_on_stdin_is_spooled(tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF...")))
    (item,) = work_list(["-"], stdin_folder=tree)
    assert (item.name, item.path.parent, item.path.read_bytes()) == ("stdin", tree, b"RIFF...")


def test_usage_errors(tree):
    with pytest.raises(UsageError, match="nothing to transcribe"):
        work_list([])
    with pytest.raises(UsageError, match="an input has no name"):  # not the whole folder
        work_list(["talks", ""])
    with pytest.raises(UsageError, match="only once"):
        work_list(["-"], files_from="-")
    with pytest.raises(UsageError, match="cannot read the list nowhere"):
        work_list([], files_from="nowhere")
    (tree / "empty.txt").write_text("\n\n")
    with pytest.raises(UsageError, match="names no files"):
        work_list([], files_from="empty.txt")


def test_channels(tree):
    soundfile.write(tree / "two.wav", np.zeros((RATE, 2)), RATE)
    (item,) = work_list(["two.wav"], channel=1)
    assert (item.name, item.channel) == ("two.ch1", 1)
    items = work_list(["two.wav", "talks/a.wav"], separate_channels=True)
    assert [(item.name, item.channel) for item in items] == [
        ("two.ch0", 0),
        ("two.ch1", 1),
        ("a", None),  # empty: it fails when it is read
    ]


@pytest.mark.parametrize("number", [1, 2, 3, 7, 50])
def test_shards_in_order_are_the_whole_list(tree, number):
    for index in range(20):
        (tree / f"talks/{index:02}.wav").touch()
    items = work_list(["talks"])
    parts = [shard(items, f"{index}/{number}") for index in range(1, number + 1)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("spec", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_bad_shards(spec):
    with pytest.raises(UsageError, match="i/n"):
        shard([], spec)


def test_thousands_of_files_are_listed_quickly(tmp_path):
    import time

    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for index in range(300):
            os.close(os.open(tmp_path / f"{folder}/{index}.wav", os.O_CREAT))
    started = time.monotonic()
    items = work_list([str(tmp_path)])
    assert time.monotonic() - started < 10
    assert len({item.name for item in items}) == len({item.utterance_id for item in items}) == 3000
