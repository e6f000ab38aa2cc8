"""One recording from its blocks: the same transcript as in a batch of many."""

import numpy as np
import pytest
import soundfile
from tones import RATE, ToneRecognizer, silence, speech, text_of

import asr.listen
from asr.batch import transcribe_files
from asr.listen import is_silent, listen, transcribe_recording
from asr.transcript import Transcript, Word

VOCABULARY = [300 + 50 * (index * 7 % 50) for index in range(400)]


def test_a_long_recording_has_all_its_words_and_equals_its_batch(tmp_path):
    waveform = np.concatenate([speech(VOCABULARY[at : at + 10]) for at in range(0, 200, 10)])
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    recognizer = ToneRecognizer()
    transcript = transcribe_recording(recognizer, [waveform[:70_000], waveform[70_000:]])
    assert max(map(max, recognizer.batches)) <= 36 * RATE
    assert transcript.text == text_of(VOCABULARY[:200])
    assert transcript.duration_s == len(waveform) / RATE
    (result,) = transcribe_files(ToneRecognizer(), [tmp_path / "a.wav"])
    assert transcript == result.transcript


def test_a_recording_is_held_in_part_only(monkeypatch):
    """Windows go to the recognizer while later blocks are still to be asked for."""
    monkeypatch.setattr(asr.listen, "POOL_S", 60.0)
    recognizer, heard_at = ToneRecognizer(), []

    def blocks():
        for at in range(0, 400, 10):
            heard_at.append(len(recognizer.batches))
            yield speech(VOCABULARY[at : at + 10])

    transcript = transcribe_recording(recognizer, blocks())
    assert transcript.text == text_of(VOCABULARY)
    assert 0 < heard_at[-1] < len(recognizer.batches)


def test_nothing_is_an_empty_transcript():
    assert transcribe_recording(ToneRecognizer(), []).duration_s == 0.0
    recognizer = ToneRecognizer()
    transcript = transcribe_recording(recognizer, [silence(100.0)])
    assert (transcript.text, transcript.duration_s, recognizer.batches) == ("", 100.0, [])


def test_silence_among_speech_keeps_its_place():
    heard = listen(ToneRecognizer(), [speech([600]), silence(1.5), speech([700])])
    assert [transcript.text for transcript in heard] == ["t600", "", "t700"]
    assert heard[1].duration_s == 1.5


def test_nothing_is_heard_after_the_end_of_a_few_samples():
    """They are lengthened with zeros, in which a network may hear a word too."""

    class Dreamer(ToneRecognizer):
        def transcribe_batch(self, waveforms):
            words = (Word("a", 0.0, 0.06, 0.9), Word("b", 0.06, 0.1, 0.9))
            return [Transcript("a b", words, len(waveform) / RATE) for waveform in waveforms]

    tone = speech([600])
    loud = tone[np.abs(tone).argmax() :][: round(0.03 * RATE)]
    (heard,) = listen(Dreamer(), [loud])
    assert heard == Transcript("a", (Word("a", 0.0, 0.03, 0.9),), len(loud) / RATE)
    assert listen(Dreamer(), [tone])[0].text == "a b"


def test_a_recognizer_that_returns_too_few_is_named():
    class Forgetful(ToneRecognizer):
        def transcribe_batch(self, waveforms):
            return super().transcribe_batch(waveforms)[:1]

    with pytest.raises(RuntimeError, match="1 transcripts for 2 waveforms"):
        listen(Forgetful(), [speech([600]), speech([700])])


def test_silence_is_one_step_of_16_bits():
    assert is_silent(np.full(10, 1 / 32768, np.float32))
    assert not is_silent(np.full(10, 2 / 32768, np.float32))
    assert is_silent(np.zeros(0, np.float32))
