import gc
import json
import os
import pickle
from pathlib import Path

import pytest

from asr.manifest import ManifestError, Utterance, read_manifest, set_name, write_manifest


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


GOOD = '{"audio_filepath": "a.flac", "text": "hello", "duration": 1.5}'


def test_round_trip_keeps_every_field_and_unknown_keys(tmp_path: Path) -> None:
    utterances = [
        Utterance("a", tmp_path / "audio/a.flac", "héllo", 1.25, 0.5, "anna", {"gender": "F"}),
        Utterance("b", Path("/elsewhere/b.wav"), "", 2.0),
    ]
    assert write_manifest(tmp_path / "m.jsonl", utterances) == 2
    assert read_manifest(tmp_path / "m.jsonl") == utterances


def test_audio_below_the_manifest_is_written_relative_to_it(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [Utterance("a", tmp_path / "x" / "a.flac", "a", 1.0)])
    assert json.loads((tmp_path / "m.jsonl").read_text())["audio_filepath"] == "x/a.flac"


def test_a_missing_id_is_the_path_without_suffix(tmp_path: Path) -> None:
    clip = '{"audio_filepath": "x/a.flac", "text": "hello", "duration": 1.5, "offset": 2.0}'
    plain, cut = read_manifest(write_lines(tmp_path / "m.jsonl", GOOD, clip))
    assert (plain.utterance_id, cut.utterance_id) == ("a", "x/a@2.0")
    assert plain.audio_path == tmp_path / "a.flac"


def test_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(f"\ufeff{GOOD}\n\n", "utf-8")
    assert len(read_manifest(tmp_path / "m.jsonl")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", r"m\.jsonl:2: not JSON"),
        ("[1, 2]", r"m\.jsonl:2: expected a JSON object, found list"),
        ('{"text": "x", "duration": 1}', r"m\.jsonl:2: key 'audio_filepath'"),
        ('{"audio_filepath": "b.wav", "text": 3, "duration": 1}', r"m\.jsonl:2: key 'text'"),
        ('{"audio_filepath": "b.wav", "text": "x"}', r"m\.jsonl:2: key 'duration'.*None"),
        ('{"audio_filepath": "b.wav", "text": "x", "duration": "1"}', "key 'duration'.*'1'"),
        ('{"audio_filepath": "b.wav", "text": "x", "duration": -1}', "key 'duration'.*-1"),
        ('{"audio_filepath": "b.wav", "text": "x", "duration": NaN}', "key 'duration'.*nan"),
        ('{"audio_filepath": "b.wav", "text": "x", "duration": true}', "key 'duration'.*True"),
        ('{"audio_filepath": "b.wav", "duration": 1' + "0" * 400 + "}", "key 'duration'.*10000"),
        (GOOD, r"m\.jsonl:2: utterance_id 'a' was used before, on line 1"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write_lines(tmp_path / "m.jsonl", GOOD, line))


def test_missing_and_empty_manifests_say_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no manifest at"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(ManifestError, match="has no utterances"):
        read_manifest(write_lines(tmp_path / "empty.jsonl", ""))


def test_a_file_that_is_no_text_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b"RIFF\xff\xfe" * 9)
    with pytest.raises(ManifestError, match=r"m\.jsonl is no manifest: not UTF-8 text"):
        read_manifest(tmp_path / "m.jsonl")


def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    odd = Utterance("é", tmp_path / os.fsdecode(b"caf\xe9.wav"), "café", 1.0)
    write_manifest(tmp_path / "m.jsonl", [odd])
    assert read_manifest(tmp_path / "m.jsonl") == [odd]


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", GOOD)
    with pytest.raises(TypeError):
        write_manifest(path, [Utterance("a", tmp_path / "a.wav", "", 1.0, extra={"bad": object()})])
    assert path.read_text() == f"{GOOD}\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "audio", ["a.flac", "x/a.flac", "x//a.flac", "./a.flac", "../a.flac", "/a.flac", "/x/a", "x/"]
)
def test_audio_paths_are_those_of_a_plain_join(tmp_path: Path, audio: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"audio_filepath": audio, "text": "", "duration": 1}))
    assert read_manifest(path)[0].audio_path == tmp_path / audio


def test_reading_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    good, bad = write_lines(tmp_path / "m.jsonl", GOOD), write_lines(tmp_path / "b.jsonl", "{")
    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        read_manifest(good)
        with pytest.raises(ManifestError):
            read_manifest(bad)
        assert gc.isenabled() is enabled


def test_text_after_the_object_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: not JSON \(Extra data, column 63\)"):
        read_manifest(write_lines(tmp_path / "m.jsonl", f"{GOOD}, {{}}"))


def test_utterances_travel_to_other_processes(tmp_path: Path) -> None:
    utterance = Utterance("a", tmp_path / "a.flac", "hello", 1.5, extra={"gender": "F"})
    assert pickle.loads(pickle.dumps(utterance)) == utterance


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("train-clean-5", "train-clean-5"),
        ("/home/anna/released/train-clean-5.jsonl", "train-clean-5"),
        ("/home/anna/own/train.jsonl", "own/train"),
        ("test.jsonl", "test"),
        ("corpora/v1.2.jsonl", "v1.2"),
    ],
)
def test_a_set_is_named_without_the_folders_of_this_machine(path: str, name: str) -> None:
    assert set_name(path) == name
