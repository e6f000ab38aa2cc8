import numpy as np
import pytest
from tones import RATE, ToneRecognizer, silence, speech, text_of, tone

from asr.segment import (
    CUT_RANGE_S,
    MAX_WINDOW_S,
    OVERLAP_S,
    Part,
    find_pause,
    frame_levels_db,
    join_parts,
    seam,
    split_windows,
)
from asr.transcript import Transcript, Word


def blocks_of(waveform, size=50_000):
    return (waveform[at : at + size] for at in range(0, len(waveform), size))


def transcribe_windows(waveform):
    windows = list(split_windows(blocks_of(waveform), RATE))
    transcripts = ToneRecognizer().transcribe_batch([window.waveform for window in windows])
    parts = [Part(w.start, w.overlap, t) for w, t in zip(windows, transcripts, strict=True)]
    return windows, join_parts(parts, RATE, len(waveform))


def vocabulary(number):
    return [300 + 50 * (index * 7 % 50) for index in range(number)]


def test_a_recording_up_to_the_limit_is_one_window_of_the_same_samples():
    waveform = speech(vocabulary(80))[: round(MAX_WINDOW_S * RATE)]
    (window,) = split_windows(blocks_of(waveform), RATE)
    assert (window.start, window.overlap) == (0, 0)
    np.testing.assert_array_equal(window.waveform, waveform)


def test_no_samples_no_windows():
    assert list(split_windows([], RATE)) == []


def test_windows_without_overlap_are_the_recording():
    waveform = np.concatenate([speech(vocabulary(20)) for _ in range(15)])
    windows = list(split_windows(blocks_of(waveform), RATE))
    assert len(windows) > 3
    assert all(window.overlap == 0 for window in windows)
    np.testing.assert_array_equal(np.concatenate([w.waveform for w in windows]), waveform)


