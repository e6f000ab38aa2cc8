"""The `asr` command. Modules of this package import only typer and the standard library at the top:
`asr --help` answers without torch.

Exit status: 0 all good, 1 some inputs failed, 2 wrong usage, 3 nothing could be done.
"""

import atexit
import gc
import sys
from typing import Annotated

import typer

from asr import __version__
from asr.cli import (
    adapt,
    align,
    evaluate,
    export,
    info,
    lexicon,
    lm,
    prepare,
    score,
    train,
    transcribe,
    tune,
)
from asr.errors import AsrError

# BadParameter < UsageError < ClickException. Some versions of typer bring click as a private copy.
_ClickException: type[Exception] = typer.BadParameter.mro()[2]

app = typer.Typer(
    help="From audio and transcripts to a compact LSTM-CTC recognizer, a WER report that people "
    "trust, and a transcript of everything in a directory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    context.obj = {"debug": debug}
    if version:
        typer.echo(f"asr {__version__}")
        raise typer.Exit


for group in (
    *(prepare, train, adapt, transcribe, evaluate, score, align, tune, lm, lexicon, export, info),
):
    group.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors become one message and an exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Else Python ends by looking for garbage in all of torch: a quarter of a second.
    atexit.register(gc.freeze)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        status = app(arguments, prog_name="asr", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        print("asr: interrupted", file=sys.stderr)
        return 130
    except _ClickException as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except AsrError as error:
        if "--debug" in arguments:
            raise
        print(f"asr: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:  # such as a full disk; where a command has more to say, it has said it
        if "--debug" in arguments:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"asr: {place}{error.strerror or error} (--debug: where)", file=sys.stderr)
        return AsrError.exit_status
    return status if isinstance(status, int) else 0
