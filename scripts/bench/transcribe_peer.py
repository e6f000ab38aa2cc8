"""One peer of `transcribe.py`: transcribes files one by one, one line of text each on stdout.

Runs in an environment of its own, without asr:

    python -m venv peers && peers/bin/pip install faster-whisper pocketsphinx soundfile
    peers/bin/python scripts/bench/transcribe_peer.py pocketsphinx a.flac b.flac
"""

import argparse
from collections.abc import Iterator, Sequence

import soundfile


def pocketsphinx(files: Sequence[str]) -> Iterator[str]:
    """With the model of its package; it has no threads."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    for file in files:
        decoder.start_utt()
        decoder.process_raw(soundfile.read(file, dtype="int16")[0].tobytes(), full_utt=True)
        decoder.end_utt()
        yield decoder.hyp().hypstr if decoder.hyp() else ""


def faster_whisper(files: Sequence[str], model: str, threads: int) -> Iterator[str]:
    """Greedy, in int8, without the second tries at higher temperatures."""
    from faster_whisper import WhisperModel

    whisper = WhisperModel(
        model, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
    for file in files:
        segments, _ = whisper.transcribe(file, language="en", beam_size=1, temperature=0.0)
        yield " ".join(segment.text.strip() for segment in segments)


def main() -> None:
    """Transcribe the files named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("peer", choices=("faster-whisper", "pocketsphinx"))
    parser.add_argument("files", nargs="+")
    parser.add_argument("--whisper-model", default="tiny.en", help="a name or a folder")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    texts = (
        pocketsphinx(options.files)
        if options.peer == "pocketsphinx"
        else faster_whisper(options.files, options.whisper_model, options.threads)
    )
    for text in texts:
        print(text, flush=True)


if __name__ == "__main__":
    main()