def test_cuts_fall_in_pauses_within_the_range():
    utterance = speech(vocabulary(20))
    waveform = np.concatenate([utterance] * 15)
    for window in list(split_windows(blocks_of(waveform), RATE))[1:]:
        assert (window.start + RATE // 2) % len(utterance) < RATE  # within 0.5 s of a join
    lengths = [len(w.waveform) / RATE for w in split_windows(blocks_of(waveform), RATE)]
    assert all(CUT_RANGE_S[0] <= length <= CUT_RANGE_S[1] for length in lengths[:-1])
    assert lengths[-1] <= MAX_WINDOW_S


def test_the_block_size_of_the_stream_does_not_matter():
    waveform = np.concatenate([speech(vocabulary(20)) for _ in range(10)])
    cuts = [
        [(w.start, len(w.waveform)) for w in split_windows(blocks_of(waveform, size), RATE)]
        for size in (999, 40_000, len(waveform))
    ]
    assert cuts[0] == cuts[1] == cuts[2]


def test_what_comes_later_does_not_move_a_cut():
    """Whispering, with pauses every 11 s, then a shout: what is quiet depends on what is near."""
    waveform = np.random.default_rng(0).standard_normal(90 * RATE).astype(np.float32) * 0.1
    waveform[: 45 * RATE] *= 0.02
    for start_s in range(10, 45, 11):
        waveform[start_s * RATE : start_s * RATE + RATE // 2] *= 0.001
    cuts = [
        [window.start for window in split_windows(blocks_of(waveform, size), RATE)]
        for size in (999, len(waveform))
    ]
    assert cuts[0] == cuts[1]


def test_words_and_times_survive_cuts_at_pauses():
    words = vocabulary(200)
    waveform = np.concatenate([speech(words[at : at + 20]) for at in range(0, 200, 20)])
    windows, transcript = transcribe_windows(waveform)
    assert len(windows) > 1
    assert transcript.text == text_of(words)
    whole = ToneRecognizer().transcribe_batch([waveform])[0]
    drift = [abs(a.start_s - b.start_s) for a, b in zip(transcript.words, whole.words, strict=True)]
    assert max(drift) <= 0.01


def test_no_word_is_lost_or_doubled_where_there_is_no_pause():
    """0.1 s gaps are below MIN_PAUSE_S: the windows overlap and their words are matched."""
    words = vocabulary(400)
    waveform = speech(words)
    windows, transcript = transcribe_windows(waveform)
    assert [window.overlap for window in windows[1:]] == [round(OVERLAP_S * RATE)] * (
        len(windows) - 1
    )
    assert transcript.text == text_of(words)


def test_times_of_an_hour_drift_less_than_20_ms():
    """A tone every 30 s for an hour, windows cut at samples that are no round milliseconds."""
    period = 30 * RATE + 7
    stretch = np.zeros(period, dtype=np.float32)
    stretch[RATE : RATE + round(0.3 * RATE)] = tone(600)
    stretch[9 * RATE : 9 * RATE + round(0.3 * RATE)] = tone(900)
    number = 120
    recognizer, parts = ToneRecognizer(), []
    for window in split_windows((stretch for _ in range(number)), RATE):
        parts.append(Part(window.start, window.overlap, recognizer._hear(window.waveform)))
    transcript = join_parts(parts, RATE, number * period)
    starts = [word.start_s for word in transcript.words if word.text == "t600"]
    true = [(period * index + RATE) / RATE for index in range(number)]
    assert len(starts) == number
    assert max(abs(a - b) for a, b in zip(starts, true, strict=True)) < 0.02
    assert transcript.duration_s == number * period / RATE


def test_find_pause_takes_the_longest():
    waveform = np.concatenate(
        [tone(400, 5), silence(0.3), tone(400, 2), silence(0.8), tone(400, 2), silence(0.4)]
    )
    cut = find_pause(waveform, RATE, 4 * RATE, 10 * RATE)
    assert cut == pytest.approx((5 + 0.3 + 2 + 0.4) * RATE, abs=2 * RATE // 100)


def test_a_noisy_pause_is_a_pause():
    """Speech 15 dB above a steady noise."""
    noise = np.random.default_rng(0).normal(0, 0.3 / np.sqrt(2) / 10 ** (15 / 20), 12 * RATE)
    waveform = np.concatenate([tone(400, 6), silence(0.5), tone(400, 5.5)]) + noise
    cut = find_pause(waveform.astype(np.float32), RATE, 2 * RATE, 11 * RATE)
    assert cut == pytest.approx(6.25 * RATE, abs=RATE // 20)


def test_a_steady_sound_has_no_pause():
    assert find_pause(tone(400, 12), RATE, 2 * RATE, 11 * RATE) is None
    assert find_pause(silence(12), RATE, 2 * RATE, 11 * RATE) is None


def test_frame_levels_of_a_full_scale_sine_are_minus_3_db():
    levels = frame_levels_db(tone(1000, 1.0, level=1.0), 160)
    assert levels.shape == (100,)
    np.testing.assert_allclose(levels, -3.0103, atol=1e-3)
    assert frame_levels_db(silence(0.1), 160).max() == pytest.approx(-100)


def words_at(*placed):
    return [Word(text, start, start + 0.3, 1.0) for text, start in placed]


def test_seam_is_the_shared_word_nearest_the_middle():
    left = words_at(("a", 9.0), ("b", 10.2), ("c", 11.8), ("x", 13.7))
    right = words_at(("y", 10.0), ("b", 10.25), ("c", 11.75), ("d", 12.6), ("e", 14.2))
    kept, added = seam(left, right, 10.0, 14.0)
    assert [word.text for word in kept + added] == ["a", "b", "c", "d", "e"]


def test_seam_without_a_shared_word_is_the_middle():
    left = words_at(("a", 10.5), ("b", 12.5))
    right = words_at(("p", 10.6), ("q", 12.6))
    kept, added = seam(left, right, 10.0, 14.0)
    assert [word.text for word in kept + added] == ["a", "q"]


def test_seam_does_not_keep_two_hearings_of_one_word():
    left, right = words_at(("there", 11.8)), words_at(("their", 11.9))
    kept, added = seam(left, right, 10.0, 14.0)
    assert len(kept + added) == 1


def test_one_part_keeps_its_transcript():
    transcript = Transcript("a text", (), 1.0)
    assert join_parts([Part(0, 0, transcript)], RATE, RATE) == transcript
