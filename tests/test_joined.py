"""Files that go on where libsndfile stops: several recordings in one, damage, no length in a header."""

import shutil
import warnings

import numpy as np
import pytest
import soundfile

import asr.codecs
from asr.audio import AudioWarning, load_audio, probe
from asr.codecs import AudioError
from asr.joined import goes_on, mp3_seconds

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
    monkeypatch.setattr(asr.codecs, "media_readers", list)
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
    assert not goes_on(tmp_path / "film", "OGG", 1.0)
    (tmp_path / "films").write_bytes(b"".join(film + film))
    assert goes_on(tmp_path / "films", "OGG", 1.0)
    assert not goes_on(tmp_path / "films", "WAV", 1.0)


def variable_mp3(path, waveform, rate=44_100):
    """At bit rates that follow the sound."""
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    soundfile.write(path, waveform, rate, format="MP3", **options)
    return bytearray(path.read_bytes())


def without_length(data):
    """As an encoder leaves an MP3 that it writes to a pipe: the count of frames stays 0."""
    place = max(data.find(b"Xing"), data.find(b"Info"))
    assert 0 < place < 100
    data[place + 7] &= ~1
    data[place + 8 : place + 12] = bytes(4)
    return data


QUIET_THEN_LOUD = np.concatenate([np.zeros(4 * 44_100), np.resize(NOISE, 8 * 44_100)])


@needs_ffmpeg
@pytest.mark.parametrize("waveform", [QUIET_THEN_LOUD, QUIET_THEN_LOUD[::-1]])
def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(tmp_path, waveform):
    """libsndfile guesses 8.0 or 29 s from the first bit rate."""
    data = variable_mp3(tmp_path / "told.mp3", waveform)
    (tmp_path / "piped.mp3").write_bytes(without_length(data))
    (tmp_path / "bare.mp3").write_bytes(without_length(data)[data.find(b"\xff", 100) :])
    assert probe(tmp_path / "told.mp3").duration_s == pytest.approx(12, abs=1e-3)
    for name in ("piped.mp3", "bare.mp3"):
        assert probe(tmp_path / name).duration_s == pytest.approx(12, abs=0.1)
        seconds, said = loaded(tmp_path / name)
        assert seconds == pytest.approx(12, abs=0.1)
        assert "cut short" not in said


@needs_ffmpeg
def test_a_recording_behind_one_that_tells_its_length(tmp_path):
    """The second has no frame of figures, by which the first could be told from it."""
    first = variable_mp3(tmp_path / "a.mp3", QUIET_THEN_LOUD)
    second = without_length(variable_mp3(tmp_path / "b.mp3", QUIET_THEN_LOUD))
    tag = b"ID3\3\0\0\0\0\1\0" + b"\xff\xfb\x90\0" * 32
    (tmp_path / "a.mp3").write_bytes(first + tag + second[second.find(b"\xff", 100) :])
    seconds, said = loaded(tmp_path / "a.mp3")
    assert seconds == pytest.approx(24, abs=0.2)
    assert "another recording follows in the file" in said


def test_blocks_of_an_mp3_are_what_one_read_gives(tmp_path):
    """Between blocks no frame is lost."""
    variable_mp3(tmp_path / "a.mp3", QUIET_THEN_LOUD)
    whole, rate = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    assert len(whole) > 8 * asr.codecs.BLOCK
    np.testing.assert_allclose(load_audio(tmp_path / "a.mp3", rate), whole, atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000])
def test_frames_are_counted_at_every_rate(tmp_path, rate):
    for seconds in (0.2, 3.0):
        data = variable_mp3(tmp_path / "a.mp3", np.resize(NOISE, round(seconds * rate)), rate)
        (tmp_path / "a.mp3").write_bytes(
            b"ID3\3\0\0\0\0\0\5\xff\xfb\x90\0\0" + without_length(data)
        )
        assert -1e-4 < mp3_seconds(tmp_path / "a.mp3") - seconds < 2_832 / rate


def test_the_frames_of_a_damaged_mp3(tmp_path):
    data = without_length(variable_mp3(tmp_path / "a.mp3", QUIET_THEN_LOUD))
    data[60_000:62_000] = bytes(2_000)
    (tmp_path / "a.mp3").write_bytes(data[:-100])
    assert 11.5 < mp3_seconds(tmp_path / "a.mp3") < 12.0
    (tmp_path / "a.mp3").write_bytes(data + b"\xff" * 1_000)
    assert 11.5 < mp3_seconds(tmp_path / "a.mp3") < 12.0


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
