"""`asr adapt`: recordings without transcripts -> a model that hears them better."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoding import (
    AcousticScaleOption,
    BeamSizeOption,
    LmOption,
    LmWeightOption,
    RnnlmOption,
    RnnlmShareOption,
    ViewsOption,
    WordBonusOption,
)
from asr.cli.transcribe_job import INTERRUPTED


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("adapt")(adapt)


def adapt(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Recordings: files, folders, globs, manifests, lists of files."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the model, OUT/bundle, and the work.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="The bundle to begin with.")
    ] = "default",
    rounds: Annotated[int, typer.Option(help="Of listening and training.", min=1)] = 2,
    max_hours: Annotated[
        float,
        typer.Option(help="Of longer recordings, so many hours from everywhere in them.", min=0.01),
    ] = 5.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an interrupted run has left in OUT.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of the recipe own-data/adapt, such as trainer.max_epochs=4; several.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    lm: LmOption = None,
    beam_size: BeamSizeOption = None,
    lm_weight: LmWeightOption = None,
    word_bonus: WordBonusOption = None,
    acoustic_scale: AcousticScaleOption = None,
    rnnlm: RnnlmOption = None,
    rnnlm_share: RnnlmShareOption = None,
    views: ViewsOption = None,
) -> int:
    """Make a model fit the speakers and rooms of recordings that nobody has transcribed.

    The model writes down what it hears, with its language model, and its networks are trained on that;
    then once more from the better texts. The new model is for these recordings, and for others of the
    same people and places; keep the first one for others. 1.5 hours took half an hour on two cores for
    each network (`asr export --alone` makes a model of one). A recording that cannot be read is named,
    the others are used, and the exit status is 1.

    Example: asr adapt interviews -o adapted && asr transcribe interviews -m adapted/bundle -o out
    """
    from asr.decoder_noise import without_decoder_noise
    from asr.errors import UsageError
    from asr.inputs import work_list
    from asr.training.adapt import Options
    from asr.training.adapt import adapt as adapt_model
    from asr.transcribe import load_model

    if "-" in inputs:
        raise UsageError("the recordings are read several times: name files, not stdin (-)")
    listener = partial(
        load_model,
        device=device,
        threads=threads,
        lm=lm,
        beam_size=beam_size,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        acoustic_scale=acoustic_scale,
        rnnlm=rnnlm,
        rnnlm_share=rnnlm_share,
        views=views,
    )
    options = Options(model, rounds, max_hours, tuple(settings or ()), resume)
    try:
        with without_decoder_noise():
            adapted = adapt_model(work_list(inputs), out, listener, options)
    except KeyboardInterrupt:
        print("asr: interrupted; the same command with --resume goes on", file=sys.stderr)
        return INTERRUPTED
    typer.echo(f"adapted to {adapted.hours:.2f} h")
    typer.echo(f"model: {adapted.bundle_path}")
    for failure in adapted.failures:
        print(f"asr: failed: {failure}", file=sys.stderr)
    return 1 if adapted.failures else 0
