"""`asr prepare own` and the layouts it knows, each by itself."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from asr.corpora.listing import Listing
    from asr.corpora.prepared import Prepared
    from asr.corpora.splits import Shares

_MAX_PROBLEMS_SHOWN = 10
_MAX_RARE_SHOWN = 20

_FOLDER_LAYOUTS = {
    "ljspeech": "LJSpeech: metadata.csv (id|text|text) beside wavs/.\n\n"
    "Example: asr prepare ljspeech LJSpeech-1.1 --split -o data/ljspeech",
    "folder": "A folder of audio with a .txt or .lab of the same name beside each file.\n\n"
    "Example: asr prepare folder recordings --split -o data/folder",
    "subtitles": "Long recordings with .srt or .vtt subtitles beside them, cut into utterances.\n\n"
    "Example: asr prepare subtitles talks --split -o data/subtitles",
}

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds the corpus.")]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Folder for the manifests; data/LAYOUT when left out."),
]
Split = Annotated[
    bool, typer.Option("--split", help="Split into train, dev and test, as `own` does.")
]
Dev = Annotated[float, typer.Option(help="Share of the speakers to put into dev; 0: no dev.")]
Test = Annotated[float, typer.Option(help="Share of the speakers to put into test; 0: no test.")]
Seed = Annotated[int, typer.Option(help="Another seed, other speakers in dev and test.")]
ByUtterance = Annotated[
    bool, typer.Option("--by-utterance", help="Split utterances, be it that speakers are known.")
]
SpeakerPattern = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help="Finds the speaker in an utterance id: '^([^_]+)_'."),
]
AudioDir = Annotated[Path | None, typer.Option(help="What relative paths are relative to.")]
Encoding = Annotated[str, typer.Option(help="Of the texts; a byte order mark wins.")]


def register(group: typer.Typer) -> None:
    """Add the layouts to `asr prepare`."""
    group.command("own")(own)
    group.command("commonvoice")(commonvoice)
    group.command("kaldi")(kaldi)
    group.command("table")(table)
    for name, text in _FOLDER_LAYOUTS.items():
        group.command(name, help=text)(_folder_command(name))


def own(
    folder: Folder,
    out: Out = None,
    dev: Dev = 0.1,
    test: Test = 0.1,
    seed: Seed = 0,
    by_utterance: ByUtterance = False,
    speaker_pattern: SpeakerPattern = None,
    encoding: Encoding = "utf-8",
) -> int:
    """Your own recordings: guesses the layout, says what it guessed, splits by speaker.

    A speaker stays in the set that the seed gave, also when there are more files tomorrow.
    Example: asr prepare own recordings -o data/own
    """
    from asr.corpora.own import guess
    from asr.errors import UsageError

    if out is not None and out.resolve() == folder.resolve():
        raise UsageError(
            f"-o {out} is the folder of the recordings: the manifests would be taken for part of the "
            "corpus the next time; choose another, such as data/own"
        )
    shares = _shares(True, dev, test, seed, by_utterance)
    guessed = guess(folder, encoding=encoding)
    typer.echo(f"taken for: {guessed.layout}, because {guessed.why}")
    return _prepare(guessed.listing, out, "own", shares, speaker_pattern)


def commonvoice(
    folder: Folder,
    subset: Annotated[
        list[str] | None, typer.Option("--subset", "-s", help="train, dev, test, validated, ...")
    ] = None,
    out: Out = None,
    split: Split = False,
    dev: Dev = 0.1,
    test: Test = 0.1,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
) -> int:
    """Common Voice: train.tsv, dev.tsv, test.tsv, validated.tsv beside clips/.

    Example: asr prepare commonvoice cv-corpus/en -s train -s dev -s test -o data/commonvoice
    """
    from asr.corpora.commonvoice import list_commonvoice

    listing = list_commonvoice(folder, subset or (), encoding=encoding)
    return _prepare(listing, out, "commonvoice", _shares(split, dev, test, seed))


def kaldi(
    folder: Folder,
    out: Out = None,
    audio_dir: AudioDir = None,
    split: Split = False,
    dev: Dev = 0.1,
    test: Test = 0.1,
    seed: Seed = 0,
    by_utterance: ByUtterance = False,
    encoding: Encoding = "utf-8",
) -> int:
    """A Kaldi data folder (wav.scp, text, utt2spk, segments), or one that holds several.

    Commands in wav.scp are refused, never run. Example: asr prepare kaldi data -o manifests
    """
    from asr.corpora.kaldi import list_kaldi

    listing = list_kaldi(folder, audio_dir=audio_dir, encoding=encoding)
    return _prepare(listing, out, "kaldi", _shares(split, dev, test, seed, by_utterance))


def table(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .tsv or .jsonl file.")],
    audio_column: Annotated[str | None, typer.Option(help="Column of the audio's path.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column of the speaker.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the utterance's id.")] = None,
    offset_column: Annotated[str | None, typer.Option(help="Column of the start, seconds.")] = None,
    end_column: Annotated[str | None, typer.Option(help="Column of the end, seconds.")] = None,
    duration_column: Annotated[
        str | None, typer.Option(help="Column of the length, seconds.")
    ] = None,
    subset_column: Annotated[str | None, typer.Option(help="Column of train/dev/test.")] = None,
    out: Out = None,
    audio_dir: AudioDir = None,
    split: Split = False,
    dev: Dev = 0.1,
    test: Test = 0.1,
    seed: Seed = 0,
    by_utterance: ByUtterance = False,
    speaker_pattern: SpeakerPattern = None,
    encoding: Encoding = "utf-8",
) -> int:
    """CSV, TSV or JSON lines with a column of audio paths and one of texts.

    The usual names of columns are found by themselves (path, audio, file, text, sentence, ...).
    Example: asr prepare table calls.csv --audio-column recording --text-column said --split
    """
    from asr.corpora.tabular import TableColumns, list_table

    columns = TableColumns(
        audio=audio_column,
        text=text_column,
        speaker=speaker_column,
        id=id_column,
        offset=offset_column,
        end=end_column,
        duration=duration_column,
        subset=subset_column,
    )
    listing = list_table(path, columns, audio_dir=audio_dir, encoding=encoding)
    shares = _shares(split, dev, test, seed, by_utterance)
    return _prepare(listing, out, "table", shares, speaker_pattern)


def _folder_command(name: str) -> Callable[..., int]:
    """The command of a layout that is known by its folder alone."""

    def command(
        folder: Folder,
        out: Out = None,
        split: Split = False,
        dev: Dev = 0.1,
        test: Test = 0.1,
        seed: Seed = 0,
        by_utterance: ByUtterance = False,
        speaker_pattern: SpeakerPattern = None,
        encoding: Encoding = "utf-8",
    ) -> int:
        from asr.corpora.ljspeech import list_ljspeech
        from asr.corpora.sidecar import list_folder
        from asr.corpora.subtitles import list_subtitles

        listers = {"ljspeech": list_ljspeech, "folder": list_folder, "subtitles": list_subtitles}
        listing = listers[name](folder, encoding=encoding)
        shares = _shares(split, dev, test, seed, by_utterance)
        return _prepare(listing, out, name, shares, speaker_pattern)

    return command


def _shares(
    split: bool, dev: float, test: float, seed: int, by_utterance: bool = False
) -> "Shares | None":
    from asr.corpora.splits import Shares

    return Shares(dev, test, seed, by_utterance) if split else None


def _prepare(
    listing: "Listing",
    out: Path | None,
    name: str,
    shares: "Shares | None",
    speaker_pattern: str | None = None,
) -> int:
    """Write the manifests, say what came of it; 1 where something was left out."""
    from asr.corpora.listing import with_speakers
    from asr.corpora.prepared import prepare_listing

    if speaker_pattern is not None:
        listing = with_speakers(listing, speaker_pattern)
    out = Path("data") / name if out is None else out
    prepared = prepare_listing(listing, out, name=name, shares=shares, progress=_show_progress)
    _show(prepared)
    return 1 if prepared.problems else 0


class PreparedManifest(Protocol):
    """What is told of a manifest, whoever has prepared it."""

    @property
    def manifest(self) -> Path: ...
    @property
    def num_utterances(self) -> int: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def num_speakers(self) -> int: ...


def manifest_line(one: PreparedManifest, speakers: str = "speakers") -> str:
    """A manifest with its size, for the screen."""
    return (
        f"{one.manifest}: {one.num_utterances} utterances, {one.duration_s / 3600:.2f} h, "
        f"{one.num_speakers} {speakers}"
    )


def _show(prepared: "Prepared") -> None:
    from asr.audit_summary import brief_audit
    from asr.codecs import printable

    typer.echo(printable(prepared.layout))
    for note in prepared.notes:
        typer.echo(printable(f"note: {note}"))
    for one in prepared.sets:
        typer.echo(manifest_line(one))
    typer.echo(_about_characters(prepared))
    if prepared.sets:
        typer.echo(brief_audit([one.manifest for one in prepared.sets]))
    if not prepared.problems:
        return
    print(f"{len(prepared.problems)} left out, all in {prepared.problems_path}:", file=sys.stderr)
    for reason, number in prepared.reasons:
        print(f"{number:8} {reason}", file=sys.stderr)
    for problem in prepared.problems[:_MAX_PROBLEMS_SHOWN]:
        print(f"  {problem}", file=sys.stderr)
    if len(prepared.problems) > _MAX_PROBLEMS_SHOWN:
        print(f"  and {len(prepared.problems) - _MAX_PROBLEMS_SHOWN} more", file=sys.stderr)


def _about_characters(prepared: "Prepared") -> str:
    """Which letters beside a-z there are: what to know when choosing the normaliser."""
    others = {
        char: number
        for char, number in prepared.characters.items()
        if char.isalpha() and not char.isascii()
    }
    if not others:
        return "letters: a-z alone; for English set data.normalizer=asr-en-2 in the recipe"
    most = sorted(others.items(), key=lambda pair: -pair[1])[:_MAX_RARE_SHOWN]
    shown = " ".join(f"{char}:{number}" for char, number in most)
    return (
        f"letters besides a-z: {len(others)} ({shown}); in the recipe, data.normalizer=asr-any-1 "
        "keeps them, asr-en-2 (English) writes é as e"
    )


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rread {done}/{total}", end="" if done < total else "\n", file=sys.stderr)
