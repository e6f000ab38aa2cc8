"""`asr transcribe`: audio of every kind -> transcripts."""

import math
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.decoding import (
    AcousticScaleOption,
    BeamSizeOption,
    DecoderOption,
    HotwordsOption,
    LmOption,
    LmWeightOption,
    RnnlmOption,
    RnnlmShareOption,
    UnknownPenaltyOption,
    ViewsOption,
    WordBonusOption,
)
from asr.cli.transcribe_job import Job

if TYPE_CHECKING:
    from asr.items import Item

MAX_WORKERS = 8  # each holds a batch and what waits for it in memory


class Channels(StrEnum):
    """What to do with several channels."""

    MIX = "mix"
    SEPARATE = "separate"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("transcribe")(transcribe)


def transcribe(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Files, folders, globs, manifests (.jsonl), lists of files (.txt), - for stdin.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A bundle's folder.")] = "default",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="txt srt vtt tsv json TextGrid jsonl ctm trn or all; several: -f srt -f json.",
            show_default="txt",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the transcripts; without it: stdout."),
    ] = None,
    files_from: Annotated[
        str | None, typer.Option(help="A file that names inputs, one a line; - is stdin.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what an earlier run with this model has done.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that no earlier run has written.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(help="i/n: only the i-th of n parts of the inputs.")
    ] = None,
    channel: Annotated[
        int | None, typer.Option(help="Only this channel; the first is 0.", min=0)
    ] = None,
    channels: Annotated[
        Channels, typer.Option(help="Mix them, or transcribe each.")
    ] = Channels.MIX,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, int8 (CPU; rounds by batch).")
    ] = "float32",
    decoder: DecoderOption = None,
    lm: LmOption = None,
    beam_size: BeamSizeOption = None,
    lm_weight: LmWeightOption = None,
    word_bonus: WordBonusOption = None,
    unknown_penalty: UnknownPenaltyOption = None,
    acoustic_scale: AcousticScaleOption = None,
    rnnlm: RnnlmOption = None,
    rnnlm_share: RnnlmShareOption = None,
    views: ViewsOption = None,
    hotwords: HotwordsOption = None,
    upper: Annotated[
        bool, typer.Option("--upper", help="Write capitals, as LibriSpeech's transcripts are.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads for each batch.", min=1, show_default="cores / workers"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Threads that read and decode files.", min=1)] = 2,
    workers: Annotated[
        int | None,
        typer.Option(help="Batches at once.", min=1, show_default="a CPU's cores, up to 8"),
    ] = None,
    batch_seconds: Annotated[
        float, typer.Option(help="Audio in one batch: more is faster, and takes memory.", min=1.0)
    ] = 120.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> int:
    """Transcribe files and whole folders.

    Text goes to stdout, or with -o into a folder that mirrors the inputs, with a run log. An input
    that cannot be read fails alone: it is named, the others go on, and the exit status is 1 (3 if
    all failed).

    Example: asr transcribe interviews/ talk.mp3 --model runs/mini/bundle -f srt -f json -o out
    """
    from asr.batch import BatchOptions
    from asr.collector import collection_paused
    from asr.decoder_noise import without_decoder_noise
    from asr.errors import UsageError
    from asr.formats import parse_formats
    from asr.inputs import parse_shard, work_list
    from asr.inputs import shard as take_shard

    names = parse_formats(formats or []) or ("txt",)
    if not math.isfinite(batch_seconds):
        raise UsageError("--batch-seconds must be a finite number")
    if channel is not None and channels is Channels.SEPARATE:
        raise UsageError("--channel and --channels separate exclude each other")
    if resume and out is None:
        raise UsageError("--resume needs -o: what is done is recorded in the output folder")
    part = "" if shard is None else ".{}-of-{}".format(*parse_shard(shard))
    with tempfile.TemporaryDirectory(prefix="asr-") as spool:
        items = work_list(
            inputs or [],
            files_from=files_from,
            channel=channel,
            separate_channels=channels is Channels.SEPARATE,
            stdin_folder=Path(spool),
        )
        items = items if shard is None else take_shard(items, shard)
        if out is None:
            _check_stdout_formats(names, alone := _is_alone(items, inputs or []))
        with collection_paused():  # torch makes very many objects
            from asr.transcribe import load_model

        recognizer = load_model(
            model,
            device=device,
            threads=threads,
            precision=precision,
            decoder=decoder,
            lm=lm,
            beam_size=beam_size,
            lm_weight=lm_weight,
            word_bonus=word_bonus,
            unknown_penalty=unknown_penalty,
            acoustic_scale=acoustic_scale,
            rnnlm=rnnlm,
            rnnlm_share=rnnlm_share,
            views=views,
            hotwords=hotwords,
            upper=upper,
        )
        workers = _share_cores(recognizer.device.type, threads, workers)
        pool_s = 4 * max(2, workers) * batch_seconds
        options = BatchOptions(jobs, batch_seconds, pool_s, workers)
        job = Job(recognizer, items, options, quiet)
        with _stop_on_sigterm(), without_decoder_noise():
            if out is None:
                return job.to_stdout(names[0], alone)
            from asr.outputs import OutputFolder

            folder = OutputFolder(out, names, recognizer.settings, part)
            try:
                folder.open(items, resume=resume, overwrite=overwrite)
                return job.to_folder(folder)
            finally:
                folder.close()


def _share_cores(device: str, threads: int | None, workers: int | None) -> int:
    """How many batches run at once; sets torch's threads for each unless they were given.

    On a CPU as many batches as it has cores, up to MAX_WORKERS: they share nothing, while threads
    that share a batch wait for each other at every step, most of all beside other programs.
    """
    if device != "cpu":
        return workers or 1
    import torch

    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    workers = workers or min(max(1, cores // (threads or 1)), MAX_WORKERS)
    torch.set_num_threads(threads or max(1, cores // workers))
    return workers


def _check_stdout_formats(names: Sequence[str], alone: bool) -> None:
    from asr.errors import UsageError
    from asr.formats import FILE_FORMATS

    if len(names) > 1:
        raise UsageError("several formats need a folder: add -o OUT")
    if not alone and names[0] in FILE_FORMATS and names[0] != "txt":
        raise UsageError(f"{names[0]} of several inputs needs a folder: add -o OUT, or -f jsonl")


def _is_alone(items: Sequence["Item"], inputs: Sequence[str]) -> bool:
    """Whether one file was named, and not a folder, pattern or list that could hold more."""
    return len(inputs) == 1 == len(items) and (inputs[0] == "-" or Path(inputs[0]) == items[0].path)


@contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
