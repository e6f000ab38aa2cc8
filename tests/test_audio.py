import os
import shutil
import socket
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import asr.codecs
from asr.audio import AudioError, AudioInfo, AudioStream, AudioWarning, load_audio, printable, probe
from asr.codecs import open_decoder
from asr.joined import ends_with_ogg_eos
from asr.media import FfmpegDecoder, PyAVDecoder

RATE = 16_000
# ending: (format, subtype, whether it keeps 16-bit samples exactly)
FORMATS = {
    "wav": ("WAV", "PCM_16", True),
    "flac": ("FLAC", "PCM_16", True),
    "aiff": ("AIFF", "PCM_16", True),
    "au": ("AU", "PCM_16", True),
    "caf": ("CAF", "PCM_16", True),
    "w64": ("W64", "PCM_16", True),
    "rf64": ("RF64", "PCM_16", True),
    "mp3": ("MP3", "MPEG_LAYER_III", False),
    "ogg": ("OGG", "VORBIS", False),
    "opus": ("OGG", "OPUS", False),
}
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def waveform():
    """Ten seconds of noise with a slow swell: every stretch differs; 16-bit steps."""
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE)
    swell = 0.6 + 0.4 * np.sin(np.arange(10 * RATE) / RATE)
    return (np.round(noise * swell * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, waveform):
    folder = tmp_path_factory.mktemp("audio")
    for ending, (kind, subtype, _) in FORMATS.items():
        soundfile.write(folder / f"a.{ending}", waveform, RATE, format=kind, subtype=subtype)
    return folder


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_loads_whole_and_without_a_warning(folder, waveform, ending):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_audio(folder / f"a.{ending}")
    assert loaded.dtype == np.float32
    assert loaded.shape == waveform.shape
    if FORMATS[ending][2]:
        np.testing.assert_array_equal(loaded, waveform)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_clip_is_that_stretch_of_the_whole(folder, ending):
    whole = load_audio(folder / f"a.{ending}")
    clip = load_audio(folder / f"a.{ending}", offset_s=3.21, duration_s=2.5)
    np.testing.assert_array_equal(clip, whole[51_360 : 51_360 + 40_000])


@pytest.mark.parametrize("ending", FORMATS)
def test_probe_agrees_with_the_decoder(folder, ending):
    kind, subtype, _ = FORMATS[ending]
    info = probe(folder / f"a.{ending}")
    assert info == AudioInfo(RATE, 1, 10 * RATE, 10.0, f"{kind}/{subtype}")


@pytest.mark.parametrize("ending", FORMATS)
def test_half_a_file_is_read_and_noted(folder, tmp_path, waveform, ending):
    data = (folder / f"a.{ending}").read_bytes()
    (tmp_path / "half").write_bytes(data[: len(data) // 2])
    if ending == "caf":  # libsndfile refuses it: the header's chunk is longer than the file
        with pytest.raises(AudioError) if no_fallback() else warnings.catch_warnings(record=True):
            loaded = load_audio(tmp_path / "half")
            assert len(loaded) < 0.6 * len(waveform)
        return
    with pytest.warns(AudioWarning, match="cut short"):
        loaded = load_audio(tmp_path / "half")
    assert 0.3 * len(waveform) < len(loaded) < 0.7 * len(waveform)
    if FORMATS[ending][2]:
        np.testing.assert_array_equal(loaded, waveform[: len(loaded)])
        assert len(loaded) > 0.47 * len(waveform)


def no_fallback():
    return asr.codecs.importlib.util.find_spec("av") is None and not shutil.which("ffmpeg")


def test_real_speech_loads_without_warnings(asr_data):
    paths = [
        next((asr_data / "kathleen" / "clips").glob("*.opus")),
        next((asr_data / "LibriSpeech" / "dev-clean").rglob("*.mp3")),
        next((asr_data / "rir").glob("*.flac")),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in paths:
            assert len(load_audio(path)) / RATE == pytest.approx(probe(path).duration_s, abs=0.01)


def test_resampling_is_soxr_hq_of_the_whole(folder, waveform):
    loaded = load_audio(folder / "a.wav", 8_000)
    np.testing.assert_allclose(loaded, soxr.resample(waveform, RATE, 8_000, "HQ"), atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_of_any_rate_keeps_pitch_level_and_length(tmp_path, rate):
    t = np.arange(rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), rate, subtype="FLOAT")
    loaded = load_audio(tmp_path / "a.wav")
    assert abs(len(loaded) - RATE) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(loaded[500:-500], expected[500 : len(loaded) - 500], atol=1e-3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_width(tmp_path, waveform, subtype):
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype=subtype)
    loaded = load_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(
        loaded, waveform, atol={"PCM_U8": 1e-2, "ULAW": 2e-2}.get(subtype, 1e-4)
    )


def test_channels_are_averaged_or_picked(tmp_path):
    left, right = np.full(RATE, 0.5, np.float32), np.full(RATE, -0.25, np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), 0.125)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", channel=0), left)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", channel=1), right)
    with pytest.raises(AudioError, match="no channel 2: it has 2"):
        load_audio(tmp_path / "a.wav", channel=2)


def test_a_stream_yields_bounded_blocks_of_the_same_samples(folder):
    with AudioStream(folder / "a.flac", 22_050) as stream:
        blocks = list(stream)
    assert len(blocks) > 2
    assert max(map(len, blocks)) < 3 * asr.codecs.BLOCK
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(folder / "a.flac", 22_050))


