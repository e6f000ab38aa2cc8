"""Options of decoding that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

_Number = TypeVar("_Number", int, float)


def shipped_lm(path: Path | None) -> Path | None:
    """`--lm default` is the language model that comes with asr (./default one of yours)."""
    if path is None:
        return None
    from asr.bundle import LM_FILE

    return _shipped(path, LM_FILE)


def shipped_rnnlm(path: Path | None) -> Path | None:
    """`--rnnlm default` is the neural language model that comes with asr."""
    if path is None:
        return None
    from asr.bundle import RNNLM_FILE

    return _shipped(path, RNNLM_FILE)


def _shipped(path: Path, name: str) -> Path:
    from asr.bundle import DEFAULT_MODEL, SHIPPED

    return SHIPPED / name if path == Path(DEFAULT_MODEL) else path


def numbers(text: str | None, option: str, kind: Callable[[str], _Number]) -> tuple[_Number, ...]:
    """The numbers of an option's text, between spaces or commas; UsageError if it has others."""
    from asr.errors import UsageError

    try:
        return tuple(kind(part) for part in (text or "").replace(",", " ").split())
    except ValueError:
        raise UsageError(f"{option} takes numbers such as '1 2', not {text!r}") from None


DecoderOption = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        help="greedy or beam; without it: beam where there is a language model or hot words.",
    ),
]
LmOption = Annotated[
    Path | None,
    typer.Option(
        "--lm",
        help="Language model: compiled, ARPA, their folder, or default, the one that comes with asr; "
        "else the model's own, if any.",
        callback=shipped_lm,
    ),
]
BeamSizeOption = Annotated[
    int | None, typer.Option("--beam-size", help="Prefixes kept in each frame.", min=1)
]
LmWeightOption = Annotated[
    float | None, typer.Option("--lm-weight", help="Weight of the language model.")
]
WordBonusOption = Annotated[
    float | None, typer.Option("--word-bonus", help="Added for each word (ln).")
]
AcousticScaleOption = Annotated[
    float | None,
    typer.Option(
        "--acoustic-scale",
        help="Multiplies the network's log-probabilities; above 1: sharper, faster.",
    ),
]
RnnlmOption = Annotated[
    Path | None,
    typer.Option(
        "--rnnlm",
        help="Neural language model for a second pass (`asr lm train-rnn`), or default, the one that "
        "comes with asr; else the model's own, if any, with its own n-grams.",
        callback=shipped_rnnlm,
    ),
]
RnnlmShareOption = Annotated[
    float | None,
    typer.Option(
        "--rnnlm-share",
        help="Of the neural one in the language model's score, 0 (no second pass) to 1.",
    ),
]
ViewsOption = Annotated[
    int | None,
    typer.Option(
        "--views",
        help="How often the network hears the speech, as if from vocal tracts of so many lengths: fewer "
        "errors of a search; else as the model was tuned, once for greedy.",
        min=1,
    ),
]
UnknownPenaltyOption = Annotated[
    float | None,
    typer.Option(
        "--unknown-penalty",
        help="Let words be written that the language model lacks, at this price (ln) each; a model with "
        "phones is then searched by its letters, with more errors.",
    ),
]
HotwordsOption = Annotated[
    Path | None,
    typer.Option(
        "--hotwords", help="Words and phrases to prefer: one a line, optionally a tab and a weight."
    ),
]
