import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tones import ToneRecognizer

import asr.runlog
from asr.batch import Result, Status
from asr.errors import UsageError
from asr.items import Item
from asr.manifest import read_manifest
from asr.outputs import OutputError, OutputFolder
from asr.summary import Summary
from asr.transcript import Transcript, Word
from asr.whole_file import write_atomically

HELLO = Transcript("hello", (Word("hello", 0.0, 0.5, 0.9),), 1.0)


def item(name="a", **changes):
    return Item(Path(f"/audio/{name}.wav"), name, name, **changes)


def done(one, transcript=HELLO, content="c0ffee"):
    return Result(one, Status.OK, transcript, content=content, transcribed_s=1.0)


@pytest.fixture
def folder(tmp_path):
    """A function that opens an output folder; all are closed at the end."""
    opened = []

    def open_folder(items, formats=("txt",), settings="model", part="", **options):
        folder = OutputFolder(tmp_path / "out", formats, settings, part)
        opened.append(folder)
        folder.open(items, **options)
        return folder

    yield open_folder
    for one in opened:
        one.close()


def log_lines(folder, name="asr-run.jsonl"):
    return [json.loads(line) for line in (folder.root / name).read_text().splitlines()]


def test_a_result_is_on_disk_at_once(folder):
    one = item("sub/a")
    out = folder([one], ("txt", "json"))
    out.write(done(one))
    assert (out.root / "sub/a.txt").read_text() == "hello\n"
    assert json.loads((out.root / "sub/a.json").read_text())["text"] == "hello"
    run, line = log_lines(out)
    assert (run["settings"], run["formats"]) == ("model", ["txt", "json"])
    assert (line["status"], line["name"], line["text"]) == ("ok", "sub/a", "hello")
    assert not list(out.root.rglob("*.tmp"))


def test_failures_and_notes_are_in_the_log(folder):
    out = folder([item("a"), item("b")])
    out.write(Result(item("a"), Status.FAILED, reason="no good"))
    out.write(Result(item("b"), Status.EMPTY, Transcript("", (), 1.0), notes=("cut short",)))
    _, failed, empty = log_lines(out)
    assert (failed["status"], failed["reason"]) == ("failed", "no good")
    assert (empty["status"], empty["notes"]) == ("empty", ["cut short"])
    assert (out.root / "b.txt").read_text() == "\n"
    assert not (out.root / "a.txt").exists()


def test_lookup_knows_content_settings_clip_and_channel(folder):
    one = item()
    out = folder([one])
    out.write(done(one))
    out.close()
    again = folder([one], resume=True)
    found = again.lookup(one, "c0ffee")
    assert (found.status, found.transcript) == (Status.SKIPPED, HELLO)
    assert again.lookup(one, "other content") is None
    assert again.lookup(item(offset_s=1.0), "c0ffee") is None
    assert again.lookup(item(channel=1), "c0ffee") is None
    again.close()
    assert folder([one], settings="other model", resume=True).lookup(one, "c0ffee") is None


def test_without_resume_nothing_is_skipped(folder):
    one = item()
    out = folder([one])
    out.write(done(one))
    out.close()
    assert folder([one]).lookup(one, "c0ffee") is None


def test_what_failed_before_is_tried_again(folder):
    one = item()
    out = folder([one])
    out.write(Result(one, Status.FAILED, reason="disk asleep", content="c0ffee"))
    out.close()
    assert folder([one], resume=True).lookup(one, "c0ffee") is None


def test_a_resumed_run_writes_formats_not_asked_for_before(folder):
    one = item()
    out = folder([one], ("txt",))
    out.write(done(one))
    out.close()
    again = folder([one], ("txt", "srt", "ctm"), resume=True)
    again.write(again.lookup(one, "c0ffee"))
    again.finish([one], Summary())
    assert "hello" in (again.root / "a.srt").read_text()
    assert (again.root / "transcripts.ctm").read_text() == "a 1 0.000 0.500 hello 0.9000\n"


def test_a_corrected_transcript_survives_resume(folder):
    one = item()
    out = folder([one])
    out.write(done(one))
    out.close()
    (out.root / "a.txt").write_text("Hello!\n")
    for _ in range(2):
        again = folder([one], resume=True)
        again.write(again.lookup(one, "c0ffee"))
        again.close()
    assert (out.root / "a.txt").read_text() == "Hello!\n"


def test_what_another_model_has_written_since_is_written_anew(folder):
    one = item()
    first = folder([one], settings="first")
    first.write(done(one))
    first.close()
    second = folder([one], settings="second")
    second.write(done(one, Transcript("other", (), 1.0)))
    second.close()
    assert (first.root / "a.txt").read_text() == "other\n"
    again = folder([one], settings="first", resume=True)
    again.write(again.lookup(one, "c0ffee"))
    assert (first.root / "a.txt").read_text() == "hello\n"


