import itertools
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from broken_corpus import CASES, WORDS, make_corpus
from tones import RATE, ToneRecognizer, silence, speech, text_of, tone

from asr.batch import (
    BatchOptions,
    Status,
    in_order,
    transcribe_files,
    transcribe_items,
)
from asr.codecs import AudioError, hash_file
from asr.inputs import work_list
from asr.items import Item
from asr.pool import Piece, PoolClosed, WindowPool
from asr.segment import Window
from asr.summary import Summary

VOCABULARY = [300 + 50 * (index * 7 % 50) for index in range(400)]


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return str(path)


def by_name(results):
    return {result.item.name: result for result in results}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    yield folder
    (folder / "locked.wav").chmod(0o644)


@pytest.fixture(scope="module")
def outcomes(corpus):
    """All broken inputs in one run, named one by one (so that -dash.wav is a name too)."""
    items = work_list([str(corpus / case.name) for case in CASES])
    results = list(in_order(items, transcribe_items(ToneRecognizer(), items)))
    return dict(zip([case.name for case in CASES], results, strict=True))


def test_there_are_at_least_40_broken_inputs():
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[:40])
def test_broken_input(case, outcomes):
    if case.name == "locked.wav" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    result = outcomes[case.name]
    said = result.reason + " ".join(result.notes)
    assert result.status == case.status, said
    assert case.says in said
    assert bool(case.says) <= bool(said)
    if result.status is Status.FAILED:
        assert result.transcript is None
        assert result.reason
        return
    if not case.says:
        assert result.notes == ()
    heard = result.transcript.text
    if case.hears == "all":
        assert heard == text_of(WORDS)
    elif case.hears == "some":
        assert 0 < len(heard.split()) < 6 * len(WORDS)
        spoken = iter(text_of(WORDS * 6).split())
        assert all(word in spoken for word in heard.split()[:-1]), (
            "in their order; the last may be cut"
        )
    else:
        assert heard == ""


def test_results_do_not_depend_on_neighbours_threads_or_batch_size(corpus):
    inputs = [str(corpus / case.name) for case in CASES if case.status == "ok"]
    runs = [
        [
            (result.item.name, result.transcript)
            for result in in_order(items, transcribe_items(ToneRecognizer(), items, options))
        ]
        for options in (
            BatchOptions(1, 2.0, 4.0),
            BatchOptions(5, 500.0, 4000.0),
            BatchOptions(2, 5, 20, 3),
        )
        for items in [work_list(inputs)]
    ]
    assert runs[0] == runs[1] == runs[2]


def test_long_and_short_recordings_together(tmp_path):
    """A long one without pauses (windows overlap), one with pauses, ten short ones."""
    long = VOCABULARY[:250]
    write(tmp_path / "long.wav", speech(long))
    paused = np.concatenate([speech(VOCABULARY[at : at + 10]) for at in range(0, 200, 10)])
    write(tmp_path / "paused.flac", paused)
    for index in range(10):
        write(tmp_path / f"{index}.wav", speech(VOCABULARY[index : index + 3]))
    recognizer = ToneRecognizer()
    results = by_name(transcribe_files(recognizer, [tmp_path]))
    assert results["long"].transcript.text == text_of(long)
    assert results["paused"].transcript.text == text_of(VOCABULARY[:200])
    assert results["paused"].transcript.duration_s == len(paused) / RATE
    for index in range(10):
        assert results[f"{index}"].transcript.text == text_of(VOCABULARY[index : index + 3])
    assert any(len(set(batch)) > 1 or len(batch) > 5 for batch in recognizer.batches)


def test_results_come_in_input_order(tmp_path):
    durations = [9, 1, 5, 1, 7, 2]
    for index, duration in enumerate(durations):
        write(tmp_path / f"{index}.wav", tone(600, duration))
    names = [result.item.name for result in transcribe_files(ToneRecognizer(), [tmp_path])]
    assert names == [str(index) for index in range(len(durations))]