def test_content_decides_not_the_name(folder, tmp_path, waveform):
    shutil.copy(folder / "a.flac", tmp_path / "a.mp3")
    np.testing.assert_array_equal(load_audio(tmp_path / "a.mp3"), waveform)


def test_a_stream_header_without_a_length_promises_nothing(folder, tmp_path, waveform):
    """What programs write to a pipe: 2**32 - 1 as the size of the data chunk."""
    data = bytearray((folder / "a.wav").read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = data[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load_audio(tmp_path / "a.wav"), waveform)


def reason(path, **options):
    with pytest.raises(AudioError) as caught:
        load_audio(path, **options)
    assert caught.value.path == Path(path)
    assert str(caught.value) == f"{printable(path)}: {caught.value.reason}"
    return caught.value.reason


def test_each_kind_of_bad_path_has_its_reason(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "text.wav").write_text("this is no audio\n" * 100)
    assert reason(tmp_path / "missing.wav") == "No such file or directory"
    assert "is a folder" in reason(tmp_path / "folder.wav")
    assert "zero length" in reason(tmp_path / "empty.wav")
    assert "link to a file that is not there" in reason(tmp_path / "dangling.wav")
    assert "pipe or device" in reason(tmp_path / "fifo.wav")
    assert "as audio" in reason(tmp_path / "text.wav")
    assert "null" in reason(f"{tmp_path}/nul\0.wav")


def test_a_socket_is_refused(tmp_path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s.wav"))
    assert "not a regular file" in reason(tmp_path / "s.wav")
    server.close()


def test_a_header_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    assert reason(tmp_path / "a.wav") == "zero length: no samples could be read"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, waveform, value):
    spoilt = waveform.copy()
    spoilt[100_000] = value
    soundfile.write(tmp_path / "a.wav", spoilt, RATE, subtype="FLOAT")
    assert "not finite" in reason(tmp_path / "a.wav")


def test_a_sample_rate_of_1_hz_is_damage(folder, tmp_path):
    data = bytearray((folder / "a.wav").read_bytes())
    data[24:28] = (1).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    assert "sample rate of 1 Hz" in reason(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="1 Hz"):
        probe(tmp_path / "a.wav")


def test_clips_beyond_the_end(folder):
    assert "the audio ends before" in reason(folder / "a.wav", offset_s=11)
    assert "the audio ends before" in reason(folder / "a.mp3", offset_s=11)
    assert "offset must be 0 s or more" in reason(folder / "a.wav", offset_s=-1)
    assert "duration must be 0 s or more" in reason(folder / "a.wav", duration_s=float("nan"))
    with pytest.warns(AudioWarning, match="asks for 5.00 s, 2.00 s are there"):
        assert len(load_audio(folder / "a.wav", offset_s=8, duration_s=5)) == 2 * RATE


def test_damage_in_the_middle_of_a_flac_saves_what_comes_before(
    folder, tmp_path, waveform, monkeypatch
):
    data = bytearray((folder / "a.flac").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    (tmp_path / "a.flac").write_bytes(data)
    monkeypatch.setattr(asr.codecs, "media_readers", list)
    with pytest.warns(AudioWarning) as caught:
        loaded = load_audio(tmp_path / "a.flac")
    assert any("cut short" in str(one.message) for one in caught)
    np.testing.assert_array_equal(loaded, waveform[: len(loaded)])
    assert len(loaded) > 0.45 * len(waveform)


def test_a_flac_is_read_on_behind_damage(folder, tmp_path, waveform, reader):
    data = bytearray((folder / "a.flac").read_bytes())
    data[len(data) // 2] ^= 0x10
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.warns(AudioWarning, match="the rest by FFmpeg"):
        loaded = load_audio(tmp_path / "a.flac")
    assert 0 <= len(waveform) - len(loaded) <= 4_096
    np.testing.assert_allclose(loaded[-40_000:], waveform[-40_000:], atol=1e-6)
    np.testing.assert_allclose(loaded[:40_000], waveform[:40_000], atol=1e-6)


def without_stated_length(flac):
    """As programs write a FLAC to a pipe: 36 bits of STREAMINFO are 0 (RFC 9639, 8.2)."""
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    flac.write_bytes(data)
    return flac


def test_a_flac_without_a_length_is_read_to_its_end(folder, tmp_path, waveform):
    path = without_stated_length(Path(shutil.copy(folder / "a.flac", tmp_path)))
    assert probe(path).num_samples == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load_audio(path), waveform)
        np.testing.assert_array_equal(load_audio(path, offset_s=9), waveform[144_000:])
    assert "the audio ends before" in reason(path, offset_s=11)


def test_clips_of_files_that_cannot_be_sought_in(folder, tmp_path, waveform):
    soundfile.write(tmp_path / "a.wav", waveform, 16_000, subtype="GSM610")
    whole = load_audio(tmp_path / "a.wav")
    clip = load_audio(tmp_path / "a.wav", offset_s=2.5, duration_s=1)
    np.testing.assert_array_equal(clip, whole[40_000:56_000])
    data = (folder / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    clip = load_audio(tmp_path / "cut.flac", offset_s=2.5, duration_s=1)
    np.testing.assert_allclose(clip, waveform[40_000:56_000], atol=1e-6)
    assert "the audio ends before" in reason(tmp_path / "cut.flac", offset_s=7, duration_s=1)


def test_no_sample_after_resampling_is_zero_length(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1), 96_000)
    assert "zero length" in reason(tmp_path / "a.wav")


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_no_descriptors_are_left_open(folder, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    before = open_descriptors()
    for _ in range(5):
        load_audio(folder / "a.flac")
        probe(folder / "a.mp3")
        reason(tmp_path / "text.wav")
    assert open_descriptors() == before


def test_end_of_an_ogg_stream(folder, tmp_path):
    assert ends_with_ogg_eos(folder / "a.ogg")
    assert ends_with_ogg_eos(folder / "a.opus")
    (tmp_path / "a.ogg").write_bytes((folder / "a.ogg").read_bytes()[:-1])
    assert not ends_with_ogg_eos(tmp_path / "a.ogg")
    (tmp_path / "no.ogg").write_bytes(b"no ogg at all")
    assert not ends_with_ogg_eos(tmp_path / "no.ogg")


@pytest.mark.parametrize("path", ["a\nb.wav", "a\tb", "\x1b[31m", "caf\udce9.wav", "ü 中.wav"])
def test_names_in_messages_stay_on_one_line(path):
    shown = printable(path)
    assert shown.isprintable()
    assert shown.encode()
    assert (shown == path) == path.isprintable()


# --- media containers: PyAV (extra `media`), else the ffmpeg program ------------------------------


@pytest.fixture(scope="module")
def media(tmp_path_factory, folder):
    """AAC in m4a, Opus in webm and mkv, and a video without sound."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    target = tmp_path_factory.mktemp("media")
    for name, codec in (
        ("a.m4a", "aac"),
        ("a.webm", "libopus"),
        ("a.mkv", "flac"),
        ("a.mp4", "aac"),
    ):
        ffmpeg("-i", folder / "a.wav", "-c:a", codec, target / name)
    ffmpeg("-f", "lavfi", "-i", "color=s=16x16:d=1", target / "silent.mp4")
    return target


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(params=["PyAV", "ffmpeg"])
def reader(request, monkeypatch):
    """The fallback in use."""
    if request.param == "PyAV":
        pytest.importorskip("av", reason="PyAV (extra media) is not installed")
    elif not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("there is no ffmpeg on the PATH")
    else:
        monkeypatch.setattr(asr.codecs.importlib.util, "find_spec", lambda name: None)
    return {"PyAV": PyAVDecoder, "ffmpeg": FfmpegDecoder}[request.param]


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.mkv", "a.mp4"])
def test_containers_are_read_by_either_fallback(media, reader, waveform, name):
    decoder = open_decoder(media / name)
    decoder.close()
    assert type(decoder) is reader
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_audio(media / name)
    assert len(loaded) == pytest.approx(len(waveform), abs=0.1 * RATE)
    if name == "a.mkv":
        np.testing.assert_array_equal(loaded, waveform)


@needs_ffmpeg
def test_a_clip_of_a_container(media, reader):
    whole = load_audio(media / "a.mkv")
    clip = load_audio(media / "a.mkv", offset_s=2.5, duration_s=1.0)
    np.testing.assert_array_equal(clip, whole[40_000:56_000])


@needs_ffmpeg
def test_a_video_without_sound(media, reader):
    assert reason(media / "silent.mp4") == "has no audio track"


@needs_ffmpeg
def test_a_truncated_container_is_noted(media, reader, tmp_path):
    data = (media / "a.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    with pytest.warns(AudioWarning):
        assert len(load_audio(tmp_path / "half.mkv")) < 6 * RATE


@needs_ffmpeg
def test_a_playlist_does_not_open_other_files(media, reader, tmp_path):
    """An HLS playlist named .m4a would have FFmpeg read whatever it lists."""
    (tmp_path / "evil.m4a").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{media / 'a.mp4'}\n#EXT-X-ENDLIST\n"
    )
    assert "no decoder recognises this" in reason(tmp_path / "evil.m4a")


@needs_ffmpeg
def test_without_a_fallback_the_message_names_the_extra(media, monkeypatch):
    monkeypatch.setattr(asr.codecs.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(asr.codecs.shutil, "which", lambda name: None)
    assert "asr[media]" in reason(media / "a.m4a")


@pytest.mark.parametrize("reader", ["PyAV", "ffmpeg"])
def test_opus_that_libsndfile_gives_up_on_is_read_by_ffmpeg(
    asr_data: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile 1.2.2 calls it malformed after 1.98 s of 5; FFmpeg and opusdec read it all."""
    if reader == "ffmpeg":
        if shutil.which("ffmpeg") is None:
            pytest.skip("ffmpeg is not installed")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:
        pytest.importorskip("av")
    path = asr_data / "noise" / "sea_waves-4-195497-B.opus"
    with AudioStream(path, 16_000) as stream:
        samples = np.concatenate(list(stream))
        assert any("the rest by FFmpeg" in note for note in stream.notes)
    assert len(samples) == 80_016
    assert np.abs(samples[40_000:]).max() > 0.1


@needs_ffmpeg
@pytest.mark.parametrize("gap_s", [2.0, 90_000.0])
def test_silence_stands_where_a_container_has_no_frames(folder, tmp_path, waveform, reader, gap_s):
    """A recorder was paused for two seconds; a clock that was set is none."""
    if gap_s > 2 and reader is FfmpegDecoder:
        pytest.skip("the program fills what it finds")
    gap = ["-af", f"asetpts=PTS+gte(T\\,4.096)*{gap_s}/TB"]
    ffmpeg("-i", folder / "a.wav", *gap, "-c:a", "pcm_s16le", tmp_path / "a.mkv")
    loaded = load_audio(tmp_path / "a.mkv")
    paused = round(2 * RATE) if gap_s == 2 else 0
    assert len(loaded) == pytest.approx(len(waveform) + paused, abs=0.03 * RATE)
    np.testing.assert_array_equal(loaded[:65_000], waveform[:65_000])
    np.testing.assert_allclose(loaded[-64_000:], waveform[-64_000:], atol=1e-4)


@needs_ffmpeg
def test_a_track_that_begins_after_the_pictures_begins_with_silence(folder, tmp_path, reader):
    pictures = ["-f", "lavfi", "-i", "color=s=16x16:d=11"]
    tracks = ["-itsoffset", 1, "-i", folder / "a.wav", "-map", "0:v", "-map", "1:a"]
    ffmpeg(*pictures, *tracks, "-c:a", "pcm_s16le", tmp_path / "late.mov")
    loaded = load_audio(tmp_path / "late.mov")
    assert len(loaded) == pytest.approx(11 * RATE, abs=0.03 * RATE)
    assert np.abs(loaded[: round(0.95 * RATE)]).max() == 0
    assert np.abs(loaded[round(1.01 * RATE) : round(1.1 * RATE)]).max() > 0.1


@needs_ffmpeg
@pytest.mark.parametrize("channels", [(1, 2), (2, 1)])
def test_recordings_of_other_rates_and_channels_in_one_file(folder, tmp_path, reader, channels):
    for number, (count, rate) in enumerate(zip(channels, (16_000, 44_100), strict=True)):
        part = tmp_path / f"{number}.mp3"
        ffmpeg("-i", folder / "a.wav", "-t", 3, "-ac", count, "-ar", rate, part)
    parts = [(tmp_path / f"{number}.mp3").read_bytes() for number in range(2)]
    (tmp_path / "programme.mp3").write_bytes(b"".join(parts))
    with pytest.warns(AudioWarning, match="another recording follows"):
        loaded = load_audio(tmp_path / "programme.mp3")
    assert len(loaded) == pytest.approx(6 * RATE, abs=0.2 * RATE)
    assert loaded[-2 * RATE :].std() == pytest.approx(loaded[: 2 * RATE].std(), rel=0.35)


@needs_ffmpeg
def test_a_length_that_ffmpeg_guesses_promises_nothing(folder, tmp_path, reader):
    quiet = ["-f", "lavfi", "-t", 5, "-i", "anullsrc=r=16000:cl=mono", "-i", folder / "a.wav"]
    joined = ["-filter_complex", "[0][1]concat=v=0:a=1", "-c:a", "aac"]
    ffmpeg(*quiet, *joined, tmp_path / "a.aac")
    assert probe(tmp_path / "a.aac").duration_s == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_audio(tmp_path / "a.aac")) == pytest.approx(15 * RATE, abs=0.2 * RATE)


@needs_ffmpeg
def test_mp3_at_a_changing_bit_rate_in_a_wav_is_read_whole(folder, tmp_path, reader):
    quiet = ["-f", "lavfi", "-t", 5, "-i", "anullsrc=r=16000:cl=mono", "-i", folder / "a.wav"]
    joined = ["-filter_complex", "[1][0]concat=v=0:a=1", "-c:a", "libmp3lame", "-q:a", 3]
    ffmpeg(*quiet, *joined, tmp_path / "a.wav")
    assert len(load_audio(tmp_path / "a.wav")) == pytest.approx(15 * RATE, abs=0.2 * RATE)


@pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed")
def test_pauses_of_a_phone_recording(tmp_path):
    """AMR sends a frame of noise now and then while nobody speaks, which FFmpeg cannot decode."""
    pytest.importorskip("av", reason="PyAV (extra media) is not installed")
    tone = 0.3 * np.sin(np.arange(8_000) / 4)
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone, np.zeros(40_000), tone]), 8_000)
    subprocess.run(["sox", tmp_path / "a.wav", tmp_path / "a.amr-nb"], check=True)
    with pytest.warns(AudioWarning, match="damaged data is left out"):
        loaded = load_audio(tmp_path / "a.amr-nb")
    assert len(loaded) == pytest.approx(7 * RATE, abs=0.2 * RATE)
    assert np.abs(loaded[-RATE // 2 :]).max() > 0.1
