"""`asr train`: recipe -> checkpoints -> bundle -> WER report."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("train", context_settings={"ignore_unknown_options": False})(train)


def train(
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="recipe=CORPUS/NAME [KEY=VALUE]...",
            help="A recipe (or the path of a .yaml file) and any of its keys; "
            "resume=true goes on with an interrupted run.",
        ),
    ],
    show: Annotated[
        bool, typer.Option("--show", help="Print the whole configuration and stop.")
    ] = False,
    multirun: Annotated[
        bool,
        typer.Option(
            "--multirun",
            "-m",
            help="Run every combination of keys with several values (key=1,2), one after the other, "
            "and print a table.",
        ),
    ] = False,
) -> int:
    """Train a recipe, write its model as a bundle, and report its WER.

    Example: asr train recipe=librispeech/mini data.data_dir=corpora trainer.max_epochs=60
    """
    if multirun:
        return _sweep(overrides, show)
    from asr.training.config import load_config, to_yaml

    config = load_config(overrides)
    if show:
        typer.echo(to_yaml(config))
        return 0
    from asr.decoder_noise import without_decoder_noise
    from asr.training.train import run

    with without_decoder_noise():
        trained = run(config)
    if trained.is_first:
        typer.echo(f"model: {trained.bundle_path}")
    for evaluation in trained.evaluations:
        typer.echo(evaluation.summary())
    return 1 if any(evaluation.failures for evaluation in trained.evaluations) else 0


def _sweep(overrides: list[str], show: bool) -> int:
    from asr.training.sweep import combinations, run_sweep
    from asr.training.sweep_table import TABLE_FILE, rows_to_markdown

    if show:
        for run in combinations(overrides):
            typer.echo(run.name)
        return 0
    sweep = run_sweep(overrides)
    typer.echo(rows_to_markdown(sweep.rows), nl=False)
    typer.echo(f"table: {sweep.folder / TABLE_FILE}")
    return sweep.exit_status
