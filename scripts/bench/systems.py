"""The model that comes with asr beside faster-whisper and pocketsphinx: WER, speed, memory and size, on
the same FLAC files in one run, each system in a process of its own, start-up included.

Files are every n-th utterance of the speech, so that all speakers are among them. The peers live in an
environment of their own (`transcribe_peer.py` says which).

    python scripts/bench/systems.py --peer-python peers/bin/python \\
        --whisper tiny.en=peers/tiny.en base=peers/base
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transcribe import ASR, DATA, PEAK_MEMORY, PEER, Clip, find_speech, make_clips, seconds_of

from asr.bfloat16 import has_bfloat16
from asr.bundle import PIECES_FILE, SHIPPED
from asr.decoder_noise import without_decoder_noise
from asr.network_file import network_files
from asr.scoring import score
from asr.significance import wer_interval
from asr.text import get_normalizer

POCKETSPHINX_MODEL = "import pocketsphinx; print(pocketsphinx.get_model_path())"


@dataclass(frozen=True)
class System:
    """Something that transcribes.

    Attributes:
        command: to run, with the files after it; texts come on stdout, a line each, perhaps after
            the file's name and a tab.
        model: its files, whose size counts.
    """

    name: str
    command: tuple[str, ...]
    model: tuple[Path, ...]

    @property
    def model_mb(self) -> float:
        """Megabytes of the model."""
        files = [
            file for path in self.model for file in ([path] if path.is_file() else path.rglob("*"))
        ]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main() -> None:
    """Run all systems once and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a bundle's folder")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder of LibriSpeech")
    parser.add_argument("--every", type=int, default=4, help="take every n-th utterance")
    parser.add_argument("--peer-python", default=sys.executable, help="where the peers are")
    parser.add_argument("--whisper", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--cores", type=int, default=2, help="threads of each system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asr-bench-") as folder:
        with without_decoder_noise():
            sources = find_speech(options.data)[:: options.every]
            clips = make_clips(options.data, Path(folder), sources)
        print(f"{len(clips)} files, {seconds_of(clips):.0f} s of audio\n")
        print("| system | WER % (95 % interval) | audio s/s | peak MB | model MB |")
        print("|---|---|---|---|---|")
        for system in systems(options):
            print(measure(system, clips), flush=True)


def systems(options: argparse.Namespace) -> list[System]:
    """Ours, then the peers that are there."""
    ours = (*(sys.executable, "-c", ASR, "transcribe", "--model", str(options.model)), "-q")
    networks = itertools.takewhile(Path.exists, network_files(options.model))
    spelling = (*networks, options.model / PIECES_FILE)
    short = ["bfloat16"] if has_bfloat16() else []
    found = [System("asr, language model", ours, (options.model,))]
    for precision in short:
        command = (*ours, "--precision", precision)
        found.append(System(f"asr, language model, {precision}", command, (options.model,)))
    for precision in ("float32", *short, "int8"):
        command = (*ours, "--decoder", "greedy", "--precision", precision)
        found.append(System(f"asr, greedy, {precision}", command, spelling))
    peer = (options.peer_python, str(PEER), "--threads", str(options.cores))
    for whisper in options.whisper:
        name, _, folder = whisper.partition("=")
        command = (*peer, "--whisper-model", folder, "faster-whisper")
        found.append(System(f"faster-whisper {name}, int8", command, (Path(folder),)))
    asked = subprocess.run(
        [options.peer_python, "-c", POCKETSPHINX_MODEL], capture_output=True, text=True
    )
    if asked.returncode:
        print("pocketsphinx is left out: it is not in --peer-python\n", file=sys.stderr)
    else:
        model = Path(asked.stdout.strip()) / "en-us"
        found.append(System("pocketsphinx 5", (*peer, "pocketsphinx"), (model,)))
    return found


def measure(system: System, clips: Sequence[Clip]) -> str:
    """A line of the table."""
    files = [str(clip.path) for clip in clips]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, *system.command, *files],
        capture_output=True,
        text=True,
        check=True,
    )
    wall_s = time.perf_counter() - started
    *lines, peak_kb = done.stdout.splitlines()
    texts = (text.rpartition("\t")[2] for text in lines)
    found = score(
        {clip.path.stem: clip.text for clip in clips},
        dict(zip((clip.path.stem for clip in clips), texts, strict=True)),
        speakers={clip.path.stem: clip.speaker for clip in clips},
        normalize=get_normalizer("asr-en-2"),
        normalizer="asr-en-2",
    )
    interval = wer_interval(found)
    return (
        f"| {system.name} | {100 * found.wer:.2f} ({100 * interval.low:.1f} – "
        f"{100 * interval.high:.1f}) | {seconds_of(clips) / wall_s:.1f} | {int(peak_kb) / 1024:.0f} | "
        f"{system.model_mb:.1f} |"
    )


if __name__ == "__main__":
    main()
