from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asr.audio import AudioError, AudioWarning
from asr.bundle import Bundle, save_bundle
from asr.confidence import Calibration
from asr.decoder import DecoderOptions, make_decoder
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AsrError, UsageError
from asr.tokenizer import BLANK, BpeTokenizer, CharTokenizer
from asr.transcribe import Recognizer, load_model
from asr.words import to_transcript


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(16_000 * seconds))
    return (0.1 * samples).astype(np.float32)


def test_words_their_times_and_confidences() -> None:
    """ "he  is": two spaces in a row make no empty word; times are frames of 30 ms."""
    tokenizer = CharTokenizer.from_texts(["he is"])
    token_ids = tuple(tokenizer.encode("he  is"))
    spans = ((2, 3), (3, 5), (5, 6), (8, 9), (10, 11), (12, 14))
    hypothesis = Hypothesis(token_ids, spans, (0.9, 0.5, 0.1, 0.1, 0.8, 0.7), -1.0)
    transcript = to_transcript(hypothesis, tokenizer, output_frame_s=0.03, duration_s=0.41)
    assert transcript.text == "he is"
    he, is_ = transcript.words
    assert (he.text, he.start_s, he.end_s, he.confidence) == ("he", 0.06, pytest.approx(0.15), 0.7)
    assert (is_.start_s, is_.end_s) == (pytest.approx(0.3), 0.41)  # never beyond the audio


def test_confidences_are_calibrated_for_the_decoder_in_use(tiny_bundle: Bundle) -> None:
    sure = Calibration(slope=0.0, length_slope=0.0, offset=2.0)
    bundle = replace(tiny_bundle, greedy_calibration=sure)
    hypothesis = Hypothesis((2, 3), ((0, 1), (1, 2)), (0.5, 0.5), 0.0)
    as_decoded = Recognizer(tiny_bundle).to_transcript(hypothesis, 1.0)
    calibrated = Recognizer(bundle).to_transcript(hypothesis, 1.0)
    assert [word.confidence for word in as_decoded.words] == [0.5]
    assert [word.confidence for word in calibrated.words] == [pytest.approx(0.8808, abs=1e-4)]
    assert calibrated.text == as_decoded.text
    beam = make_decoder(bundle, DecoderOptions("beam"))
    with_beam = Recognizer(bundle, decoder=beam).to_transcript(hypothesis, 1.0)
    assert with_beam == as_decoded  # measured for greedy decoding alone


def test_words_of_pieces() -> None:
    """▁he is | ▁ | ▁ it: a mark alone makes no word, and a word begins with its first letters."""
    tokenizer = BpeTokenizer((BLANK, "▁he", "is", "▁", "it"))
    spans = ((2, 3), (3, 5), (5, 6), (7, 8), (9, 12))
    hypothesis = Hypothesis((1, 2, 3, 3, 4), spans, (0.9, 0.5, 0.1, 0.2, 0.7), -1.0)
    transcript = to_transcript(hypothesis, tokenizer, output_frame_s=0.03, duration_s=0.35)
    assert transcript.text == "heis it" == tokenizer.decode(hypothesis.token_ids)
    first, second = transcript.words
    assert (first.start_s, first.end_s, first.confidence) == (0.06, pytest.approx(0.15), 0.7)
    assert (second.start_s, second.end_s, second.confidence) == (pytest.approx(0.27), 0.35, 0.7)


def test_a_long_run_of_blanks_ends_a_word() -> None:
    """ "he" [10 frames] "is" is one word for all that was written, unless 0.3 s of blanks end it."""
    tokenizer = CharTokenizer.from_texts(["he is it"])
    token_ids = tuple(tokenizer.encode("heis it"))
    spans = ((9, 10), (10, 12), (22, 24), (25, 26), (40, 41), (60, 61), (62, 63))
    hypothesis = Hypothesis(token_ids, spans, (1.0,) * 7, -1.0)

    def words(break_s: float) -> list[tuple[str, float, float]]:
        found = to_transcript(hypothesis, tokenizer, 0.03, 3.0, break_s).words
        return [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in found]

    assert words(0.35) == [("heis", 0.27, 0.78), ("it", 1.8, 1.89)]
    assert words(0.29) == [("he", 0.27, 0.36), ("is", 0.66, 0.78), ("it", 1.8, 1.89)]


def test_nothing_recognised_is_an_empty_transcript() -> None:
    tokenizer = CharTokenizer.from_texts(["a"])
    transcript = to_transcript(Hypothesis((1,), ((0, 1),), (1.0,), 0.0), tokenizer, 0.03, 1.0)
    assert (transcript.text, transcript.words) == ("", ())


def test_a_transcript_does_not_depend_on_its_batch(tiny_bundle: Bundle) -> None:
    recognizer = Recognizer(tiny_bundle)
    waveforms = [noise(seconds, seed) for seed, seconds in enumerate((2.0, 0.7, 1.3, 0.01))]
    together = recognizer.transcribe_batch(waveforms)
    alone = [recognizer.transcribe_batch([waveform])[0] for waveform in waveforms]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.duration_s for one in together] == [2.0, 0.7, 1.3, 0.01]
    assert any(one.text for one in together)  # an untrained network babbles: the test sees text
    assert together[3].text == ""  # less than a frame
    assert recognizer.transcribe_batch([]) == []


