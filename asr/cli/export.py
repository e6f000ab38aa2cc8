"""`asr export`: a copy of a model, smaller or with another language model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoding import numbers, shipped_lm, shipped_rnnlm


class Weights(StrEnum):
    """How the network's weights are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT7 = "int7"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export")(export)


def export(
    model: Annotated[str, typer.Argument(help="A bundle's folder, or default.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the copy.")],
    weights: Annotated[
        Weights | None,
        typer.Option(help="Round the stored weights; as they are where left out."),
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(
            help="Put this language model in: compiled, ARPA, or default, the one that comes with asr.",
            callback=shipped_lm,
        ),
    ] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(help="Put this lexicon in (`asr lexicon`), for a model that writes phones."),
    ] = None,
    rnnlm: Annotated[
        Path | None,
        typer.Option(
            help="Put this neural language model in (`asr lm train-rnn`), or default, the one that "
            "comes with asr.",
            callback=shipped_rnnlm,
        ),
    ] = None,
    without_lm: Annotated[
        bool, typer.Option("--without-lm", help="Leave the language models out.")
    ] = False,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="MODEL",
            help="Have this model's network hear along wherever phones are read; may be given again.",
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out the networks that hear along.")
    ] = False,
    shares: Annotated[
        str | None,
        typer.Option(
            help="Of each network in the mean that a search reads, as a ratio: '1 2 1'. All alike where "
            "left out."
        ),
    ] = None,
    average: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Average the weights with those of this model, spellers where they are alike; may be "
            "given again; the model itself, to count twice.",
        ),
    ] = None,
    speller: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Put in the speller of this model, or of default."),
    ] = None,
) -> None:
    """Copy a model: weights rounded, another language model, other networks beside its own.

    float16 takes half, int8 a quarter and int7 a fifth of float32's space; all are computed with as
    floats. The neural language model is rounded too.
    Networks that write the same phones can hear the speech together (--with): a search and a speller
    read the mean of what they hear and make fewer errors, for the work of all of them; --shares has a
    better one count more. Without a speller, greedy decoding hears with the model's own alone. Of
    trainings that began with the same weights, the average (--average) may be better than each. A
    language model that is put in keeps the weights that `asr tune` found for the one before: tune
    again. What the model card says of licences and measurements comes along, as the original's.

    Example: asr export runs/librispeech/mini/bundle -o small --weights int8 --lm lm
    """
    from asr.errors import UsageError
    from asr.export import export_bundle

    if without_lm and (lm is not None or rnnlm is not None):
        raise UsageError("--without-lm excludes --lm and --rnnlm")
    folder = export_bundle(
        model, out, weights=weights, lm=lm, without_lm=without_lm, lexicon=lexicon, rnnlm=rnnlm,
        others=others or (), alone=alone, shares=numbers(shares, "--shares", float),
        average=average or (), speller=speller,
    )  # fmt: skip
    for file in sorted(folder.iterdir()):
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.2f} MB")
