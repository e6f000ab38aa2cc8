"""`asr lexicon`: how the words of texts or of a language model are pronounced."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoding import shipped_lm
from asr.cli.lm import Normalizer, SkipFields

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("lexicon")(lexicon)


def lexicon(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Language models (.ngram, .arpa, or default, the one that comes with asr), texts and "
            "manifests; .arpa and texts also as .gz, .xz, .bz2."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file; .gz, .xz, .bz2 compress it.")
    ] = Path("lexicon.txt"),
    base: Annotated[
        Path | None,
        typer.Option(help="A lexicon of yours, in the same phones: its words are said as it says."),
    ] = None,
    normalizer: Normalizer = "asr-en-1",
    skip_fields: SkipFields = 0,
) -> int:
    """Write a pronouncing lexicon of English words: a word and its phones (ARPAbet) a line.

    espeak-ng (extra `demo`) says how words are pronounced, names and new words too. Training with
    loss.lexicon and loss.phone_weight makes a model that writes phones too; a language model is then
    decoded with over phones.

    Example: asr lexicon lm/lm.ngram train.jsonl -o lexicon.txt
    """
    from asr.corpora.pronounce import pronounce
    from asr.errors import AsrError
    from asr.pronunciation import (
        Lexicon,
        check_writable,
        read_lexicon,
        write_lexicon,
    )

    check_writable(out)
    known = read_lexicon(base).words if base else {}
    wanted = dict.fromkeys(
        word for source in sources for word in _words(source, normalizer, skip_fields)
    )
    said = pronounce(word for word in wanted if word not in known)
    words = {**{word: known[word] for word in wanted if word in known}, **said}
    if not words:
        raise AsrError("no word of these sources can be pronounced")
    write_lexicon(Lexicon.of(words), out)
    typer.echo(f"{out}  {len(words):,} words")
    lacking = [word for word in wanted if word not in words]
    if lacking:
        shown = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
        typer.echo(f"{len(lacking)} words have no English pronunciation: {shown}", err=True)
    return 1 if lacking else 0


def _words(source: Path, normalizer: str, skip_fields: int) -> Iterable[str]:
    """The words of a language model or of a text."""
    from asr.decoding.arpa import load_ngram
    from asr.decoding.ngram import BEGIN, END, UNKNOWN
    from asr.lm_text import TextSource, read_sentences

    model = shipped_lm(source) or source
    if model.suffix == ".ngram" or ".arpa" in model.suffixes or model.is_dir():
        return [word for word in load_ngram(model).words if word not in (BEGIN, END, UNKNOWN)]
    sentences = read_sentences(TextSource((source,), normalizer, skip_fields))
    return (word for sentence in sentences for word in sentence)