@pytest.mark.parametrize("lost", [1, 20, 200])
def test_a_line_cut_short_by_a_crash_is_done_again(folder, lost):
    a, b = item("a"), item("b")
    out = folder([a, b])
    out.write(done(a))
    out.write(done(b, content="beef"))
    out.close()
    log = out.root / "asr-run.jsonl"
    log.write_bytes(log.read_bytes()[:-lost])
    again = folder([a, b], resume=True)
    assert again.lookup(a, "c0ffee") is not None
    assert again.lookup(b, "beef") is None
    again.write(done(b, content="beef"))
    again.close()
    third = folder([a, b], resume=True)
    assert third.lookup(b, "beef").transcript == HELLO


def test_unfinished_files_of_a_killed_run_are_removed(folder):
    one = item("sub/a")
    folder([one]).close()
    out = folder([one])
    (out.root / "sub").mkdir()
    for name in (".asr-0123.tmp", "sub/.asr-0123.tmp", "sub/.asr.1-of-2-0123.tmp"):
        (out.root / name).touch()
    out.close()
    folder([one])
    assert [path.name for path in out.root.rglob("*.tmp")] == [".asr.1-of-2-0123.tmp"]


def test_combined_files_are_in_input_order_and_forget_nobody(folder):
    items = [item("a"), item("b"), item("c"), item("a", duplicate_of="a")]
    out = folder(items, ("jsonl", "trn", "ctm"))
    out.write(Result(items[3], Status.SKIPPED, reason="given twice; see a"))
    out.write(done(items[2], Transcript("see", (), 1.0)))
    out.write(Result(items[1], Status.FAILED, reason="bad"))
    out.write(done(items[0]))
    out.finish(items, Summary())
    lines = [json.loads(line) for line in (out.root / "transcripts.jsonl").read_text().splitlines()]
    assert [(line["utterance_id"], line["status"], line["text"]) for line in lines] == [
        ("a", "ok", "hello"),
        ("b", "failed", ""),
        ("c", "ok", "see"),
    ]
    assert lines[1]["reason"] == "bad"
    assert (out.root / "transcripts.trn").read_text() == "hello (a)\n(b)\nsee (c)\n"


def test_the_summary_is_json(folder):
    out = folder([item()])
    summary = Summary()
    summary.add(done(item()))
    out.finish([item()], summary)
    document = json.loads((out.root / "asr-summary.json").read_text())
    assert document["files"] == {"ok": 1, "empty": 0, "failed": 0, "skipped": 0}
    assert (document["audio_s"], document["exit_status"]) == (1.0, 0)
    assert document["wall_s"] >= 0


