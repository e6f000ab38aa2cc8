import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import load_audio
from asr.bundle import Bundle
from asr.errors import AsrError
from asr.evaluate import _length_batches, evaluate
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.text import get_normalizer
from asr.transcribe import Recognizer


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five utterances of noise by two speakers; the references are what anybody might say."""
    random = np.random.default_rng(0)
    utterances = []
    for number in range(5):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, 0.1 * random.standard_normal(16_000 + 4_000 * number), 16_000)
        utterances.append(
            Utterance(
                f"u{number}", path, f"THE WORD {number}", 1 + number / 4, speaker_id=f"s{number % 2}",
                extra={"gender": "FM"[number % 2]},
            )
        )  # fmt: skip
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path / "test.jsonl"


def test_the_report_holds_the_recognizers_own_words(
    tiny_bundle: Bundle, manifest: Path, tmp_path: Path
) -> None:
    recognizer = Recognizer(tiny_bundle)
    evaluation = evaluate(manifest, recognizer, tmp_path / "report")
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["wer"] == pytest.approx(evaluation.score.wer)
    assert report["cer"] == pytest.approx(evaluation.score.cer)
    assert evaluation.audio_s == pytest.approx(7.5)
    for utterance in evaluation.score.utterances:
        alone = recognizer.transcribe(tmp_path / f"{utterance.utterance_id[1:]}.flac")
        assert utterance.hypothesis == alone.text
    references = {utterance.reference for utterance in evaluation.score.utterances}
    assert "the word zero" in references  # normalised as in training
    assert {group.name for group in evaluation.score.speakers} == {"s0", "s1"}
    html = (tmp_path / "report/report.html").read_text()
    assert "the word zero" in html
    assert evaluation.report == tmp_path / "report/report.html"


def test_lengths_that_the_manifest_lacks_are_the_files(
    tiny_bundle: Bundle, manifest: Path, tmp_path: Path
) -> None:
    known = read_manifest(manifest)
    (tmp_path / "broken.flac").write_bytes(b"none")
    broken = Utterance("broken", tmp_path / "broken.flac", "one", 0.0)
    write_manifest(manifest, [*(replace(one, duration_s=0.0) for one in known), broken])
    evaluation = evaluate(manifest, Recognizer(tiny_bundle), tmp_path / "report")
    assert evaluation.audio_s == pytest.approx(7.5)
    assert len(evaluation.failures) == 1
    lines = (tmp_path / "report/utterances.csv").read_text().splitlines()
    durations = [row["duration"] for row in csv.DictReader(lines)]
    assert [float(one) for one in durations if one] == [one.duration_s for one in known]


def test_many_utterances_of_unknown_length_are_not_one_batch(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000 * 30), 16_000)
    clips = [Utterance(f"{n}", tmp_path / "a.wav", "", 0.0, float(n % 2)) for n in range(20)]
    lengths = [len(batch) for batch in _length_batches(clips)]
    assert sum(lengths) == 20
    assert max(lengths) == 8


def test_a_long_utterance_is_cut_as_transcribe_cuts_it(
    tiny_bundle: Bundle, manifest: Path, tmp_path: Path
) -> None:
    """Beside two that are about as long, but not too long for one piece."""
    path = tmp_path / "long.wav"
    noise = 0.1 * np.random.default_rng(1).standard_normal(60 * 16_000)
    noise[20 * 16_000 : 21 * 16_000] = 0  # a pause to cut at
    soundfile.write(path, noise, 16_000)
    utterances = [
        Utterance(f"to-{end_s}", path, "WORDS", float(end_s), offset_s=0.0)
        for end_s in (34, 60, 35)
    ]
    write_manifest(tmp_path / "long.jsonl", utterances)
    recognizer = Recognizer(tiny_bundle)
    evaluation = evaluate(tmp_path / "long.jsonl", recognizer, tmp_path / "report")
    found = {one.utterance_id: one.hypothesis for one in evaluation.score.utterances}
    normalize = get_normalizer(tiny_bundle.normalizer)
    waveform = load_audio(path)
    assert found["to-60"] == normalize(recognizer.transcribe(path).text)
    assert found["to-60"] != normalize(recognizer.transcribe_batch([waveform])[0].text)
    for end_s in (34, 35):
        (alone,) = recognizer.transcribe_batch([waveform[: end_s * 16_000]])
        assert found[f"to-{end_s}"] == normalize(alone.text)


def test_unreadable_audio_counts_as_deleted_words_and_is_named(
    tiny_bundle: Bundle, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "3.flac").write_bytes(b"no audio")
    evaluation = evaluate(manifest, Recognizer(tiny_bundle), tmp_path / "report")
    assert len(evaluation.failures) == 1
    assert evaluation.failures[0].startswith("u3: ")
    assert evaluation.score.missing_ids == ("u3",)
    assert len(evaluation.score.utterances) == 5
    lost = next(one for one in evaluation.score.utterances if one.utterance_id == "u3")
    assert lost.words.deletions == 3


def test_no_readable_audio_is_an_error(tiny_bundle: Bundle, manifest: Path, tmp_path: Path) -> None:
    for path in tmp_path.glob("*.flac"):
        path.unlink()
    with pytest.raises(AsrError, match="no audio of the manifest can be read"):
        evaluate(manifest, Recognizer(tiny_bundle), tmp_path / "report")


def test_a_report_that_cannot_be_written_is_said_before_the_work(
    tiny_bundle: Bundle, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(AsrError, match="cannot make the folder"):
        evaluate(manifest, Recognizer(tiny_bundle), tmp_path / "report")
