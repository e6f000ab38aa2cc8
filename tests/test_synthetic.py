"""The synthetic corpus: what is said, by whom, how it sounds; and that it is always the same."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora import espeak, synthetic, synthetic_voices
from asr.corpora.sentences import draw_distinct_sentences, draw_sentence, vocabulary
from asr.corpora.synthetic import SPLITS, SyntheticCorpus, draw_plan, prepare_synthetic, voices
from asr.corpora.synthetic_worker import SAMPLE_RATE, SpokenLine, finish, trim_silence
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, read_manifest
from asr.text import normalize

pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (extra demo)")

ROOT = Path(__file__).parents[1]
DEFAULT_SIZES = {"train": 2000, "dev": 120, "test": 300}
SMALL = {"train": 12, "dev": 4, "test": 8}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCorpus:
    return prepare_synthetic(tmp_path_factory.mktemp("synthetic"), **SMALL)


@pytest.fixture(scope="module")
def utterances(corpus: SyntheticCorpus) -> list[Utterance]:
    splits = (corpus.train, corpus.dev, corpus.test)
    return [utterance for split in splits for utterance in read_manifest(split.manifest)]


@pytest.fixture
def line() -> SpokenLine:
    return draw_plan({"train": 1, "dev": 1, "test": 1}, seed=0)["train"][0].line


# What is said, and by whom


def test_texts_are_three_to_nine_normalised_words() -> None:
    for sentence in draw_distinct_sentences(1000, random.Random(1)):
        assert normalize(sentence.text) == sentence.text
        assert 3 <= len(sentence.text.split()) <= 9
        assert set(sentence.text.split()) <= vocabulary()


def test_articles_fit_what_follows() -> None:
    words = [draw_sentence(random.Random(seed)).text.split() for seed in range(2000)]
    pairs = Counter((a, b[0]) for text in words for a, b in pairwise(text))
    assert pairs["an", "o"] > 0
    assert pairs["a", "b"] > 0
    assert not any(pairs["a", vowel] for vowel in "aeiou")
    assert not any(pairs["an", first] for first in "bcdfghjklmnpqrstvwxyz")


def test_only_questions_rise() -> None:
    endings = {draw_sentence(random.Random(seed)) for seed in range(300)}
    questions = {sentence.text.split()[0] for sentence in endings if sentence.ending == "?"}
    assert questions <= {"could", "did", "why", "where", "have", "how", "can", "is"}
    assert "could" in questions


def test_every_word_of_the_vocabulary_is_in_the_default_training_set() -> None:
    plan = draw_plan(DEFAULT_SIZES, seed=0)
    counts = Counter(word for item in plan["train"] for word in item.sentence.text.split())
    assert set(counts) == vocabulary()
    assert len(vocabulary()) > 300


def test_splits_share_no_sentence_no_speaker_and_no_voice_variant() -> None:
    plan = draw_plan(DEFAULT_SIZES, seed=0)
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        for trait in (
            lambda item: item.sentence.text,
            lambda item: item.voice.speaker_id,
            lambda item: item.voice.variant.lower(),
        ):
            assert not {*map(trait, plan[one])} & {*map(trait, plan[other])}


def test_every_voice_of_a_split_speaks_about_equally_often() -> None:
    plan = draw_plan(DEFAULT_SIZES, seed=0)
    for split in SPLITS:
        counts = Counter(item.voice for item in plan[split])
        assert set(counts) == set(voices(split))
        assert max(counts.values()) - min(counts.values()) <= 1


def test_test_set_does_not_change_with_the_size_of_the_training_set() -> None:
    small = draw_plan({"train": 5, "dev": 10, "test": 20}, seed=3)
    large = draw_plan({"train": 50, "dev": 10, "test": 20}, seed=3)
    assert small["test"] == large["test"]
    assert small["dev"] == large["dev"]
    assert small["test"] != draw_plan({"train": 5, "dev": 10, "test": 20}, seed=4)["test"]


# How it sounds


@pytest.fixture
def engine() -> Iterator[espeak.Espeak]:
    with espeak.Espeak() as engine:
        yield engine


def test_no_two_words_sound_alike_in_any_accent(engine: espeak.Espeak) -> None:
    words = sorted(vocabulary())
    for accent in synthetic_voices._ACCENTS.values():
        said: dict[str, str] = {}
        for word, sound in zip(words, engine.phonemes(words, accent), strict=True):
            assert sound not in said, f"{word} sounds like {said[sound]} in {accent}"
            said[sound] = word


def test_every_voice_exists_and_speaks(engine: espeak.Espeak) -> None:
    for voice in (voice for split in SPLITS for voice in voices(split)):
        spoken = engine.speak(
            "the bus is late.", voice.espeak_name, rate_wpm=150, pitch=50, pitch_range=50, seed=0
        )
        assert 0.6 < len(spoken) / engine.sample_rate < 2.5, voice
        assert 500 < np.abs(spoken.astype(int)).max() < 32_767, voice


def test_unknown_voice_is_named(engine: espeak.Espeak) -> None:
    for voice in ("en-us+nobody", "en-atlantis"):
        with pytest.raises(AsrError, match=re.escape(f"no voice '{voice}'")):
            engine.speak("no", voice, rate_wpm=150, pitch=50, pitch_range=50, seed=0)


def test_audio_is_what_the_manifest_says(utterances: list[Utterance]) -> None:
    assert len(utterances) == sum(SMALL.values())
    for utterance in utterances:
        info = soundfile.info(utterance.audio_path)
        assert (info.samplerate, info.channels, info.format) == (SAMPLE_RATE, 1, "FLAC")
        assert info.frames / SAMPLE_RATE == utterance.duration_s
        assert 0.8 < utterance.duration_s < 6


def test_audio_is_neither_empty_nor_clipped_nor_silent_for_long(
    utterances: list[Utterance],
) -> None:
    for utterance in utterances:
        waveform, _ = soundfile.read(utterance.audio_path)
        assert 0.05 < np.abs(waveform).max() < 0.95
        frames = waveform[: len(waveform) // 160 * 160].reshape(-1, 160)
        level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
        speech = np.flatnonzero(level_db > -50)
        assert 0.05 <= speech[0] / 100 <= 0.3
        assert 0.05 <= (len(frames) - speech[-1]) / 100 <= 0.3


def test_trim_silence_keeps_speech_alone() -> None:
    tone = np.sin(np.arange(8000) * 0.3).astype(np.float32)
    padded = np.pad(tone, (3200, 1600))
    np.testing.assert_array_equal(trim_silence(padded, 16_000), tone)
    assert len(trim_silence(np.zeros(500, np.float32), 16_000)) == 0


def test_finish_sets_level_and_silence_and_never_clips(line: SpokenLine) -> None:
    tone = np.sin(np.arange(16_000) * 0.3).astype(np.float32) * 0.01
    finished = finish(tone, line).astype(float) / 2**15
    lead, trail = round(line.lead_s * SAMPLE_RATE), round(line.trail_s * SAMPLE_RATE)
    assert len(finished) == lead + len(tone) + trail
    speech = finished[lead:-trail]
    assert 20 * np.log10(np.sqrt(np.mean(speech**2))) == pytest.approx(line.level_db, abs=0.1)
    noise = np.concatenate([finished[:lead], finished[-trail:]])
    assert 20 * np.log10(np.sqrt(np.mean(noise**2))) == pytest.approx(line.noise_db, abs=0.5)
    click = np.zeros(16_000, np.float32)
    click[8000] = 1.0
    assert np.abs(finish(click, line)).max() < 0.95 * 2**15


# The same every time, whole or not at all


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_two_fresh_processes_write_the_same_bytes(corpus: SyntheticCorpus, tmp_path: Path) -> None:
    program = (
        "import sys; from asr.corpora.synthetic import prepare_synthetic; "
        f"prepare_synthetic(sys.argv[1], **{SMALL})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("one", "two"):
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        subprocess.run(command, check=True, env=environment)
    expected = _files(corpus.train.manifest.parent)
    assert len(expected) == sum(SMALL.values()) + 4
    assert _files(tmp_path / "one") == expected
    assert _files(tmp_path / "two") == expected


def test_finished_corpus_is_reused(
    corpus: SyntheticCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)  # nor is espeak-ng needed any more
    again = prepare_synthetic(corpus.train.manifest.parent, **SMALL)
    assert not corpus.reused
    assert again == SyntheticCorpus(corpus.train, corpus.dev, corpus.test, reused=True)


def test_description_counts_utterances_speakers_and_seconds(
    corpus: SyntheticCorpus, utterances: list[Utterance]
) -> None:
    ours = [u for u in utterances if u.audio_path.parts[-3] == "test"]
    assert corpus.test.num_utterances == SMALL["test"] == len(ours)
    assert corpus.test.num_speakers == len({u.speaker_id for u in ours})
    assert corpus.test.duration_s == pytest.approx(sum(u.duration_s for u in ours))


def test_other_seed_replaces_the_corpus_and_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    sizes = {"train": 2, "dev": 1, "test": 1}
    prepare_synthetic(tmp_path, **sizes)
    before = _files(tmp_path)
    assert not prepare_synthetic(tmp_path, **sizes, seed=1).reused
    after = _files(tmp_path)
    assert len(after) == len(before) == 8
    flac = {name for name in before if name.endswith(".flac")}
    assert not any(before[name] == after.get(name) for name in flac)
    assert json.loads(after["audio/synthetic.json"])["seed"] == 1


def test_test_set_sounds_the_same_whatever_was_trained_on(
    corpus: SyntheticCorpus, tmp_path: Path
) -> None:
    prepare_synthetic(tmp_path, **{**SMALL, "train": 1})
    ours, before = _files(tmp_path), _files(corpus.train.manifest.parent)
    kept = [name for name in before if "test" in name or "dev" in name]
    assert len(kept) == SMALL["dev"] + SMALL["test"] + 2
    assert all(ours[name] == before[name] for name in kept)


def test_missing_manifest_means_unfinished(tmp_path: Path) -> None:
    sizes = {"train": 2, "dev": 1, "test": 1}
    prepare_synthetic(tmp_path, **sizes)
    before = _files(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    assert not prepare_synthetic(tmp_path, **sizes).reused
    assert _files(tmp_path) == before


def test_failing_synthesis_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(synthetic_voices._ACCENTS, "us", "en-atlantis")
    with pytest.raises(AsrError, match=r"speech synthesis failed: .* no voice 'en-atlantis"):
        prepare_synthetic(tmp_path / "new", train=50, dev=1, test=1)
    assert list((tmp_path / "new").iterdir()) == []


def test_folder_with_other_audio_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "audio" / "grandmother.wav"
    precious.parent.mkdir()
    precious.write_bytes(b"RIFF")
    with pytest.raises(AsrError, match="will not be overwritten"):
        prepare_synthetic(tmp_path, **SMALL)
    assert _files(tmp_path) == {"audio/grandmother.wav": b"RIFF"}


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl"])
def test_other_manifests_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(AsrError, match=f"{name} is there"):
        prepare_synthetic(tmp_path, **SMALL)
    assert _files(tmp_path) == {name: b"precious"}


def test_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AsrError, match="cannot make the folder"):
        prepare_synthetic(tmp_path / "file" / "corpus", **SMALL)


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    with pytest.raises(AsrError, match=r"pip install 'asr\[demo\]'"):
        prepare_synthetic(tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()


def test_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        prepare_synthetic(tmp_path, train=1, dev=0, test=1)


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare_synthetic(
        tmp_path, train=2, dev=1, test=1, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_voice_data_under_a_long_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """espeak-ng itself cuts paths off at 160 bytes and would take the system's data, or none."""
    import espeakng_loader as loader

    deep = tmp_path / ("d" * 180) / "espeak-ng-data"
    deep.parent.mkdir()
    deep.symlink_to(loader.get_data_path(), target_is_directory=True)
    monkeypatch.setattr(loader, "get_data_path", lambda: str(deep))
    with espeak.Espeak() as engine:
        assert engine.sample_rate == 22_050


def test_missing_voice_data_is_an_error_and_not_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import espeakng_loader as loader

    monkeypatch.setattr(loader, "get_data_path", lambda: str(tmp_path / "gone"))
    with pytest.raises(AsrError, match="no voice data"):
        espeak.Espeak()


def test_synthetic_module_is_light() -> None:
    """Choosing what to say needs no torch: the manifests are all that training shares with it."""
    code = "import sys, asr.corpora.synthetic; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_marker_says_what_it_was_made_with(corpus: SyntheticCorpus) -> None:
    marker = json.loads((corpus.train.manifest.parent / "audio" / "synthetic.json").read_text())
    assert marker["train"] == SMALL["train"]
    assert set(marker["made_with"]) == {"espeakng-loader", "soxr", "soundfile"}
    assert synthetic.SPLITS == ("train", "dev", "test")