def test_a_clip_and_a_channel(tmp_path):
    first, second = speech([600, 700]), speech([900, 1000])
    write(tmp_path / "a.wav", np.stack([first, second], axis=1))
    start, length = 0.25, 0.4
    items = [
        Item(tmp_path / "a.wav", "clip", "clip", start, length, channel=0),
        Item(tmp_path / "a.wav", "other", "other", channel=1),
    ]
    results = by_name(transcribe_items(ToneRecognizer(), items))
    assert results["clip"].transcript.text == "t600"
    assert results["clip"].transcript.duration_s == pytest.approx(length)
    assert results["other"].transcript.text == "t900 t1000"


def test_one_waveform_that_the_recognizer_cannot_take_fails_alone(tmp_path):
    for index in range(9):
        waveform = speech([600])
        if index == 4:
            waveform[100] = 0.123
        write(tmp_path / f"{index}.wav", waveform)
    recognizer = ToneRecognizer()
    recognizer.poison = float(soundfile.read(tmp_path / "4.wav", dtype="float32")[0][100])
    results = list(transcribe_files(recognizer, [tmp_path]))
    assert [result.status for result in results] == ["ok"] * 4 + ["failed"] + ["ok"] * 4
    assert results[4].reason == "the recognizer failed: RuntimeError: poisoned"


def test_a_recognizer_that_returns_too_few_is_found_out(tmp_path):
    class Forgetful(ToneRecognizer):
        def transcribe_batch(self, waveforms):
            return super().transcribe_batch(waveforms)[:1]

    for index in range(3):
        write(tmp_path / f"{index}.wav", speech([600 + 50 * index]))
    results = list(transcribe_files(Forgetful(), [tmp_path]))
    assert [result.transcript.text for result in results] == ["t600", "t650", "t700"]


def test_a_decoder_bug_fails_one_input(tmp_path, monkeypatch):
    import asr.batch

    write(tmp_path / "a.wav", speech([600]))
    write(tmp_path / "b.wav", speech([700]))
    real = asr.batch.AudioStream

    def broken(path, *arguments, **options):
        if path.name == "a.wav":
            raise ZeroDivisionError("oops")
        return real(path, *arguments, **options)

    monkeypatch.setattr(asr.batch, "AudioStream", broken)
    first, second = transcribe_files(ToneRecognizer(), [tmp_path])
    assert (first.status, first.reason) == ("failed", "ZeroDivisionError: oops")
    assert second.transcript.text == "t700"


def test_nan_late_in_a_long_recording_fails_it_whole(tmp_path):
    waveform = np.concatenate([speech(VOCABULARY[:10])] * 20)
    waveform[-1000] = np.nan
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    write(tmp_path / "b.wav", speech([700]))
    first, second = transcribe_files(ToneRecognizer(), [tmp_path], BatchOptions(2, 20.0, 60.0))
    assert first.status == "failed"
    assert "not finite" in first.reason
    assert second.status == "ok"


def test_closing_early_stops_the_readers(tmp_path):
    for index in range(50):
        write(tmp_path / f"{index}.wav", speech([600]))
    items = work_list([str(tmp_path)])
    results = transcribe_items(ToneRecognizer(), items, BatchOptions(2, 1.0, 2.0))
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader-")]


def test_no_items_no_results():
    assert list(transcribe_items(ToneRecognizer(), [])) == []


@pytest.mark.parametrize("pool_s", [0.001, 40.0, 75.0])
def test_the_pool_may_be_smaller_than_a_window(tmp_path, pool_s):
    waveform = np.concatenate([speech(VOCABULARY[:10])] * 20)
    write(tmp_path / "a.wav", waveform)
    (result,) = transcribe_files(ToneRecognizer(), [tmp_path], BatchOptions(2, 0.001, pool_s))
    assert result.transcript.text == text_of(VOCABULARY[:10] * 20)