def test_a_file_and_its_samples_give_the_same(tiny_bundle: Bundle, tmp_path: Path) -> None:
    recognizer = Recognizer(tiny_bundle)
    soundfile.write(tmp_path / "a.wav", noise(1.0), 16_000, subtype="FLOAT")
    assert recognizer.transcribe(tmp_path / "a.wav") == recognizer.transcribe(noise(1.0))


def test_samples_of_another_rate_are_resampled(tiny_bundle: Bundle) -> None:
    recognizer = Recognizer(tiny_bundle)
    high = soxr.resample(noise(1.0), 16_000, 48_000, quality="HQ")
    back = soxr.resample(high, 48_000, 16_000, quality="HQ")
    assert recognizer.transcribe(high, sample_rate=48_000) == recognizer.transcribe(back)


def long_recording() -> np.ndarray:
    """90 s of noise, with half a second of near silence every 11 s."""
    waveform = noise(90.0)
    for start_s in range(10, 90, 11):
        waveform[start_s * 16_000 : start_s * 16_000 + 8_000] *= 0.001
    return waveform


def test_a_long_recording_goes_in_windows_as_in_a_batch(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    waveform = long_recording()
    soundfile.write(tmp_path / "long.wav", waveform, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", noise(1.0), 16_000, subtype="FLOAT")
    recognizer = Recognizer(tiny_bundle)
    from_samples = recognizer.transcribe(waveform)
    assert from_samples.duration_s == 90.0
    assert from_samples == recognizer.transcribe(tmp_path / "long.wav")
    assert from_samples.text != recognizer.transcribe_batch([waveform])[0].text
    names = [tmp_path / "long.wav", tmp_path / "none.wav", tmp_path / "short.wav"]
    long, none, short = recognizer.transcribe_many(names)
    assert long.transcript is not None
    assert long.transcript.text == from_samples.text
    assert [(word.start_s, word.end_s) for word in long.transcript.words] == [
        (word.start_s, word.end_s) for word in from_samples.words
    ]
    assert (none.status, none.transcript) == ("failed", None)
    assert short.transcript is not None
    assert short.transcript.text == recognizer.transcribe(noise(1.0)).text
    (one,) = recognizer.transcribe_many(str(names[2]))
    assert one.transcript is not None
    assert one.transcript.text == short.transcript.text


def test_integers_are_of_full_scale(tiny_bundle: Bundle) -> None:
    recognizer = Recognizer(tiny_bundle)
    integers = np.round(noise(1.0) * 32_768).astype(np.int16)
    floats = integers.astype(np.float32) / 32_768
    assert recognizer.transcribe(integers) == recognizer.transcribe(floats)


def test_samples_that_are_no_waveform_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    recognizer = Recognizer(tiny_bundle)
    with pytest.raises(UsageError, match=r"shape \(S,\), not \(2, 100\)"):
        recognizer.transcribe(np.zeros((2, 100), np.float32))
    with pytest.raises(UsageError, match="not uint8"):
        recognizer.transcribe(np.zeros(100, np.uint8))
    with pytest.raises(AsrError, match="not finite"):
        recognizer.transcribe(np.full(100, np.nan, np.float32))
    with pytest.raises(UsageError, match="says its own"):
        recognizer.transcribe(tmp_path / "a.wav", sample_rate=8_000)
    with pytest.raises(AudioError, match="none.wav"):
        recognizer.transcribe(tmp_path / "none.wav")


def test_a_file_with_less_than_it_promises_is_a_warning(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, noise(2.0), 16_000)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.warns(AudioWarning, match="cut.wav"):
        transcript = Recognizer(tiny_bundle).transcribe(path)
    assert 1.0 < transcript.duration_s < 1.5


def test_int8_hears_nearly_the_same(tiny_bundle: Bundle) -> None:
    exact, rounded = Recognizer(tiny_bundle), Recognizer(tiny_bundle, precision="int8")
    (a,), (b,) = exact.log_probs([noise(1.0)]), rounded.log_probs([noise(1.0)])
    assert 0 < np.abs(a.tokens - b.tokens).max() < 0.1
    assert rounded.settings != exact.settings
    assert rounded.model.num_parameters == exact.model.num_parameters
    with pytest.raises(UsageError, match="for the CPU"):
        Recognizer(tiny_bundle, precision="int8", device="cuda")


def test_capitals(tiny_bundle: Bundle) -> None:
    lower = Recognizer(tiny_bundle)
    upper = Recognizer(tiny_bundle, upper=True)
    text = lower.transcribe(noise(2.0)).text
    transcript = upper.transcribe(noise(2.0))
    assert text
    assert transcript.text == text.upper() == " ".join(word.text for word in transcript.words)
    assert upper.settings != lower.settings


def test_load_model(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = save_bundle(tiny_bundle, tmp_path / "model")
    recognizer = load_model(path, device="cpu")
    assert recognizer.sample_rate == 16_000
    assert len(recognizer.model_id) == 16
    assert recognizer.transcribe(noise(1.0)) == Recognizer(tiny_bundle).transcribe(noise(1.0))


def test_what_cannot_be_loaded_is_said(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = save_bundle(tiny_bundle, tmp_path / "model")
    with pytest.raises(AsrError, match="device 'cuda:77'"):
        load_model(path, device="cuda:77")
    with pytest.raises(AsrError, match="device 'toaster'"):
        load_model(path, device="toaster")
    with pytest.raises(UsageError, match="precision"):
        load_model(path, device="cpu", precision="float8")
