"""Folders of noise and impulse responses: any format, any depth; what is of no use is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.clips import load_clips
from asr.errors import AsrError
from asr.waveform_augment import reverberate


def test_clips_are_found_at_any_depth_in_any_format_and_resampled(tmp_path: Path) -> None:
    (tmp_path / "a/deep").mkdir(parents=True)
    tone = 0.3 * np.sin(np.arange(8_000) / 10)
    soundfile.write(tmp_path / "b.wav", tone, 8_000)
    soundfile.write(tmp_path / "a/deep/c.flac", np.stack([tone, 0 * tone], axis=1), 16_000)
    soundfile.write(tmp_path / "a/silent.ogg", np.zeros(4_000), 16_000)
    (tmp_path / "a/README.txt").write_text("not audio")
    clips = load_clips("augment.noise.folder", str(tmp_path), 16_000)
    assert [len(clip) for clip in clips.waveforms] == [8_000, 16_000]
    assert clips.left_out == (f"{tmp_path / 'a/silent.ogg'}: silent",)
    assert np.abs(clips.waveforms[0]).max() == pytest.approx(0.15, abs=0.001)  # mean of channels
    first = load_clips("augment.noise.folder", str(tmp_path), 16_000, channel=0)
    assert np.abs(first.waveforms[0]).max() == pytest.approx(0.3, abs=0.001)


def test_a_folder_of_no_use_says_why(tmp_path: Path) -> None:
    key, folder = "augment.noise.folder", tmp_path / "noise"
    with pytest.raises(AsrError, match=r"augment\.noise\.folder: there is no folder .*noise"):
        load_clips(key, str(folder), 16_000)
    folder.mkdir()
    with pytest.raises(AsrError, match="no audio files"):
        load_clips(key, str(folder), 16_000)
    soundfile.write(folder / "1.wav", np.zeros(100), 16_000)
    (folder / "2.wav").write_bytes(b"not audio at all")
    with pytest.raises(AsrError, match=r"none of the 2 audio files in .*; .*1\.wav: silent"):
        load_clips(key, str(folder), 16_000)
    soundfile.write(folder / "3.wav", np.full(100, 0.1), 16_000)
    clips = load_clips(key, str(folder), 16_000)
    assert [len(clip) for clip in clips.waveforms] == [100]
    assert "2.wav: " in clips.left_out[1]


def test_half_a_file_is_used_and_noted(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "half.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 160_000), 16_000
    )
    whole = (tmp_path / "half.flac").read_bytes()
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    clips = load_clips("augment.noise.folder", str(tmp_path), 16_000)
    assert 70_000 < len(clips.waveforms[0]) < 90_000
    (note,) = clips.notes
    assert note.startswith(f"{tmp_path / 'half.flac'}: ")
    assert "stopped at" in note


def test_measured_rooms_keep_the_words_where_they_are(asr_data: Path) -> None:
    """Cross-correlation of dry and wet noise peaks within 1 ms of 0 in every room."""
    rooms = load_clips("augment.reverb.folder", str(asr_data / "rir"), 16_000, channel=0)
    assert len(rooms.waveforms) == 4
    dry = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    for response in rooms.waveforms:
        wet = reverberate(dry, response)
        similarity = np.correlate(wet, dry[1_000:-1_000], "valid")
        assert abs(int(np.abs(similarity).argmax()) - 1_000) <= 16
