"""`asr tune`: language-model weight, word bonus and beam size on a development set."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoding import LmOption, RnnlmOption, ViewsOption, numbers


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("tune")(tune)


def tune(
    manifest: Annotated[Path, typer.Argument(help="JSON lines with audio and reference texts.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundle's folder.")] = "default",
    lm: LmOption = None,
    rnnlm: RnnlmOption = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the picture.")] = Path(
        "tune"
    ),
    lm_weights: Annotated[
        str | None, typer.Option(help="Weights to try, such as '0.5 1 1.5'.")
    ] = None,
    word_bonuses: Annotated[
        str | None, typer.Option(help="Word bonuses to try, such as '0 1 2'.")
    ] = None,
    beam_size: Annotated[int, typer.Option(help="Beam of the grid.", min=1)] = 32,
    beam_sizes: Annotated[
        str | None, typer.Option(help="Beams to try with the best weights, such as '16 64 128'.")
    ] = None,
    acoustic_scale: Annotated[
        float | None,
        typer.Option(
            help="Multiplies the network's log-probabilities in all trials; else the model's own."
        ),
    ] = None,
    rnnlm_shares: Annotated[
        str | None, typer.Option(help="Shares of the neural model to try, such as '0.3 0.5'.")
    ] = None,
    views: ViewsOption = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the best values, --lm and --rnnlm into the model.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
) -> int:
    """Find the weights of a language model on a development set.

    The network hears everything once, or --views times; then every combination is decoded, with the
    middle share of a neural language model, if there is one, and the best one with the others. Prints a
    table and draws OUT/surface.png, and calibrates word confidences. With --write, `asr transcribe` and
    `asr evaluate` use all of it from then on. A network that doubts much (CTC-CRF, CR-CTC) is searched
    faster, and as well, with an --acoustic-scale above 1 and weights as much larger.

    Example: asr tune dev-clean.jsonl --model runs/librispeech/mini/bundle --lm lm --write
    """
    from asr.bundle import DEFAULT_MODEL
    from asr.decoder_noise import without_decoder_noise
    from asr.errors import UsageError
    from asr.transcribe import load_model
    from asr.tune import tune as tune_weights
    from asr.tune import write_tuning
    from asr.tune_report import draw_surface, tuning_table
    from asr.tuning import Grid
    from asr.whole_file import make_writable

    if write and model == DEFAULT_MODEL:
        raise UsageError(
            "--write changes a model of yours, not the one that came with asr: `asr export default -o "
            "FOLDER` makes a copy"
        )
    default = Grid()
    grid = Grid(
        numbers(lm_weights, "--lm-weights", float) or default.lm_weights,
        numbers(word_bonuses, "--word-bonuses", float) or default.word_bonuses,
        beam_size,
        numbers(beam_sizes, "--beam-sizes", int) or default.more_beam_sizes,
        acoustic_scale,
        numbers(rnnlm_shares, "--rnnlm-shares", float) or default.rnnlm_shares,
        views,
    )
    make_writable(out)
    recognizer = load_model(
        model, device=device, threads=threads, precision=precision, decoder="greedy"
    )
    with without_decoder_noise():
        progress = _say if sys.stderr.isatty() else None
        tuning = tune_weights(manifest, recognizer, lm, grid, progress, rnnlm=rnnlm)
    typer.echo(tuning_table(tuning))
    if write:
        typer.echo(f"written into {write_tuning(model, tuning, lm, rnnlm)}")
    typer.echo(f"picture: {draw_surface(tuning, out / 'surface.png')}")
    for failure in tuning.failures:
        typer.echo(failure, err=True)
    return 1 if tuning.failures else 0


def _say(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    typer.echo(f"\r\033[K{done} of {total} combinations{end}", err=True, nl=False)
