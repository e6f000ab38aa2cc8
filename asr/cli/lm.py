"""`asr lm`: language models from text, n-grams and neural."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asr.lm_text import Progress
    from asr.rnnlm import Rescorer
    from asr.rnnlm_training import Progress as TrainingProgress

TEXT_HELP = "Text files, a sentence a line; also .gz, .xz, .bz2, and manifests (.jsonl)."
_MAX_UNKNOWN_SHOWN = 20
Normalizer = Annotated[str, typer.Option(help="Text normaliser; `none` keeps the text as it is.")]
SkipFields = Annotated[
    int, typer.Option(min=0, max=9, help='Fields to drop from each line; 1 for "ID TEXT".')
]


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help="Train and inspect language models.", no_args_is_help=True)
    group.command("train")(train)
    group.command("train-rnn")(train_rnn)
    group.command("info")(info)
    app.add_typer(group, name="lm")


def train(
    text: Annotated[list[Path], typer.Argument(help=TEXT_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")] = Path("lm"),
    order: Annotated[int, typer.Option(help="Longest n-gram, 1 to 5.")] = 3,
    prune: Annotated[
        str, typer.Option(help="Highest count to drop per order, such as '0 0 1'.")
    ] = "0",
    entropy_prune: Annotated[
        float, typer.Option(help="Drop n-grams that matter less than this, such as 1e-8.")
    ] = 0.0,
    vocab_size: Annotated[
        int | None, typer.Option(min=1, help="Keep the most frequent words; others are <unk>.")
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(
            help="Text files of words to know besides, a spelling dictionary say; may be given again."
        ),
    ] = None,
    normalizer: Normalizer = "asr-en-1",
    skip_fields: SkipFields = 0,
    arpa: Annotated[bool, typer.Option(help="Write the ARPA file beside the compiled one.")] = True,
) -> None:
    """Estimate a modified Kneser-Ney model from text.

    Writes OUT/lm.ngram, which loads by memory map, and OUT/lm.arpa, which other tools read. A word of
    --words that the text never has gets what smoothing leaves to one that was never seen.

    Example: asr lm train novels.txt.xz --order 3 --prune '0 0 1' -o lm
    """
    from asr.decoding.arpa_writer import write_arpa
    from asr.errors import UsageError
    from asr.lm import LmOptions, train_language_model
    from asr.lm_text import TextSource, number_words, read_sentences
    from asr.whole_file import written_whole

    try:
        counts = tuple(int(count) for count in prune.replace(",", " ").split())
    except ValueError:
        raise UsageError(f"--prune takes counts such as '0 0 1', not {prune!r}") from None
    options = LmOptions(order, counts, entropy_prune)
    lists = read_sentences(TextSource(tuple(words or ()), normalizer))
    listed = {word: None for line in lists for word in line}
    source = TextSource(tuple(text), normalizer, skip_fields)
    corpus = number_words(_making(out, read_sentences(source, _progress())), vocab_size, listed)
    _note(f"{corpus.num_sentences} sentences, {len(corpus.words) - 3} different words; estimating")
    model = train_language_model(corpus, options)
    files = [(out / "lm.ngram", model.save)]
    if arpa:
        files.append((out / "lm.arpa", lambda path: write_arpa(model, path)))
    for path, write in files:
        _note(f"writing {path}")
        with written_whole(path) as partial:
            write(partial)
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(_counts(model.counts))


def train_rnn(
    text: Annotated[list[Path], typer.Argument(help=TEXT_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")] = Path("rnnlm"),
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Go on from a neural model, or a bundle's (`default`): its pieces, sizes and weights. "
            "Take a lower --lr, such as 1e-3."
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(help="BPE pieces that it writes, the end of a sentence among them.  [2001]"),
    ] = None,
    embedding_size: Annotated[
        int | None, typer.Option(help="Size of a piece's embedding.  [256]")
    ] = None,
    hidden_size: Annotated[int | None, typer.Option(help="LSTM cells a layer.  [640]")] = None,
    layers: Annotated[int | None, typer.Option(help="LSTM layers.  [1]")] = None,
    epochs: Annotated[int, typer.Option(help="Times that the text is read.")] = 2,
    batch_pieces: Annotated[int, typer.Option(help="Pieces in a batch.")] = 4096,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 4e-3,
    seed: Annotated[int, typer.Option(help="Of weights and the order of batches.")] = 1,
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16: faster where the CPU has it (`asr doctor`).")
    ] = "float32",
    weights: Annotated[
        str, typer.Option(help="Stored as float32, float16, int8 or int7.")
    ] = "int8",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    normalizer: Annotated[
        str | None, typer.Option(help="Text normaliser; else that of --init-from, or asr-en-1.")
    ] = None,
    skip_fields: SkipFields = 0,
) -> None:
    """Train a neural language model, an LSTM, for a second pass of decoding.

    Writes OUT/rnnlm.safetensors, which `asr tune`, `asr transcribe` and `asr evaluate` take as --rnnlm
    beside n-grams of the same text. After an interruption the same command goes on from the last
    checkpoint, of which there is one every five minutes. Needs the extra `bpe`. On 2 cores with
    AVX512-BF16 two epochs of 17.5 million words took 79 minutes.

    Example: asr lm train-rnn novels.txt.xz -o rnnlm

    To texts of your own: asr lm train-rnn letters.txt --init-from default --lr 1e-3 -o letters
    """
    import torch

    from asr.lm_text import TextSource, read_sentences
    from asr.rnnlm_training import MODEL_FILE, RnnLmOptions, train_rescorer
    from asr.text import DEFAULT_NORMALIZER

    sizes = {
        "vocab_size": vocab_size,
        "embedding_size": embedding_size,
        "hidden_size": hidden_size,
        "num_layers": layers,
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    start = None if init_from is None else _start(init_from, given, normalizer)
    normalizer = start.normalizer if start else normalizer or DEFAULT_NORMALIZER
    options = RnnLmOptions(
        **given,
        epochs=epochs,
        batch_pieces=batch_pieces,
        lr=lr,
        seed=seed,
        precision=precision,
        weights=weights,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    source = TextSource(tuple(text), normalizer, skip_fields)
    read = _making(out, read_sentences(source, _progress()))
    sentences = [" ".join(words) for words in read]
    to_learn = f"learning {options.vocab_size} pieces" if start is None else "going on"
    _note(f"{len(sentences)} sentences; {to_learn}")
    train_rescorer(sentences, normalizer, options, out, _say, start=start)
    path = out / MODEL_FILE
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _start(model: str, sizes: Mapping[str, int], normalizer: str | None) -> "Rescorer":
    """The neural model to go on from: a file, a folder with one, or that of a bundle."""
    from asr.bundle import bundle_folder, is_bundle, load_bundle
    from asr.errors import UsageError
    from asr.rnnlm import load_rescorer

    folder = bundle_folder(model)
    path = load_bundle(model).rnnlm if is_bundle(folder) else folder
    if path is None:
        raise UsageError(f"{model} has no neural language model to go on from")
    start = load_rescorer(path)
    if sizes:
        option = next(iter(sizes)).removeprefix("num_").replace("_", "-")
        raise UsageError(f"--{option} is that of the model of --init-from: leave it out")
    if normalizer not in (None, start.normalizer):
        raise UsageError(
            f"the model of --init-from has learnt texts of the normaliser {start.normalizer}: "
            "leave --normalizer out"
        )
    return start


def info(
    model: Annotated[
        Path,
        typer.Argument(help="A compiled model, an ARPA file, their folder, or a neural model."),
    ],
    text: Annotated[list[Path] | None, typer.Argument(help=TEXT_HELP)] = None,
    normalizer: Annotated[
        str | None, typer.Option(help="Text normaliser; else a neural model's own, or asr-en-1.")
    ] = None,
    skip_fields: SkipFields = 0,
) -> None:
    """Say what a model holds; with TEXT also its perplexity and out-of-vocabulary rate there."""
    from asr.decoding.arpa import load_ngram
    from asr.lm import measure_perplexity
    from asr.lm_text import TextSource, read_sentences
    from asr.text import DEFAULT_NORMALIZER

    if model.suffix == ".safetensors":
        _rnn_info(model, tuple(text or ()), normalizer, skip_fields)
        return
    ngram = load_ngram(model)
    typer.echo(f"order        {ngram.order}")
    typer.echo(f"n-grams      {_counts(ngram.counts)}")
    typer.echo(f"memory       {sum(array.nbytes for array in ngram.arrays) / 1e6:.1f} MB")
    if not text:
        return
    source = TextSource(tuple(text), normalizer or DEFAULT_NORMALIZER, skip_fields)
    found = measure_perplexity(ngram, read_sentences(source, _progress()))
    typer.echo(f"text         {found.num_sentences} sentences, {found.num_words} words")
    typer.echo(
        f"perplexity   {found.perplexity:.2f} ({found.known_perplexity:.2f} without unknown)"
    )
    typer.echo(f"unknown      {found.num_unknown} words, {100 * found.unknown_rate:.2f} %")


def _rnn_info(
    model: Path, text: tuple[Path, ...], normalizer: str | None, skip_fields: int
) -> None:
    from collections import Counter

    from asr.codecs import printable
    from asr.errors import UsageError
    from asr.lm_text import TextSource, read_sentences
    from asr.rnnlm import load_rescorer

    rescorer = load_rescorer(model)
    config = rescorer.network.config
    typer.echo(f"network      {config.num_layers} x {config.hidden_size} LSTM")
    typer.echo(f"parameters   {rescorer.num_parameters / 1e6:.2f} M")
    typer.echo(f"vocabulary   {config.vocab_size} pieces, text normaliser {rescorer.normalizer}")
    if not text:
        return
    source = TextSource(text, normalizer or rescorer.normalizer, skip_fields)
    sentences = list(read_sentences(source, _progress()))
    if not sentences:
        raise UsageError("the text has no words in it: no perplexity")
    unknown = Counter[str]()
    for words in sentences:
        unknown.update(rescorer.unknown_characters(" ".join(words)))
    typer.echo(f"text         {len(sentences)} sentences, {sum(map(len, sentences))} words")
    typer.echo(f"perplexity   {rescorer.perplexity(sentences):.2f}")
    most = unknown.most_common(_MAX_UNKNOWN_SHOWN)
    shown = ", ".join(f"{printable(char)} {number}" for char, number in most)
    of_them = f", left out of the score: {shown}" if shown else ""
    typer.echo(f"unknown      {unknown.total()} characters{of_them}")


def _making(out: Path, sentences: Iterable[list[str]]) -> Iterator[list[str]]:
    """The sentences; once the first could be read, the folder for what will come of them is made."""
    from asr.whole_file import make_writable

    for number, words in enumerate(sentences):
        if number == 0:
            make_writable(out)
        yield words


def _counts(counts: tuple[int, ...]) -> str:
    return ", ".join(f"{count} {order}-grams" for order, count in enumerate(counts, start=1))


def _note(message: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\033[K{message}", err=True)


def _say(progress: "TrainingProgress") -> None:
    if not sys.stderr.isatty():
        return
    done = progress.step / progress.num_steps
    typer.echo(
        f"\r\033[K{progress.step} of {progress.num_steps} steps ({100 * done:.0f} %), loss a piece "
        f"{progress.loss:.3f}, {progress.left_s / 60:.0f} min left",
        err=True,
        nl=progress.step == progress.num_steps,
    )


def _progress() -> "Progress | None":
    if not sys.stderr.isatty():
        return None
    return lambda lines: typer.echo(f"\r\033[K{lines} lines", err=True, nl=False)
