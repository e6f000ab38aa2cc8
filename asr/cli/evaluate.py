"""`asr evaluate`: model x manifest -> WER report."""

from pathlib import Path
from typing import Annotated

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


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate")(evaluate)


def evaluate(
    manifest: Annotated[Path, typer.Argument(help="JSON lines with audio and reference texts.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundle's folder.")] = "default",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the report.")] = Path(
        "report"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
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
) -> int:
    """Transcribe a manifest and report word and character error rates.

    Writes report.html, report.json and utterances.csv into OUT. An utterance whose audio cannot be
    read counts as deleted words, is named, and makes the exit status 1.

    Example: asr evaluate dev-clean.jsonl --model runs/librispeech/mini/bundle -o report
    """
    from asr.decoder_noise import without_decoder_noise
    from asr.evaluate import evaluate as evaluate_manifest
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
    )
    with without_decoder_noise():
        evaluation = evaluate_manifest(manifest, recognizer, out)
    typer.echo(evaluation.summary())
    for failure in evaluation.failures:
        typer.echo(failure, err=True)
    return 1 if evaluation.failures else 0
