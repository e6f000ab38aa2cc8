"""`asr transcribe` as a user meets it: arguments, streams, files, exit status, signals."""

import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from broken_corpus import CASES, make_corpus
from tones import RATE, ToneRecognizer, speech, text_of

from asr.cli.transcribe import _share_cores

HERE = Path(__file__).parent


@pytest.fixture
def recognizer(monkeypatch):
    """`load_model` gives a recognizer of tones; no network is loaded."""
    fake = types.ModuleType("asr.transcribe")
    recognizer = ToneRecognizer()
    fake.load_model = lambda *arguments, **options: recognizer
    monkeypatch.setitem(sys.modules, "asr.transcribe", fake)
    return recognizer


@pytest.fixture
def run(recognizer, capfdbinary, monkeypatch):
    """Run the command; returns (exit status, stdout, stderr)."""
    from asr.cli import main

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as left:
            main(["transcribe", *map(str, arguments)])
        sys.stdout.flush()
        out, error = capfdbinary.readouterr()
        return left.value.code, out.decode(), error.decode()

    return run


@pytest.fixture
def audio(tmp_path, monkeypatch):
    """in/{one.wav, two.flac, sub/three.mp3} below the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/sub").mkdir(parents=True)
    soundfile.write("in/one.wav", speech([600, 700]), RATE)
    soundfile.write("in/two.flac", speech([900]), RATE)
    soundfile.write("in/sub/three.mp3", speech([1000, 450, 800]), RATE)
    return tmp_path


def test_one_file_is_its_text(run, audio):
    for name in ("in/one.wav", "./in/one.wav", "in//one.wav", audio / "in/one.wav"):
        assert run(name) == (0, "t600 t700\n", "")
    assert run("./in/one.wav", "-f", "srt")[0] == 0


def test_several_are_lines_in_input_order(run, audio):
    status, out, error = run("in")
    assert (status, error) == (0, "")
    assert out == ("in/one.wav\tt600 t700\nin/sub/three.mp3\tt1000 t450 t800\nin/two.flac\tt900\n")


def test_a_folder_with_one_file_looks_like_a_folder(run, audio):
    assert run("in/sub")[1] == "in/sub/three.mp3\tt1000 t450 t800\n"


@pytest.mark.parametrize("name", ["json", "srt", "vtt", "tsv", "TextGrid", "jsonl", "ctm", "trn"])
def test_every_format_of_one_file_on_stdout(run, audio, name):
    status, out, _ = run("in/one.wav", "--format", name)
    assert status == 0
    assert "t600" in out


def test_jsonl_on_stdout_has_a_line_for_each_input(run, audio):
    status, out, error = run("in/one.wav", "nowhere.wav", "in/one.wav", "-f", "jsonl")
    assert status == 1
    one, missing = map(json.loads, out.splitlines())
    assert (one["status"], one["text"]) == ("ok", "t600 t700")
    assert (missing["status"], missing["reason"]) == ("failed", "No such file or directory")
    assert "asr: failed: nowhere.wav: No such file or directory" in error


def test_folder_to_folder(run, audio):
    status, out, error = run("in", "-f", "txt,srt", "-f", "jsonl", "-o", "out")
    assert (status, out, error) == (0, "", "")
    files = sorted(
        str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()
    )
    assert files == [
        "asr-run.jsonl",
        "asr-summary.json",
        "one.srt",
        "one.txt",
        "sub/three.srt",
        "sub/three.txt",
        "transcripts.jsonl",
        "two.srt",
        "two.txt",
    ]
    assert Path("out/sub/three.txt").read_text() == "t1000 t450 t800\n"


def test_stdin(run, audio):
    data = Path("in/two.flac").read_bytes()
    assert run("-", stdin=data) == (0, "t900\n", "")
    assert run("--files-from", "-", stdin=b"in/two.flac\nin/one.wav\n")[1] == (
        "in/two.flac\tt900\nin/one.wav\tt600 t700\n"
    )


def test_a_manifest_with_clips(run, audio):
    lines = [
        {"audio_filepath": "in/one.wav", "text": "", "duration": 0.65, "utterance_id": "x"},
        {"audio_filepath": "in/one.wav", "text": "", "duration": 0.6, "offset": 0.65,
         "utterance_id": "y"},
    ]  # fmt: skip
    Path("m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("m.jsonl", "-f", "trn")[1] == "t600 (x)\nt700 (y)\n"


def test_channels(run, audio):
    both = np.stack([speech([600]), speech([900])], axis=1)
    soundfile.write("two.wav", both, RATE)
    assert run("two.wav", "--channel", 1)[1] == "t900\n"
    assert run("two.wav", "--channels", "separate")[1] == "two.wav.ch0\tt600\ntwo.wav.ch1\tt900\n"
    status, _, error = run("two.wav", "--channel", 7)
    assert (status, "has no channel 7" in error) == (3, True)


def test_shards_make_the_whole(run, audio):
    whole = run("in")[1]
    assert run("in", "--shard", "1/2")[1] + run("in", "--shard", "2/2")[1] == whole
    for part in ("1/2", "2/2"):
        assert run("in", "--shard", part, "-o", "out")[0] == 0
    assert run("in", "-o", "out", "--resume", "-f", "jsonl")[0] == 0
    assert len(Path("out/transcripts.jsonl").read_text().splitlines()) == 3
    assert json.loads(Path("out/asr-summary.json").read_text())["files"]["skipped"] == 3


def test_resume_skips_by_content(run, audio, recognizer):
    assert run("in", "-o", "out")[0] == 0
    recognizer.batches.clear()
    assert run("in", "-o", "out", "--resume")[0] == 0
    assert recognizer.batches == []
    soundfile.write("in/two.flac", speech([1200]), RATE)
    assert run("in", "-o", "out", "--resume")[0] == 0
    assert sum(map(len, recognizer.batches)) == 1
    assert Path("out/two.txt").read_text() == "t1200\n"
    recognizer.model_id = "another"
    recognizer.batches.clear()
    run("in", "-o", "out", "--resume")
    assert sum(map(len, recognizer.batches)) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to transcribe"),
        (("in", "-f", "docx"), "unknown format 'docx'"),
        (("in", "-f", "srt"), "srt of several inputs needs a folder"),
        (("in", "-f", "txt,srt"), "several formats need a folder"),
        (("in", "--resume"), "--resume needs -o"),
        (("in", "--shard", "3/2"), "1 <= i <= n"),
        (("in", "--channel", "0", "--channels", "separate"), "exclude each other"),
        (("in", "--no-such-option"), "--no-such-option"),
        (("in", "--jobs", "0"), "--jobs"),
        (("-", "--files-from", "-"), "only once"),
        (("in", "-o", "in/one.wav"), "is not a folder"),
    ],
)
def test_wrong_usage_is_status_2(run, audio, arguments, says):
    status, out, error = run(*arguments)
    assert (status, out) == (2, "")
    assert says in error.replace("\n", " ")
    assert "Traceback" not in error


def test_all_failed_is_status_3(run, audio):
    assert run("nowhere.wav")[0] == 3
    assert run("nowhere.wav", "-o", "out")[0] == 3
    assert json.loads(Path("out/asr-summary.json").read_text())["failures"] == {
        "No such file or directory": 1
    }


def test_the_broken_corpus_through_the_command(run, tmp_path):
    """Every case has its line in the log; the good ones their text; no traceback."""
    (tmp_path / "in").mkdir()
    make_corpus(tmp_path / "in")
    status, out, error = run(tmp_path / "in", "-o", tmp_path / "out", "-f", "txt,json,jsonl")
    (tmp_path / "in/locked.wav").chmod(0o644)
    assert (status, out) == (1, "")
    assert "Traceback" not in error
    lines = [json.loads(line) for line in (tmp_path / "out/asr-run.jsonl").read_text().splitlines()]
    statuses = {Path(line["audio_filepath"]).name: line["status"] for line in lines[1:]}
    expected = {case.name: case.status for case in CASES}
    if os.geteuid() == 0:
        expected["locked.wav"] = "ok"
    assert statuses == expected
    written = len(list((tmp_path / "out").glob("*.txt")))
    assert written == sum(status != "failed" for status in expected.values())
    assert error.count("asr: failed: ") == sum(one == "failed" for one in expected.values())
    combined = (tmp_path / "out/transcripts.jsonl").read_text().splitlines()
    assert len(combined) == len(CASES)


def test_a_disk_that_fills_up_is_said_once(run, audio, monkeypatch):
    import errno

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asr.outputs.write_atomically", full)
    status, _, error = run("in", "-o", "out")
    assert status == 3
    assert error.count("No space left on device") == 1
    assert "--resume" in error
    monkeypatch.undo()


# --- in a process of its own ----------------------------------------------------------------------

PROGRAM = f"""
import sys, types
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from tones import ToneRecognizer
fake = types.ModuleType("asr.transcribe")
fake.load_model = lambda *arguments, **options: ToneRecognizer(pause_s=0.01)
sys.modules["asr.transcribe"] = fake
from asr.cli import main
main(["transcribe", *sys.argv[1:]])
"""


def start(*arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)


@pytest.fixture
def many(tmp_path):
    """60 recordings of one to three words each; returns their texts by name."""
    (tmp_path / "in").mkdir()
    texts = {}
    for index in range(60):
        words = [300 + 50 * ((index * 7 + k) % 50) for k in range(1 + index % 3)]
        soundfile.write(tmp_path / f"in/{index:02}.flac", speech(words), RATE)
        texts[f"{index:02}"] = text_of(words)
    return texts


def wait_for_lines(log, number):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.002)
    raise AssertionError(f"{log} never had {number} lines")


def test_killed_three_times_it_ends_with_one_right_result_per_file(tmp_path, many):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    out, log = tmp_path / "out", tmp_path / "out/asr-run.jsonl"
    command = (tmp_path / "in", "-o", out, "-f", "txt,json,jsonl", "--resume", "--batch-seconds", 1)
    lines = 0
    for _ in range(3):
        process = start(*command)
        wait_for_lines(log, lines + chance.randrange(2, 16))
        time.sleep(chance.random() * 0.02)
        process.kill()
        assert process.wait() == -signal.SIGKILL, seed
        process.stderr.close()
        lines = log.read_bytes().count(b"\n")
    process = start(*command)
    _, error = process.communicate()
    assert (process.returncode, error) == (0, ""), seed
    assert {p.stem: p.read_text().strip() for p in out.glob("*.txt")} == many, seed
    assert {p.stem: json.loads(p.read_text())["text"] for p in out.glob("[0-9]*.json")} == many
    combined = [json.loads(line) for line in (out / "transcripts.jsonl").read_text().splitlines()]
    assert [(line["utterance_id"], line["text"]) for line in combined] == list(many.items()), seed
    logged = [json.loads(x) for x in log.read_bytes().splitlines() if x.endswith(b"}")]
    transcribed = [line["name"] for line in logged if line.get("status") == "ok"]
    assert sorted(transcribed) == sorted(many), seed  # none was done twice
    assert not list(out.rglob("*.tmp")), seed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(tmp_path, many, number):
    out = tmp_path / "out"
    command = (tmp_path / "in", "-o", out, "--batch-seconds", 1)
    process = start(*command)
    wait_for_lines(out / "asr-run.jsonl", 5)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 130
    assert "asr: interrupted" in error
    assert "--resume" in error
    assert "Traceback" not in error
    process = start(*command, "--resume")
    process.communicate()
    assert process.returncode == 0
    assert {p.stem: p.read_text().strip() for p in out.glob("*.txt")} == many


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("redirection", "says"),
    [("> /dev/full", "cannot write to stdout: No space left"), (">&-", "stdout is closed")],
)
def test_a_stdout_that_takes_nothing_is_told(tmp_path, many, redirection, says):
    command = shlex.join([sys.executable, "-c", textwrap.dedent(PROGRAM), "in", "-f", "jsonl"])
    done = subprocess.run(
        ["sh", "-c", f"{command} {redirection}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path, many):
    process = start(tmp_path / "in", "--batch-seconds", 1, stdout=subprocess.PIPE)
    assert process.stdout.readline().endswith("\tt300\n")
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (0, "")


# --- with the real recognizer ---------------------------------------------------------------------


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    from asr.bundle import save_bundle

    return save_bundle(tiny_bundle, tmp_path / "bundle")


def test_the_command_and_python_give_the_same_transcript(bundle, audio, capfd):
    from asr.batch import transcribe_files
    from asr.cli import main
    from asr.transcribe import load_model

    with pytest.raises(SystemExit) as left:
        main(["transcribe", "in", "--model", str(bundle), "-f", "jsonl"])
    assert left.value.code == 0
    printed = [json.loads(line)["text"] for line in capfd.readouterr().out.splitlines()]
    model = load_model(bundle)
    paths = ["in/one.wav", "in/sub/three.mp3", "in/two.flac"]
    assert printed == [model.transcribe(path).text for path in paths]
    results = list(transcribe_files(model, ["in"]))
    assert [result.transcript.text for result in results] == printed
    assert any(printed)


@pytest.mark.parametrize("num_samples", [1, 160, 399, 400, 1600])
def test_recordings_of_a_few_samples(bundle, tmp_path, num_samples):
    from asr.batch import transcribe_files
    from asr.transcribe import load_model

    noise = np.random.default_rng(0).normal(0, 0.1, num_samples)
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    (result,) = transcribe_files(load_model(bundle), [tmp_path / "a.wav"])
    assert result.status in ("ok", "empty"), result.reason
    assert result.transcript.duration_s == num_samples / RATE


def test_a_model_that_is_not_there_is_status_3(audio, capfd):
    from asr.cli import main

    with pytest.raises(SystemExit) as left:
        main(["transcribe", "in", "--model", "nowhere"])
    assert left.value.code == 3
    assert "no model at nowhere" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cores", "device", "threads", "workers", "expected"),
    [
        (2, "cpu", None, None, (2, 1)),
        (1, "cpu", None, None, (1, 1)),
        (32, "cpu", None, None, (8, 4)),
        (4, "cpu", 2, None, (2, 2)),
        (4, "cpu", 8, None, (1, 8)),
        (4, "cpu", None, 1, (1, 4)),
        (4, "cpu", 1, 3, (3, 1)),
        (4, "cuda", None, None, (1, None)),
    ],
)
def test_cores_are_shared_out_to_batches(monkeypatch, cores, device, threads, workers, expected):
    set_threads = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr("torch.set_num_threads", set_threads.append)
    found = _share_cores(device, threads, workers)
    assert (found, (set_threads or [None])[0]) == expected
