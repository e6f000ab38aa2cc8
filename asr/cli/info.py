"""`asr info` and `asr doctor`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add both commands to `app`."""
    app.command("info")(info)
    app.command("doctor")(doctor)


def info(
    path: Annotated[Path, typer.Argument(help="A bundle, manifest, run folder or report.")],
) -> None:
    """Say what a bundle, manifest, run folder or report is."""
    from asr.describe import describe

    typer.echo(describe(path))


def doctor() -> int:
    """Check that this machine has what asr needs, and say what to do where it does not."""
    from asr.doctor import Verdict, examine

    checks = examine()
    for check in checks:
        typer.echo(f"{check.verdict:8}{check.name:14}{check.finding}")
        if check.advice:
            typer.echo(f"{'':22}-> {check.advice}")
    return 3 if any(check.verdict is Verdict.BROKEN for check in checks) else 0
