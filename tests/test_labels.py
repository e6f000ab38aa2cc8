"""Clips of recordings, and the texts that a network learns from them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from language_bundle import write_language_model, write_noise_manifest, write_rescorer
from numpy.typing import NDArray
from tones import RATE, speech

from asr import labels
from asr.bundle import Bundle, Decoding, save_bundle
from asr.errors import AsrError, UsageError
from asr.inputs import work_list
from asr.labels import check_can_label, cut_clips, label, probabilities, spread
from asr.listen import MIN_WINDOW_S
from asr.manifest import Utterance, read_manifest
from asr.segment import MAX_WINDOW_S
from asr.transcribe import Recognizer, load_model
from asr.utterances import load_utterance


def write(path: Path, samples: NDArray[np.float64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A short recording, a long one, a silent one, one of 50 ms, and a file that is no audio."""
    folder = tmp_path / "recordings"
    utterance = speech([300 + 50 * (number * 7 % 50) for number in range(20)])
    write(folder / "short.wav", utterance)
    write(folder / "talks/long.wav", np.concatenate([utterance] * 10))
    write(folder / "silent.wav", np.zeros(2 * RATE))
    write(folder / "click.wav", utterance[: RATE // 20])
    (folder / "broken.flac").write_bytes(b"no audio at all" * 100)
    return folder


def test_clips_are_the_windows_of_the_recordings(recordings: Path) -> None:
    clips = cut_clips(work_list([str(recordings), str(recordings / "short.wav")]), RATE, 5.0)
    names = [clip.utterance_id for clip in clips.utterances]
    assert names[0] == "short"
    assert names[1:] == [f"talks/long#{number}" for number in range(len(names) - 1)]
    assert len(names) > 3
    assert all(MIN_WINDOW_S <= clip.duration_s <= MAX_WINDOW_S for clip in clips.utterances)
    (failure,) = clips.failures
    assert "broken.flac" in failure
    heard = [load_utterance(clip, RATE) for clip in clips.utterances]
    long, _ = soundfile.read(recordings / "talks/long.wav", dtype="float32")
    np.testing.assert_array_equal(np.concatenate(heard[1:]), long)
    assert clips.hours == pytest.approx(sum(map(len, heard)) / RATE / 3600)


def test_clips_of_clips(recordings: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "part.jsonl"
    path = recordings / "talks/long.wav"
    manifest.write_text(
        f'{{"audio_filepath": "{path}", "offset": 3.0, "duration": 2.5, "utterance_id": "a/b"}}\n'
    )
    (clip,) = cut_clips(work_list([str(manifest)]), RATE, 5.0).utterances
    assert (clip.utterance_id, clip.offset_s, clip.duration_s) == ("a/b", 3.0, 2.5)


def test_of_much_speech_some_from_everywhere(recordings: Path) -> None:
    items = work_list([str(recordings)])
    everything = cut_clips(items, RATE, 5.0)
    half = cut_clips(items, RATE, everything.hours / 2)
    assert len(half.utterances) == round(len(everything.utterances) / 2)
    assert half.utterances[0] == everything.utterances[0]
    assert half.utterances[-1] in everything.utterances[-2:]
    assert len(cut_clips(items, RATE, 1e-9).utterances) == 1


@pytest.mark.parametrize(("count", "numbers"), [(4, [0, 2, 5, 7]), (20, range(10)), (0, [0])])
def test_spread(count: int, numbers: list[int]) -> None:
    clips = [Utterance(str(number), Path("x"), "", 1.0) for number in range(10)]
    assert [int(clip.utterance_id) for clip in spread(clips, count)] == list(numbers)


def test_nothing_to_hear_is_an_error(recordings: Path) -> None:
    with pytest.raises(AsrError, match=r"nothing to adapt to.*broken\.flac"):
        cut_clips(work_list([str(recordings / "broken.flac")]), RATE, 5.0)
    with pytest.raises(AsrError, match="recordings are silent"):
        cut_clips(work_list([str(recordings / "silent.wav")]), RATE, 5.0)


def test_probabilities() -> None:
    found = probabilities(np.array([-700.0, -702.0, -5000.0]))
    assert found.sum() == pytest.approx(1)
    assert np.log(found[0] / found[1]) == pytest.approx(2 / labels.TEMPERATURE)
    assert found[2] == 0


@pytest.fixture
def recognizers(phone_bundle: Bundle, tmp_path: Path) -> dict[str, Recognizer]:
    """With a neural language model in a second pass, and without one."""
    lm, neural = write_language_model(tmp_path / "lm.ngram"), write_rescorer(tmp_path / "r")
    bundle = replace(phone_bundle, language_model=lm, decoding=Decoding(0.7, 1.5, 16))
    save_bundle(bundle, tmp_path / "plain")
    save_bundle(replace(bundle, rnnlm=neural), tmp_path / "neural")
    return {name: load_model(tmp_path / name, device="cpu") for name in ("plain", "neural")}


@pytest.mark.parametrize("name", ["plain", "neural"])
def test_texts_are_drawn_from_what_was_heard(
    recognizers: dict[str, Recognizer], name: str, tmp_path: Path
) -> None:
    recognizer = recognizers[name]
    clips = read_manifest(write_noise_manifest(tmp_path, 3))
    drawn, failures = label(clips, recognizer, 200)
    assert not failures
    texts = {clip.utterance_id: Counter[str]() for clip in clips}
    for one in drawn:
        clip, _, number = one.utterance_id.partition("+")
        assert 0 <= int(number) < 200
        texts[clip][one.text] += 1
    assert len({one.utterance_id for one in drawn}) == len(drawn) <= 600
    for clip in clips:
        waveform = load_utterance(clip, recognizer.sample_rate)
        (heard,) = labels._hypotheses(recognizer, [waveform])
        assert len(heard) > 1
        best = recognizer.transcribe_batch([waveform])[0].text
        assert next(iter(heard)) == best
        assert list(heard.values()) == sorted(heard.values(), reverse=True)
        share = probabilities(np.array(list(heard.values())))
        expected = dict(zip(heard, 200 * share, strict=True))
        assert set(texts[clip.utterance_id]) <= set(heard) - {""}
        for text in set(heard) - {""}:
            assert texts[clip.utterance_id][text] == pytest.approx(expected[text], abs=35)


def test_other_clips_change_nothing(recognizers: dict[str, Recognizer], tmp_path: Path) -> None:
    clips = read_manifest(write_noise_manifest(tmp_path, 3))
    together, _ = label(clips, recognizers["neural"], 5)
    alone, _ = label(clips[1:2], recognizers["neural"], 5)
    assert alone == [one for one in together if one.utterance_id.startswith("u1+")]


def test_a_clip_that_has_gone_is_named(recognizers: dict[str, Recognizer], tmp_path: Path) -> None:
    clips = read_manifest(write_noise_manifest(tmp_path, 2))
    clips[0].audio_path.unlink()
    drawn, (failure,) = label(clips, recognizers["plain"], 2)
    assert failure.startswith("u0: ")
    assert {one.utterance_id for one in drawn} <= {"u1+0", "u1+1"}


def test_without_a_language_model_there_is_nothing_to_learn(
    tiny_bundle: Bundle, recognizers: dict[str, Recognizer], tmp_path: Path
) -> None:
    model = save_bundle(tiny_bundle, tmp_path / "alone")
    for options in ({}, {"decoder": "beam"}):
        with pytest.raises(UsageError, match="needs a language model"):
            check_can_label(load_model(model, device="cpu", **options))
    check_can_label(recognizers["plain"])


def test_where_no_words_are_heard(
    recognizers: dict[str, Recognizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_hypotheses", lambda recognizer, batch: [{"": 0.0} for _ in batch])
    with pytest.raises(AsrError, match="no words were heard"):
        label(read_manifest(write_noise_manifest(tmp_path, 2)), recognizers["plain"], 3)