def test_a_file_that_no_run_wrote_is_not_replaced(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("my notes")
    with pytest.raises(UsageError, match=r"1 files that no earlier run wrote.*a\.txt"):
        folder([item("a"), item("b")])
    assert (tmp_path / "out/a.txt").read_text() == "my notes"
    out = folder([item("a")], overwrite=True)
    out.write(done(item("a")))
    assert (tmp_path / "out/a.txt").read_text() == "hello\n"


@pytest.mark.parametrize("name", ["transcripts.trn", "asr-summary.json"])
def test_a_combined_file_that_no_run_wrote_is_not_replaced(folder, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("said (u1)")
    with pytest.raises(UsageError, match=f"1 files that no earlier run wrote.*{name}"):
        folder([item()], ("trn",))
    assert (tmp_path / "out" / name).read_text() == "said (u1)"
    folder([item()], ("trn",), overwrite=True)


def test_a_combined_file_forgets_nobody_unasked(folder):
    def run(*names, **options):
        items = [item(name) for name in names]
        out = folder(items, ("trn",), **options)
        for one in items:
            out.write(done(one))
        out.finish(items, Summary())
        out.close()
        return (out.root / "transcripts.trn").read_text()

    run("a", "b")
    with pytest.raises(UsageError, match=r"transcripts\.trn would lose 1 inputs of.*such as a"):
        run("b", "c")
    assert run("a", "b", "c") == "hello (a)\nhello (b)\nhello (c)\n"
    assert run("b", overwrite=True) == "hello (b)\n"
    assert run("a", resume=True) == "hello (a)\n"


def test_a_manifests_own_columns_do_not_pass_for_the_logs(folder):
    """`key` and `status` are columns of others, and of our own transcripts.jsonl."""
    extra = {"key": "mine", "status": "failed", "reason": "old", "names": None, "run": 7, "age": 3}
    one = item(extra=extra)
    out = folder([one], ("jsonl",))
    out.write(done(one))
    out.close()
    again = folder([one], ("jsonl",), resume=True)
    again.write(again.lookup(one, "c0ffee"))
    again.finish([one], Summary())
    (line,) = map(json.loads, (again.root / "transcripts.jsonl").read_text().splitlines())
    assert (line["status"], line["text"], line["key"], line["age"]) == ("ok", "hello", "mine", 3)
    assert "reason" not in line


def test_transcripts_jsonl_is_a_manifest_where_it_lies(folder, tmp_path):
    paths = [tmp_path / "out/sub/a.wav", tmp_path / "b.wav"]
    items = [replace(item(path.stem), path=path) for path in paths]
    out = folder(items, ("jsonl",))
    for one in items:
        out.write(done(one))
    out.finish(items, Summary())
    assert [one.audio_path for one in read_manifest(out.root / "transcripts.jsonl")] == paths


def test_our_own_files_are_replaced_by_the_next_run(folder):
    out = folder([item()])
    out.write(done(item()))
    out.close()
    again = folder([item()])
    again.write(done(item(), Transcript("better", (), 1.0)))
    assert (again.root / "a.txt").read_text() == "better\n"


def test_two_runs_in_one_folder_are_refused(folder):
    pytest.importorskip("fcntl", reason="no file locks on this system")
    out = folder([item()])
    with pytest.raises(OutputError, match="another run is writing"):
        folder([item()])
    out.close()
    folder([item()])


def test_shards_share_a_folder(folder):
    items = [item("a"), item("b")]
    parts = [folder(items[:1], part=".1-of-2"), folder(items[1:], part=".2-of-2")]
    for part, one in zip(parts, items, strict=True):
        part.write(done(one, content=one.name))
        part.finish([one], Summary())
        part.close()
    assert (parts[0].root / "asr-summary.1-of-2.json").is_file()
    whole = folder(items, ("txt", "jsonl"), resume=True)
    for one in items:
        whole.write(whole.lookup(one, one.name))
    whole.finish(items, Summary())
    assert (whole.root / "transcripts.jsonl").read_text().count('"hello"') == 2 * len(items)


def test_names_that_the_run_needs_itself(folder):
    with pytest.raises(UsageError, match=r"asr-summary\.json, which this run needs"):
        folder([item("asr-summary")], ("json",))
    with pytest.raises(UsageError, match=r"a\.txt, which this run needs"):
        folder([item("a"), item("a.txt/b")])


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        OutputFolder(tmp_path / "out", ("txt",), "model").open([item()])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_plainly(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/asr-run.jsonl").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"No space left on device; .*--resume"):
        OutputFolder(tmp_path / "out", ("txt",), "model").open([item()])


def test_a_disk_that_fills_up_ends_the_run_but_keeps_what_is_done(folder, monkeypatch):
    a, b = item("a"), item("b")
    out = folder([a, b])
    out.write(done(a))
    monkeypatch.setattr(Path, "replace", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device"):
        out.write(done(b))
    monkeypatch.undo()
    assert sorted(path.name for path in out.root.iterdir()) == ["a.txt", "asr-run.jsonl"]
    out.close()
    assert folder([a, b], resume=True).lookup(a, "c0ffee") is not None


def raising(error):
    def call(*arguments):
        raise error

    return call


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="Permission denied"):
        OutputFolder(tmp_path / "out", ("txt",), "model").open([item()])


def test_a_name_too_long_fails_alone(folder):
    long, short = item("n" * 254), item("a")
    out = folder([long, short])
    result = out.write(done(long))
    assert result.status is Status.FAILED
    assert "File name too long" in result.reason
    assert out.write(done(short)).status is Status.OK


def test_write_atomically_leaves_all_or_nothing(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, ["old"])

    def parts():
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, parts())
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_the_log_holds_what_the_formats_need():
    """Rendering from the log equals rendering from the recognizer's own floats."""
    import numpy as np

    from asr.combined import labelled
    from asr.formats import FILE_FORMATS, as_json, transcript_from_json

    tones = np.concatenate([np.zeros(3331, np.float32), np.sin(np.arange(9777) / 4).astype("f4")])
    (transcript,) = ToneRecognizer().transcribe_batch([tones])
    again = transcript_from_json(as_json(labelled(item(), transcript)))
    for render in FILE_FORMATS.values():
        assert render(labelled(item(), again)) == render(labelled(item(), transcript))
    assert asr.runlog.parse_line(b'{"a": 1}') == {}
