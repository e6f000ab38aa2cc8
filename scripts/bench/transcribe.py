"""`asr transcribe` against faster-whisper and pocketsphinx, and where its own time goes.

On the same FLAC files, in one run on one machine, each system in a process of its own, start-up
included; runs alternate, the best of each counts. A peer that is not installed, or whose model is
not there, is left out and named. The slow peers get the first --peer-files of the files.

    pip install faster-whisper pocketsphinx
    python scripts/bench/transcribe.py --model runs/librispeech/mini/bundle     # about 20 minutes

Also: the same for one file (start-up), a table of stages, the peak memory of one 3-hour recording,
and how far the transcript of a 10-minute recording differs from those of the utterances it is made of.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from asr.audio import load_audio
from asr.batch import Result, Status, dense_batches, transcribe_files
from asr.inputs import AUDIO_SUFFIXES, work_list
from asr.outputs import OutputFolder
from asr.pool import Piece
from asr.segment import Window

RATE = 16_000
DATA = Path(__file__).resolve().parents[3] / "shared/data/LibriSpeech/dev-clean"
PEERS = ("faster-whisper tiny int8", "pocketsphinx")
ASR = "from asr.cli import main; main()"


@dataclass(frozen=True)
class Timing:
    """One run of one system."""

    system: str
    num_files: int
    audio_s: float
    wall_s: float

    @property
    def times_real_time(self) -> float:
        """Audio seconds per second of the clock."""
        return self.audio_s / self.wall_s


def main() -> None:
    """Run all of it and print tables in Markdown."""
    options = parse_arguments()
    if options.peer:
        run_peer(options.peer, options.files, options.threads)
        return
    with tempfile.TemporaryDirectory(prefix="asr-bench-") as folder:
        files = make_flac_files(options.data, Path(folder), options.num_files)
        compare(options, files)
        stages(options, files, Path(folder))
        long_recording(options, files, Path(folder))
        joins(options, Path(folder))


def parse_arguments() -> argparse.Namespace:
    """The command line; `--peer` is this script calling itself."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", required="--peer" not in sys.argv, help="a bundle's folder")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder of speech")
    parser.add_argument("--num-files", type=int, default=1000)
    parser.add_argument("--peer-files", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_flac_files(data: Path, folder: Path, number: int) -> list[Path]:
    """`number` FLAC files of the speech below `data`, again from the first if there are fewer."""
    sources = sorted(path for path in data.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not sources:
        sys.exit(f"no audio below {data}: name a folder of speech with --data")
    (folder / "flac").mkdir()
    files = []
    for index, source in zip(range(number), itertools.cycle(sources), strict=False):
        files.append(folder / "flac" / f"{index:05}.flac")
        soundfile.write(files[-1], load_audio(source), RATE, subtype="PCM_16")
    return files


def seconds_of(files: Sequence[Path]) -> float:
    """Audio in `files`, seconds."""
    return float(sum(soundfile.info(file).duration for file in files))


def compare(options: argparse.Namespace, files: Sequence[Path]) -> None:
    """The table of systems: all files, and one file."""
    systems = ["asr", *filter(is_there, PEERS)]
    for absent in set(PEERS) - set(systems):
        print(f"{absent} is not installed or has no model here: left out\n")
    runs: dict[tuple[str, int], list[Timing]] = {}
    for _, system in itertools.product(range(options.repeat), systems):
        share = files if system == "asr" else files[: options.peer_files]
        for part in (share, files[:1]):
            timing = time_system(system, part, options)
            runs.setdefault((system, len(part)), []).append(timing)
    print("| system | files | audio s | wall s | audio s per s |\n|---|---|---|---|---|")
    for timings in runs.values():
        best = min(timings, key=lambda timing: timing.wall_s)
        print(
            f"| {best.system} | {best.num_files} | {best.audio_s:.0f} | {best.wall_s:.2f} | "
            f"{best.times_real_time:.1f} |"
        )


def is_there(peer: str) -> bool:
    """Whether the peer and its model load."""
    command = [sys.executable, __file__, "--peer", peer]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def time_system(system: str, files: Sequence[Path], options: argparse.Namespace) -> Timing:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        if system == "asr":
            command = asr_command([*files], Path(out), options)
        else:
            command = [sys.executable, __file__, "--peer", system, "--threads", options.threads]
            command += files
        started = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return Timing(system, len(files), seconds_of(files), time.perf_counter() - started)


def asr_command(inputs: Sequence[Path], out: Path, options: argparse.Namespace) -> list[object]:
    """`asr transcribe` as a user would call it."""
    return [
        *(sys.executable, "-c", ASR, "transcribe", *inputs, "--model", options.model, "-o", out),
        *("-f", "txt,json", "--threads", options.threads, "--precision", options.precision),
    ]


def run_peer(peer: str, files: Sequence[Path], threads: int) -> None:
    """Load the peer's smallest model and transcribe the files one by one, as its command does."""
    if peer == "pocketsphinx":
        from pocketsphinx import Decoder

        decoder = Decoder(samprate=RATE)
        for file in files:
            decoder.start_utt()
            decoder.process_raw(soundfile.read(file, dtype="int16")[0].tobytes(), full_utt=True)
            decoder.end_utt()
            print(decoder.hyp().hypstr if decoder.hyp() else "")
        return
    from faster_whisper import WhisperModel

    model = WhisperModel(
        "tiny", device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
    for file in files:
        segments, _ = model.transcribe(str(file), language="en", beam_size=1)
        print(" ".join(segment.text for segment in segments))


def stages(options: argparse.Namespace, files: Sequence[Path], folder: Path) -> None:
    """Each stage alone, one after the other; the command overlaps decoding with the network."""
    import torch

    from asr.transcribe import load_model

    recognizer = load_model(options.model, threads=options.threads, precision=options.precision)
    clock: dict[str, float] = {}
    items = work_list([str(file) for file in files])
    with torch.inference_mode(), clocked(clock, "decode"):
        waveforms = [load_audio(file) for file in files]
    pieces = [Piece(n, 0, Window(0, 0, waveform)) for n, waveform in enumerate(waveforms)]
    out = OutputFolder(folder / "stages", ("txt", "json"), "bench")
    out.open(items)
    for batch in dense_batches(pieces, 120 * RATE):
        lengths = torch.tensor([len(piece.window.waveform) for piece in batch])
        padded = torch.zeros(len(batch), int(lengths.max()))
        for row, piece in zip(padded, batch, strict=True):
            row[: len(piece.window.waveform)] = torch.from_numpy(piece.window.waveform)
        with torch.inference_mode(), clocked(clock, "features"):
            recognizer.model.front_end(padded, lengths)
        with clocked(clock, "features and encoder"):
            output = recognizer.forward(padded, lengths)
        with clocked(clock, "search"):
            transcripts = recognizer.to_transcripts(output, lengths)
        with clocked(clock, "write"):
            for piece, transcript in zip(batch, transcripts, strict=True):
                out.write(Result(items[piece.index], Status.OK, transcript))
    out.close()
    clock["encoder"] = clock.pop("features and encoder") - clock["features"]
    print("\n| stage | s | audio s per s |\n|---|---|---|")
    for stage in ("decode", "features", "encoder", "search", "write"):
        print(f"| {stage} | {clock[stage]:.2f} | {seconds_of(files) / clock[stage]:.0f} |")


class clocked:  # noqa: N801 - reads as a statement: with clocked(clock, "decode")
    """Adds the wall time of the block to `clock[name]`."""

    def __init__(self, clock: dict[str, float], name: str) -> None:
        self._clock, self._name = clock, name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self._started
        self._clock[self._name] = self._clock.get(self._name, 0.0) + spent


def long_recording(options: argparse.Namespace, files: Sequence[Path], folder: Path) -> None:
    """Peak memory of the command on one recording of three hours."""
    path, needed = folder / "three-hours.flac", 3 * 3600 * RATE
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as out:
        for waveform in itertools.cycle(map(load_audio, files)):
            out.write(waveform[:needed])
            needed -= len(waveform)
            if needed <= 0:
                break
    command = [str(part) for part in asr_command([path], folder / "long", options)]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    if status:
        sys.exit("asr transcribe failed on the long recording")
    peak_mb = usage.ru_maxrss / 1024
    print(f"\n3-hour recording: {peak_mb:.0f} MB at most, {wall_s:.1f} s")


def joins(options: argparse.Namespace, folder: Path) -> None:
    """WER of ten minutes joined from utterances, and of the same utterances one by one."""
    from asr.transcribe import load_model

    recognizer = load_model(options.model, threads=options.threads, precision=options.precision)
    waveforms, references = [], []
    for path, text in utterances(options.data):
        waveforms.append(load_audio(path))
        references.append(text.lower())
        if sum(map(len, waveforms)) >= 600 * RATE:
            break
    if not references:
        print("\nno transcripts beside the speech: the joins are not measured")
        return
    soundfile.write(folder / "joined.flac", np.concatenate(waveforms), RATE, subtype="PCM_16")
    (joined,) = transcribe_files(recognizer, [folder / "joined.flac"])
    assert joined.transcript is not None
    parts = " ".join(recognizer.transcribe(waveform).text for waveform in waveforms)
    reference = " ".join(references)
    whole_wer = jiwer.wer(reference, joined.transcript.text)
    parts_wer = jiwer.wer(reference, parts)
    print(
        f"\n10 minutes joined from {len(references)} utterances: WER {100 * whole_wer:.2f} % as one "
        f"recording, {100 * parts_wer:.2f} % as utterances"
    )


def utterances(data: Path) -> Iterator[tuple[Path, str]]:
    """Audio and text of a LibriSpeech tree."""
    for transcript in sorted(data.rglob("*.trans.txt")):
        audio = {path.stem: path for path in transcript.parent.iterdir()}
        for line in transcript.read_text("utf-8").splitlines():
            utterance_id, _, text = line.partition(" ")
            if utterance_id in audio:
                yield audio[utterance_id], text


if __name__ == "__main__":
    main()
