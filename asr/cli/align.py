"""`asr align`: word times of known text."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("align")(align)


def align(
    manifest: Annotated[Path, typer.Argument(help="JSON lines with audio and its text.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundle's folder.")] = "default",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the times.")] = Path("align"),
    pieces: Annotated[
        float | None,
        typer.Option(
            help="Also write OUT/pieces.jsonl: utterances cut between words into pieces of at most so "
            "many seconds, for training.",
            min=1,
            metavar="SECONDS",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
) -> int:
    """Find when each word of a manifest's texts was said.

    Writes OUT/words.ctm and OUT/textgrids/UTTERANCE.TextGrid. Utterances whose text is longer than
    their audio allows, or cannot be written with the model's tokens, are named, not invented; they
    make the exit status 1, or 3 if nothing could be aligned.

    Example: asr align dev-clean.jsonl --model runs/librispeech/mini/bundle -o align
    """
    from asr.align import align_utterances, cut, write_alignments
    from asr.decoder_noise import without_decoder_noise
    from asr.manifest import read_manifest, write_manifest
    from asr.transcribe import load_model
    from asr.whole_file import make_writable

    make_writable(out)
    recognizer = load_model(model, device=device, threads=threads, decoder="greedy")
    with without_decoder_noise():
        aligned = list(align_utterances(read_manifest(manifest), recognizer))
    failures = [item for item in aligned if item.transcript is None]
    for item in failures:
        typer.echo(f"{item.utterance.utterance_id}: {item.problem}", err=True)
    num_aligned = len(aligned) - len(failures)
    if num_aligned:
        paths = write_alignments(aligned, out)
        typer.echo(f"{num_aligned} of {len(aligned)} utterances aligned: {paths[0]}")
        if pieces is not None:
            parts = [part for item in aligned for part in cut(item, pieces)]
            write_manifest(out / "pieces.jsonl", parts)
            typer.echo(f"{len(parts)} pieces: {out / 'pieces.jsonl'}")
    return (1 if num_aligned else 3) if failures or not aligned else 0
