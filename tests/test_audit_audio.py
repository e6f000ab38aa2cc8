"""Headers and content of audio behind a manifest; the command line from end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tones import silence, speech, tone

from asr.audit import AuditOptions, audit
from asr.audit_facts import Reason
from asr.cli import main
from asr.manifest import Utterance, read_manifest, write_manifest

RATE = 16_000
SPEECH = speech([600, 900, 450])


def run(*arguments: str) -> int:
    """Exit status of `asr info ARGUMENTS`."""
    with pytest.raises(SystemExit) as stopped:
        main(["info", *arguments])
    code = stopped.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A manifest whose utterance ids say what is wrong with them."""
    seconds = len(SPEECH) / RATE
    recorded = {
        "fine": (SPEECH, RATE, "wav"),
        "same-audio": (SPEECH, RATE, "flac"),
        "telephone": (SPEECH[::2], RATE // 2, "wav"),
        "clipped": (np.clip(SPEECH * 20, -1, 1), RATE, "wav"),
        "silent": (silence(seconds), RATE, "wav"),
        "constant": (silence(seconds) + np.float32(0.1), RATE, "wav"),
        "quiet": (SPEECH * 0.05, RATE, "wav"),
        "shorter": (SPEECH[: RATE // 2], RATE, "wav"),
        "long": (speech([600] * 12), RATE, "flac"),
    }
    for name, (waveform, rate, suffix) in recorded.items():
        pcm = np.round(waveform * 32_767).astype(np.int16)
        soundfile.write(tmp_path / f"{name}.{suffix}", pcm, rate)
    utterances = [
        Utterance(name, tmp_path / f"{name}.{suffix}", name, seconds, speaker_id="s")
        for name, (_, _, suffix) in recorded.items()
        if name != "long"
    ]
    length = soundfile.info(tmp_path / "long.flac").duration
    utterances += [
        Utterance("clip", tmp_path / "long.flac", "clip", 1.0, 0.0),
        Utterance("open-clip", tmp_path / "long.flac", "open clip", 0.0, 1.0),
        Utterance("beyond", tmp_path / "long.flac", "beyond", 1.0, length - 0.5),
        Utterance("missing", tmp_path / "nowhere.wav", "missing", 1.0),
        Utterance("not-audio", tmp_path / "text.wav", "not audio", 1.0),
        Utterance("cut", tmp_path / "cut.flac", "cut", seconds),
    ]
    (tmp_path / "text.wav").write_text("not audio at all\n" * 99)
    whole = (tmp_path / "same-audio.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    write_manifest(tmp_path / "m.jsonl", utterances)
    return tmp_path / "m.jsonl"


HEADERS = {
    (Reason.MISSING_AUDIO, "missing"),
    (Reason.UNREADABLE_AUDIO, "not-audio"),
    (Reason.DURATION, "shorter"),
    (Reason.DURATION, "beyond"),
    (Reason.SAMPLE_RATE, "telephone"),
}
CONTENT = {
    (Reason.DUPLICATE_AUDIO, "same-audio"),
    (Reason.SILENCE, "silent"),
    (Reason.SILENCE, "constant"),
    (Reason.CLIPPING, "clipped"),
    (Reason.DAMAGED_AUDIO, "cut"),
}


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize(("content", "expected"), [(False, HEADERS), (True, HEADERS | CONTENT)])
def test_each_fault_is_found_and_nothing_else(
    corpus: Path, content: bool, expected: set[tuple[Reason, str]], jobs: int
) -> None:
    result = audit([corpus], AuditOptions(content=content, jobs=jobs))
    assert {(one.reason, one.utterance.utterance_id) for one in result.findings} == expected
    assert len(result.findings) == len(expected)


def test_summary_and_details(corpus: Path) -> None:
    calls = []
    result = audit([corpus], AuditOptions(content=True), lambda *call: calls.append(call))
    (one,) = result.manifests
    assert one.audio is not None
    assert one.audio.num_files == 12
    assert dict(one.audio.sample_rates) == {16_000: 9, 8_000: 1}
    assert dict(one.audio.channels) == {1: 10}
    assert one.audio.levels is not None
    assert one.audio.levels.maximum <= 0
    details = {one.utterance.utterance_id: one.detail for one in result.findings}
    assert details["telephone"] == "8000 Hz; the model hears 16000 Hz"
    assert details["silent"] == "loudest 25 ms: digital silence"
    assert details["same-audio"] == "as in fine"
    assert (
        "no decoder recognises this" in details["not-audio"] or "libsndfile" in details["not-audio"]
    )
    assert calls[-1] == ("decoded", 12, 12)
    assert calls[0] == ("headers", 12, 12)


def test_open_durations_are_taken_from_the_file(corpus: Path) -> None:
    """Two seconds less than the file holds are counted for the clip that is open at its end."""
    utterances = {one.utterance_id: one for one in read_manifest(corpus)}
    write_manifest(corpus, [utterances["open-clip"]])
    (one,) = audit([corpus]).manifests
    length = soundfile.info(utterances["open-clip"].audio_path).duration
    assert one.duration_s == pytest.approx(length - 1.0)
    assert one.rates is not None
    assert one.rates.median == pytest.approx(9 / (length - 1.0))
    assert audit([corpus], AuditOptions(headers=False)).manifests[0].rates is None


def test_loudness_does_not_hide_in_a_long_clip(tmp_path: Path) -> None:
    """One word in a minute of silence is no silence."""
    waveform = np.concatenate([silence(40), tone(600), silence(20)])
    soundfile.write(tmp_path / "a.flac", waveform, RATE)
    write_manifest(
        tmp_path / "m.jsonl", [Utterance("a", tmp_path / "a.flac", "a", len(waveform) / RATE)]
    )
    assert audit([tmp_path / "m.jsonl"], AuditOptions(content=True)).findings == ()


def test_command_audits_and_cleans(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    drops = [f"--drop={reason}" for reason in ("missing-audio", "unreadable-audio", "silence")]
    assert run(str(corpus), "--audio", "-o", str(out), *drops) == 0
    printed = capsys.readouterr().out
    assert "14 utterances" in printed
    assert f"{out / 'm.jsonl'}: 10 kept, 4 left out" in printed
    kept = [one.utterance_id for one in read_manifest(out / "m.jsonl")]
    assert {"missing", "not-audio", "silent", "constant"}.isdisjoint(kept)
    left_out = [row.split("\t")[1:3] for row in (out / "left_out.tsv").read_text().splitlines()]
    assert left_out == [
        ["utterance_id", "reason"],
        ["missing", "missing-audio"],
        ["not-audio", "unreadable-audio"],
        ["silent", "silence"],
        ["constant", "silence"],
    ]
    report = json.loads((out / "audit.json").read_text())
    assert report["content_checked"] is True
    assert {one["reason"]: one["count"] for one in report["findings"]}["damaged-audio"] == 1
    assert run(str(out / "m.jsonl"), "--audio") == 0


def test_unreadable_audio_makes_the_status_1(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(corpus)) == 1
    assert "missing: " in capsys.readouterr().out
    assert run(str(corpus), "--no-headers") == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--drop", "noise", "-o", "out"], 2, "there are: missing-audio"),
        (["--drop", "silence", "-o", "out"], 2, "add --audio"),
        (["--drop", "duration"], 2, "say into which folder with -o"),
        (["--audio", "--no-headers"], 2, "leave out --no-headers"),
        (["--normalizer", "no"], 2, "no text normaliser is called 'no'"),
        (["--drop", "duration", "-o", "."], 3, "is the manifest itself"),
        (["-o", "m.jsonl"], 3, "cannot write to m.jsonl"),
        (["-m", "nowhere"], 3, "no model at nowhere"),
        (["m.jsonl"], 2, "was given 2 times"),
        (["nowhere"], 3, "nowhere is no bundle, manifest, run folder or report"),
    ],
)
def test_wrong_commands_are_explained(
    corpus: Path,
    arguments: list[str],
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(corpus.parent)
    assert run("m.jsonl", *arguments) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_options_of_manifests_are_refused_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text('{"wer": 0.1, "cer": 0.05}')
    assert run(str(tmp_path), str(tmp_path / "report.json")) == 0
    assert capsys.readouterr().out.count("WER 10.00 %") == 2
    assert run(str(tmp_path), "--audio") == 2
    assert "are for manifests" in capsys.readouterr().err


def test_librispeech_has_no_fault_that_stops_training(asr_data: Path, tmp_path: Path) -> None:
    from asr.corpora.librispeech import prepare_librispeech

    (subset,) = prepare_librispeech(asr_data, ["dev-clean"], tmp_path)
    result = audit([subset.manifest])
    (one,) = result.manifests
    assert (one.num_utterances, one.num_speakers) == (671, 11)
    assert one.hours == pytest.approx(1.48, abs=0.005)
    reasons = {found.reason for found in result.findings}
    assert reasons <= {Reason.SPEAKING_RATE, Reason.DUPLICATE_TEXT}
    assert len(result.findings) < 20
