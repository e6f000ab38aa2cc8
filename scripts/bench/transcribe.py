"""`asr transcribe` against faster-whisper and pocketsphinx, and where its own time goes.

The same FLAC files, one run, one machine; each system in a process of its own, start-up included;
runs alternate, the best of each counts. The slow peers get the first --peer-files of the files: their
speed is given with their start-up and without. The peers live in an environment of their own
(`transcribe_peer.py` says which); one that does not run there is left out and named.

    python scripts/bench/transcribe.py --model runs/librispeech/mini/bundle \\
        --peer-python peers/bin/python --whisper-model peers/tiny.en        # about 20 minutes

Also: the same for one file, a table of stages, and the peak memory of one 3-hour recording.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jiwer
import soundfile

from asr.audio import load_audio
from asr.batch import Result, Status
from asr.decoder_noise import without_decoder_noise
from asr.inputs import work_list
from asr.items import AUDIO_SUFFIXES
from asr.outputs import OutputFolder
from asr.pool import Piece, dense_batches
from asr.segment import Window
from asr.text import normalize

RATE = 16_000
# In a small process of its own: a child's peak counts what its parent held when it was forked.
PEAK_MEMORY = """
import os, subprocess, sys
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("ASR_DATA", SHARED)) / "LibriSpeech" / "dev-clean"
PEER = Path(__file__).with_name("transcribe_peer.py")
PEERS = ("faster-whisper", "pocketsphinx")
ASR = "from asr.cli import main; main()"


@dataclass(frozen=True)
class Clip:
    """A FLAC file, what is said in it and by whom; '' where that is not known."""

    path: Path
    text: str
    speaker: str = ""

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return float(soundfile.info(self.path).duration)


@dataclass(frozen=True)
class Timing:
    """One run of one system."""

    wall_s: float
    hypotheses: tuple[str, ...]


# What a system answers for some files
Run = Callable[[Sequence[Clip]], Timing]


def main() -> None:
    """Run all of it and print tables in Markdown."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="asr-bench-") as folder:
        with without_decoder_noise():
            again = itertools.cycle(find_speech(options.data))
            sources = itertools.islice(again, options.num_files)
            clips = make_clips(options.data, Path(folder), sources)
        compare(options, clips)
        for precision in options.precision:
            stages(options, precision, clips, Path(folder))
        if options.long_hours:
            long_recording(options, clips, Path(folder))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", required=True, help="a bundle's folder")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder of speech")
    parser.add_argument("--num-files", type=int, default=1000)
    parser.add_argument("--peer-files", type=int, default=50)
    parser.add_argument("--peer-python", default=sys.executable, help="where the peers are")
    parser.add_argument("--whisper-model", default="tiny.en", help="a name or a folder")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2, help="threads of each system")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--long-hours", type=float, default=3.0, help="0: no long recording")
    return parser.parse_args()


def find_speech(data: Path) -> list[Path]:
    """All audio below `data`, in order."""
    sources = sorted(path for path in data.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not sources:
        sys.exit(f"no audio below {data}: name a folder of speech with --data")
    return sources


def make_clips(data: Path, folder: Path, sources: Iterable[Path]) -> list[Clip]:
    """FLAC files of audio below `data`; the same file twice becomes two."""
    texts = dict(librispeech_texts(data))
    (folder / "flac").mkdir()
    clips = []
    for index, source in enumerate(sources):
        speaker = source.stem.split("-")[0]
        clips.append(
            Clip(folder / "flac" / f"{index:05}.flac", texts.get(source.stem, ""), speaker)
        )
        soundfile.write(clips[-1].path, load_audio(source), RATE, subtype="PCM_16")
    return clips


def librispeech_texts(data: Path) -> Iterator[tuple[str, str]]:
    """Id and text of each utterance of a LibriSpeech tree."""
    for transcript in sorted(data.rglob("*.trans.txt")):
        for line in transcript.read_text("utf-8").splitlines():
            utterance_id, _, text = line.partition(" ")
            yield utterance_id, text


def seconds_of(clips: Sequence[Clip]) -> float:
    """Audio in `clips`, seconds."""
    return sum(clip.duration_s for clip in clips)


def compare(options: argparse.Namespace, clips: Sequence[Clip]) -> None:
    """The table of systems: all files, and one file."""
    systems: dict[str, tuple[Run, Sequence[Clip]]] = {
        f"asr greedy, {precision}": (partial(run_asr, options, precision), clips)
        for precision in options.precision
    }
    for peer in PEERS:
        run = partial(run_peer, options, peer)
        try:
            run(clips[:1])
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().splitlines() or ["it said nothing"]
            print(f"{peer} is left out: {said[-1]}\n")
        else:
            systems[peer] = run, clips[: options.peer_files]
    best: dict[tuple[str, bool], Timing] = {}
    for _, (name, (run, share)) in itertools.product(range(options.repeat), systems.items()):
        for alone, part in ((True, share[:1]), (False, share)):
            timing, before = run(part), best.get((name, alone))
            if before is None or timing.wall_s < before.wall_s:
                best[name, alone] = timing
    print(
        "| system | files | audio s | wall s | audio s/s | without start-up | one file, s | WER % |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for name, (_, share) in systems.items():
        print(f"| {name} | {table_row(share, best[name, False], best[name, True])} |")


def table_row(clips: Sequence[Clip], timing: Timing, alone: Timing) -> str:
    """A system's cells; without start-up: what the files beyond the first took."""
    audio_s, beyond_s = seconds_of(clips), timing.wall_s - alone.wall_s
    beyond = f"{(audio_s - clips[0].duration_s) / beyond_s:.1f}" if beyond_s > 0 else "–"
    return (
        f"{len(clips)} | {audio_s:.0f} | {timing.wall_s:.2f} | {audio_s / timing.wall_s:.1f} | "
        f"{beyond} | {alone.wall_s:.2f} | {wer_percent(clips, timing.hypotheses)}"
    )


