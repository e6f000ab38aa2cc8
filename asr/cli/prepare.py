"""`asr prepare`: audio and transcripts -> manifests."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import layouts

if TYPE_CHECKING:
    from asr.corpora.librispeech import PreparedSubset

_MAX_PROBLEMS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Turn a corpus into manifests.", no_args_is_help=True)
    group.command("librispeech")(librispeech)
    group.command("synthetic")(synthetic)
    layouts.register(group)
    app.add_typer(group, name="prepare")


def librispeech(
    subset: Annotated[
        list[str], typer.Option("--subset", "-s", help="train-clean-5, dev-clean, ...")
    ],
    data_dir: Annotated[
        Path, typer.Option(envvar="ASR_DATA", help="Folder that holds LibriSpeech/ or the subsets.")
    ] = Path("data"),
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the manifests.")] = Path(
        "data/librispeech"
    ),
) -> int:
    """LibriSpeech as it unpacks (.flac, also .opus .mp3 .wav): one manifest a subset.

    Example: asr prepare librispeech -s train-clean-5 -s dev-clean --data-dir corpora -o manifests
    """
    from asr.audit_summary import brief_audit
    from asr.corpora.librispeech import prepare_librispeech

    prepared = prepare_librispeech(data_dir, subset, out)
    for one in prepared:
        typer.echo(
            f"{one.manifest}: {one.num_utterances} utterances, {one.duration_s / 3600:.2f} h, "
            f"{one.num_speakers} speakers"
        )
    typer.echo(brief_audit([one.manifest for one in prepared]))
    for one in prepared:
        _show_problems(one)
    return 1 if any(one.problems for one in prepared) else 0


def _show_problems(subset: "PreparedSubset") -> None:
    if not subset.problems:
        return
    print(f"{subset.name}: {len(subset.problems)} left out:", file=sys.stderr)
    for problem in subset.problems[:_MAX_PROBLEMS_SHOWN]:
        print(f"  {problem}", file=sys.stderr)
    if len(subset.problems) > _MAX_PROBLEMS_SHOWN:
        print(f"  and {len(subset.problems) - _MAX_PROBLEMS_SHOWN} more", file=sys.stderr)


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rspoken {done}/{total}", end="" if done < total else "\n", file=sys.stderr)


def synthetic(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for audio and manifests.")
    ] = Path("data/synthetic"),
    train: Annotated[int, typer.Option(help="Utterances to train on.")] = 2000,
    dev: Annotated[int, typer.Option(help="Utterances to choose the best checkpoint by.")] = 120,
    test: Annotated[int, typer.Option(help="Utterances to measure WER on.")] = 300,
    seed: Annotated[int, typer.Option(help="Same seed, same files, byte for byte.")] = 0,
) -> None:
    """Speak a small English corpus with espeak-ng: needs no download, extra `demo`.

    Voices and sentences of dev and test do not occur in train.
    """
    from asr.audit_summary import brief_audit
    from asr.corpora.synthetic import prepare_synthetic

    corpus = prepare_synthetic(
        out, train=train, dev=dev, test=test, seed=seed, progress=_show_progress
    )
    splits = (corpus.train, corpus.dev, corpus.test)
    for split in splits:
        typer.echo(
            f"{split.manifest}: {split.num_utterances} utterances, {split.duration_s / 3600:.2f} h, "
            f"{split.num_speakers} voices"
        )
    typer.echo(brief_audit([split.manifest for split in splits]))
