from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asr.bundle import Bundle, save_bundle
from asr.confidence import Calibration
from asr.decoder import DecoderOptions, make_decoder
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AsrError, UsageError
from asr.tokenizer import BLANK, BpeTokenizer, CharTokenizer
from asr.transcribe import Recognizer, load_model, to_transcript


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


def test_load_model(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = save_bundle(tiny_bundle, tmp_path / "model")
    recognizer = load_model(path, device="cpu")
    assert recognizer.sample_rate == 16_000
    assert len(recognizer.model_id) == 16
    assert recognizer.transcribe(noise(1.0)) == Recognizer(tiny_bundle).transcribe(noise(1.0))


def test_what_cannot_be_loaded_is_said(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(AsrError, match="no default model"):
        load_model()
    path = save_bundle(tiny_bundle, tmp_path / "model")
    with pytest.raises(AsrError, match="device 'cuda:77'"):
        load_model(path, device="cuda:77")
    with pytest.raises(AsrError, match="device 'toaster'"):
        load_model(path, device="toaster")
    with pytest.raises(UsageError, match="precision"):
        load_model(path, device="cpu", precision="float8")