def wer_percent(clips: Sequence[Clip], hypotheses: Sequence[str]) -> str:
    """Corpus WER in percent, over the clips whose text is known."""
    pairs = [
        (normalize(clip.text), normalize(hypothesis))
        for clip, hypothesis in zip(clips, hypotheses, strict=True)
        if clip.text
    ]
    if not pairs:
        return "–"
    references, heard = zip(*pairs, strict=True)
    return f"{100 * jiwer.wer(list(references), list(heard)):.1f}"


def run_asr(options: argparse.Namespace, precision: str, clips: Sequence[Clip]) -> Timing:
    """`asr transcribe` as a user would call it."""
    with tempfile.TemporaryDirectory() as out:
        command = asr_command([clip.path for clip in clips], Path(out), options, precision)
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall_s = time.perf_counter() - started
        texts = (Path(out) / f"{clip.path.stem}.txt" for clip in clips)
        return Timing(wall_s, tuple(text.read_text("utf-8").replace("\n", " ") for text in texts))


def asr_command(
    inputs: Sequence[Path], out: Path, options: argparse.Namespace, precision: str
) -> list[str]:
    """The command line of ours."""
    return [
        *(sys.executable, "-c", ASR, "transcribe", *map(str, inputs), "--model", options.model),
        *("-o", str(out), "-f", "txt,json", "--decoder", "greedy", "--device", "cpu"),
        *("--threads", "1", "--workers", str(options.cores), "--precision", precision),
    ]


def run_peer(options: argparse.Namespace, peer: str, clips: Sequence[Clip]) -> Timing:
    """A peer in its own environment."""
    command = [options.peer_python, str(PEER), peer, "--whisper-model", options.whisper_model]
    command += ["--threads", str(options.cores), *(str(clip.path) for clip in clips)]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Timing(time.perf_counter() - started, tuple(done.stdout.splitlines()))


def stages(
    options: argparse.Namespace, precision: str, clips: Sequence[Clip], folder: Path
) -> None:
    """Each stage alone, one after the other; the command overlaps decoding with the network."""
    import torch

    from asr.transcribe import load_model, pad

    recognizer = load_model(
        options.model, device="cpu", threads=options.cores, precision=precision, decoder="greedy"
    )
    clock: dict[str, float] = {}
    items = work_list([str(clip.path) for clip in clips])
    with clocked(clock, "decode"):
        waveforms = [load_audio(clip.path) for clip in clips]
    pieces = [Piece(n, 0, Window(0, 0, waveform)) for n, waveform in enumerate(waveforms)]
    out = OutputFolder(folder / f"stages-{precision}", ("txt", "json"), "bench")
    out.open(items)
    for batch in dense_batches(pieces, 120 * RATE):
        padded, lengths = pad([piece.window.waveform for piece in batch])
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
    audio_s = seconds_of(clips)
    print(f"\n| stage, {precision} | s | audio s/s |\n|---|---|---|")
    for stage in ("decode", "features", "encoder", "search", "write"):
        print(f"| {stage} | {clock[stage]:.2f} | {audio_s / clock[stage]:.0f} |")


class clocked:  # noqa: N801 - reads as a statement: with clocked(clock, "decode")
    """Adds the wall time of the block to `clock[name]`."""

    def __init__(self, clock: dict[str, float], name: str) -> None:
        self._clock, self._name = clock, name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self._started
        self._clock[self._name] = self._clock.get(self._name, 0.0) + spent


def long_recording(options: argparse.Namespace, clips: Sequence[Clip], folder: Path) -> None:
    """Peak memory and time of the command on one long recording."""
    path, needed = folder / "long.flac", round(options.long_hours * 3600 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as out:
        for clip in itertools.cycle(clips):
            waveform = load_audio(clip.path)[:needed]
            out.write(waveform)
            needed -= len(waveform)
            if needed == 0:
                break
    started = time.perf_counter()
    command = asr_command([path], folder / "long", options, options.precision[0])
    measured = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, *command], capture_output=True, text=True, check=True
    )
    wall_s = time.perf_counter() - started
    peak_mb = int(measured.stdout.splitlines()[-1]) / 1024
    print(
        f"\n{options.long_hours:g} h in one recording: {peak_mb:.0f} MB at most, "
        f"{wall_s:.1f} s, {options.long_hours * 3600 / wall_s:.0f} x real time"
    )


if __name__ == "__main__":
    main()
