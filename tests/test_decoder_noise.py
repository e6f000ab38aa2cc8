import os
import sys

import numpy as np
import soundfile

from asr.audio import load_audio
from asr.decoder_noise import without_decoder_noise


def test_only_the_decoders_lines_are_dropped(capfd):
    with without_decoder_noise():
        os.write(2, b"[src/libmpg123/layer3.c:INT123_do_layer3():1774] error: part2_3_length\n")
        os.write(2, b"Note: Trying to resync...\nNote: Skipped 1024 bytes in input.\n")
        os.write(2, b"Note: Hit end of (available) data during resync.\n")
        os.write(2, b"Note: Skipped 2 clips\nterminate called\n")
        print("asr: failed", file=sys.stderr)
    os.write(2, b"after\n")
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == ["Note: Skipped 2 clips", "after", "asr: failed", "terminate called"]


def test_a_cut_mp3_is_silent(tmp_path, capfd):
    """The second half of an MP3: its first frames refer to data that is not there."""
    noise = np.random.default_rng(0).normal(0, 0.1, 80_000)
    soundfile.write(tmp_path / "a.mp3", noise, 16_000, format="MP3")
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "half.mp3").write_bytes(data[len(data) // 2 :])
    with without_decoder_noise():
        assert len(load_audio(tmp_path / "half.mp3")) > 30_000
    assert capfd.readouterr().err == ""


def test_stderr_is_given_back_after_an_error(capfd):
    before = sys.stderr
    try:
        with without_decoder_noise():
            raise KeyError
    except KeyError:
        assert sys.stderr is before
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"
