"""Keep what libmpg123 prints about harmless MP3 frames off the user's terminal.

libsndfile opens MP3 files without the decoder's quiet flag, so that a file cut from a longer one (all
of LibriSpeech in MP3) prints `[src/libmpg123/layer3.c:...] error: ...` straight to descriptor 2,
although every sample is delivered. What is really missing is found by counting samples (`codecs`).
"""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

NOISE = re.compile(
    rb"\[src/libmpg123/|\[.*/libmpg123/|Warning: Xing stream size"
    rb"|Note: (Illegal Audio|Trying to resync|Skipped \d+ bytes|Hit end of \(available\) data)"
)


@contextmanager
def without_decoder_noise() -> Iterator[None]:
    """Drop libmpg123's lines from descriptor 2; all else that C libraries print passes.

    `sys.stderr` goes to the real descriptor all the while, so that a terminal stays one.
    """
    try:
        real = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    thread = threading.Thread(target=_forward, args=(reader, real), daemon=True)
    thread.start()
    before = sys.stderr
    sys.stderr = os.fdopen(os.dup(real), "w", buffering=1, errors="backslashreplace")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.dup2(real, 2)  # closes the pipe's last writer
        thread.join(timeout=1.0)  # a child process may still hold it
        os.close(real)


def _forward(reader: int, real: int) -> None:
    with os.fdopen(reader, "rb") as lines, suppress(OSError):
        for line in lines:
            if not NOISE.match(line):
                os.write(real, line)
