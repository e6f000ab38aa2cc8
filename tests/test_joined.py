"""Files that go on where libsndfile stops: several recordings in one, damage, no length in a header."""

import shutil
import warnings

import numpy as np
import pytest
import soundfile

import asr.codecs
from asr.audio import AudioWarning, load_audio
from asr.codecs import AudioError
from asr.joined import goes_on

RATE = 16_000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
FORMATS = {
    "opus": ("OGG", "OPUS"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", None),
    "flac": ("FLAC", None),
}
needs_ffmpeg = pytest.mark.skipif(
    asr.codecs.importlib.util.find_spec("av") is None and not shutil.which("ffmpeg"),
    reason="neither PyAV nor an ffmpeg program is here",
)


def write(path, waveform=NOISE):
    container, subtype = FORMATS.get(path.suffix[1:], ("WAV", None))
    soundfile.write(path, waveform, RATE, format=container, subtype=subtype)
    return bytearray(path.read_bytes())


def loaded(path):
    """Seconds of audio, and what was said about it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AudioWarning)
        waveform = load_audio(path)
    return len(waveform) / RATE, " ".join(str(one.message) for one in said)


@needs_ffmpeg
@pytest.mark.parametrize("ending", FORMATS)
def test_the_second_of_two_recordings_in_a_file_is_read(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    data = write(path)
    assert loaded(path)[1] == ""
    path.write_bytes(data + data)
    seconds, said = loaded(path)
    assert 3.2 < seconds < 4.3  # FFmpeg's program loses a block where FLAC files meet
    assert "another recording follows in the file" in said
    assert "the rest by FFmpeg" in said


@pytest.mark.parametrize("ending", FORMATS)
def test_without_ffmpeg_it_is_told(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(asr.codecs, "open_media", lambda *_: None)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(2 * write(path))
    seconds, said = loaded(path)
    assert seconds == pytest.approx(2.0, abs=0.1)
    assert "stopped at 2.0" in said
    assert "another recording follows" in said
    assert "pip install 'asr[media]'" in said


def test_streams_side_by_side_are_one_recording(tmp_path):
    """As sound and pictures of a film are: they all begin before the first goes on."""

    def page(flags, serial):
        return b"OggS\0" + bytes([flags]) + bytes(8) + serial + bytes(9)

    film = [
        page(2, b"aaaa"),
        page(2, b"bbbb"),
        page(0, b"aaaa"),
        page(4, b"bbbb"),
        page(4, b"aaaa"),
    ]
    (tmp_path / "film").write_bytes(b"".join(film))
    assert not goes_on(tmp_path / "film", "OGG")
    (tmp_path / "films").write_bytes(b"".join(film + film))
    assert goes_on(tmp_path / "films", "OGG")
    assert not goes_on(tmp_path / "films", "WAV")


@needs_ffmpeg
@pytest.mark.parametrize(("seconds", "at"), [(2, 3_000), (20, 60_000)])
def test_an_mp3_is_read_on_behind_damage(tmp_path, seconds, at):
    """In the first block that is read, and later."""
    data = write(tmp_path / "a.mp3", np.resize(NOISE, seconds * RATE))
    data[at : at + 2_000] = bytes(2_000)
    (tmp_path / "a.mp3").write_bytes(data)
    there, said = loaded(tmp_path / "a.mp3")
    assert seconds - 1.2 < there < seconds
    assert "the rest by FFmpeg" in said
    assert "cut short" in said


@needs_ffmpeg
def test_a_wav_whose_recorder_was_killed(tmp_path):
    """Its length is written at the end: until then it is 0."""
    data = write(tmp_path / "a.wav")
    place = data.find(b"data") + 4
    data[place : place + 4] = bytes(4)
    (tmp_path / "a.wav").write_bytes(data)
    seconds, said = loaded(tmp_path / "a.wav")
    assert seconds == 2.0
    assert "by its header it holds nothing" in said
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match="no samples could be read"):
        load_audio(tmp_path / "none.wav")
