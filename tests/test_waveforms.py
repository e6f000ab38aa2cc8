"""Caches of waveforms: exact, keyed by what made them, never half-written, mended when damaged."""

import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.errors import AsrError
from asr.manifest import Utterance
from asr.training.waveforms import CachedWaveforms, DecodedWaveforms, check_files


def test_the_cache_gives_the_decoders_samples(utterances: list[Utterance], tmp_path: Path) -> None:
    decode = DecodedWaveforms(16_000)
    for _ in range(2):  # made, then reopened
        cache = CachedWaveforms(utterances, 16_000, tmp_path / "cache")
        for utterance in utterances:
            np.testing.assert_array_equal(cache(utterance), decode(utterance))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_changed_audio_or_another_rate_makes_another_cache(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert len(CachedWaveforms(utterances, 8_000, tmp_path / "cache")(utterances[0])) == 4_000
    soundfile.write(utterances[0].audio_path, np.zeros(8_000), 16_000)
    changed = CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert np.abs(changed(utterances[0])).max() == 0


def test_clips_of_a_long_file(tmp_path: Path) -> None:
    samples = np.arange(16_000, dtype=np.float32) / 16_000
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    clips = [Utterance(str(n), tmp_path / "long.wav", "", 0.25, n / 4) for n in range(4)]
    cache = CachedWaveforms(clips, 16_000, tmp_path / "cache")
    np.testing.assert_array_equal(np.concatenate([cache(clip) for clip in clips]), samples)


def test_unreadable_files_are_all_listed_and_leave_no_cache(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    for number in (1, 3):
        utterances[number].audio_path.write_bytes(b"no audio at all")
    with pytest.raises(
        AsrError, match=r"2 of 4 audio files cannot be read(.|\n)*1\.flac(.|\n)*3\.flac"
    ):
        CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    for number in (0, 2):
        utterances[number].audio_path.unlink()
    with pytest.raises(AsrError, match=r"2 of 4 audio files(.|\n)*0\.flac: no (.|\n)*2\.flac: no "):
        check_files(utterances)


def cache_file(cache_folder: Path, suffix: str) -> Path:
    (path,) = cache_folder.glob(f"*{suffix}")
    return path


def test_a_truncated_or_lost_cache_is_made_anew(
    utterances: list[Utterance], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decode, folder = DecodedWaveforms(16_000), tmp_path / "cache"
    CachedWaveforms(utterances, 16_000, folder)
    data, index = cache_file(folder, ".f32"), cache_file(folder, ".json")
    whole, whole_index = data.read_bytes(), index.read_bytes()
    for path, content in ((data, whole[:-4]), (index, whole_index[:50]), (index, b"[]")):
        capsys.readouterr()
        path.write_bytes(content)
        cache = CachedWaveforms(utterances, 16_000, folder)
        for utterance in utterances:
            np.testing.assert_array_equal(cache(utterance), decode(utterance))
        assert "making it anew" in capsys.readouterr().err
        assert (data.read_bytes(), index.read_bytes()) == (whole, whole_index)
    data.unlink()
    CachedWaveforms(utterances, 16_000, folder)
    assert data.read_bytes() == whole


def test_damaged_samples_are_never_trained_on(
    utterances: list[Utterance], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page of zeros, as a machine that lost power leaves it: right size, wrong samples."""
    decode, folder = DecodedWaveforms(16_000), tmp_path / "cache"
    CachedWaveforms(utterances, 16_000, folder)
    data = cache_file(folder, ".f32")
    with data.open("r+b") as file:
        file.seek(4 * 10_000)  # in the second utterance
        file.write(bytes(4096))
    cache = CachedWaveforms(utterances, 16_000, folder)
    capsys.readouterr()
    for utterance in utterances:
        np.testing.assert_array_equal(cache(utterance), decode(utterance))
    assert capsys.readouterr().err.count("is damaged") == 1
    again = CachedWaveforms(utterances, 16_000, folder)
    assert "decoding 4 utterances" in capsys.readouterr().err
    np.testing.assert_array_equal(again(utterances[1]), decode(utterances[1]))


def test_a_full_disk_leaves_nothing_half_written(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))  # 320,000 bytes are needed
    try:
        with pytest.raises(AsrError, match=r"cannot write the waveform cache .*data\.cache_dir"):
            CachedWaveforms(utterances, 16_000, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 300_000}))
    with pytest.raises(AsrError, match=r"needs 0\.0 GB, 0\.0 GB are free; choose another data"):
        CachedWaveforms(utterances, 16_000, folder)
    assert list(folder.iterdir()) == []


def test_another_process_opens_the_file_instead_of_copying_it(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    cache = CachedWaveforms(utterances, 16_000, tmp_path / "cache")
    pickled = pickle.dumps(cache)
    assert len(pickled) < 2_000
    np.testing.assert_array_equal(pickle.loads(pickled)(utterances[2]), cache(utterances[2]))