def test_what_waits_decoded_is_bounded(tmp_path):
    """Readers far faster than the recognizer: no more than the pool's size is ever held."""
    pool = WindowPool(3 * RATE, 10 * RATE)
    pool.expect_readers(1)
    held = []

    def read():
        try:
            for number in range(100):
                pool.put(Piece(0, number, Window(0, 0, silence(1))))
                held.append(number)
        except PoolClosed:
            held.append("closed")

    reader = threading.Thread(target=read)
    reader.start()
    while len(held) < 3:
        pass
    reader.join(timeout=0.1)
    assert held == [0, 1, 2]
    pieces, _ = pool.take()
    assert [piece.number for piece in pieces] == [0, 1, 2]
    pool.close()
    reader.join()
    assert held[-1] == "closed"
    assert len(held) <= 7


def test_readers_that_wait_for_room_do_not_wake_each_other(monkeypatch):
    pool = WindowPool(RATE, RATE)
    pool.expect_readers(2)
    pool.put(Piece(0, 0, Window(0, 0, silence(1))))
    waits = []
    wait = threading.Condition.wait

    def counted(self, timeout=None):
        waits.append(threading.current_thread().name)
        return wait(self, timeout)

    monkeypatch.setattr(threading.Condition, "wait", counted)
    piece = Piece(1, 0, Window(0, 0, silence(1)))
    readers = [threading.Thread(target=pool.put, args=(piece,), name="reader") for _ in range(2)]
    for reader in readers:
        reader.start()
    readers[0].join(timeout=0.2)
    assert waits.count("reader") == 2
    taken = 0
    while taken < 3:  # each taking makes room for one
        taken += len(pool.take()[0])
    for reader in readers:
        reader.join()


def test_one_slow_batch_keeps_no_worker_from_those_read_after_it(tmp_path):
    """While one batch is with its worker, the other goes on with files that the pool had no room for."""

    class Patient(ToneRecognizer):
        go_on, calls = threading.Event(), itertools.count()

        def transcribe_batch(self, waveforms):
            if (call := next(self.calls)) == 0:
                assert self.go_on.wait(timeout=20)
            elif call == 4:
                self.go_on.set()
            return super().transcribe_batch(waveforms)

    for number in range(8):
        write(tmp_path / f"{number}.wav", speech([400]))
    options = BatchOptions(1, batch_s=1.0, pool_s=2.0, workers=2)
    results = list(transcribe_files(Patient(), [tmp_path], options))
    assert [result.reason for result in results] == [""] * 8


def test_silence_never_reaches_the_recognizer(tmp_path):
    write(tmp_path / "a.wav", silence(5))
    recognizer = ToneRecognizer()
    (result,) = transcribe_files(recognizer, [tmp_path])
    assert (result.status, recognizer.batches) == ("empty", [])
    assert result.transcript.duration_s == 5.0


def test_hash_is_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    (tmp_path / "c").write_bytes(b"x" * 2_999_999 + b"y")
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b") != hash_file(tmp_path / "c")
    with pytest.raises(AudioError):
        hash_file(tmp_path)


def test_real_speech_of_every_kind(asr_data):
    """Real files through the whole path: lengths are those of the headers, nothing fails."""
    paths = [
        *sorted((asr_data / "kathleen" / "clips").glob("*.opus"))[:3],
        *sorted((asr_data / "LibriSpeech" / "dev-clean").rglob("*.mp3"))[:3],
    ]
    for path, result in zip(paths, transcribe_files(ToneRecognizer(), paths), strict=True):
        assert result.status in ("ok", "empty")
        assert result.notes == ()
        assert result.transcript.duration_s == pytest.approx(
            soundfile.info(path).duration, abs=0.01
        )


def test_summary_and_exit_status():
    summary = Summary()
    assert summary.exit_status == 0
    item = Item(Path("a.wav"), "a")
    from asr.batch import Result

    summary.add(Result(item, Status.FAILED, reason="bad"))
    assert summary.exit_status == 3
    summary.add(Result(item, Status.OK, transcribed_s=3600.0))
    assert summary.exit_status == 1
    assert "1 ok, 1 failed; 1.000 h of audio" in str(summary)
    assert "1 failed: bad" in str(summary)
    assert json.dumps(summary.files)
