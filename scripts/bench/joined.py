"""What joining costs: WER of recordings made of utterances, beside that of the utterances alone.

    asr prepare librispeech -s dev-clean --data-dir ../shared/data -o data/librispeech
    python scripts/bench/joined.py data/librispeech/dev-clean.jsonl --model runs/librispeech/mini/bundle

Each row joins the next ten minutes of the manifest into one recording, without a pause added, and
transcribes it as `asr transcribe` does: windows cut at pauses, joined again.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from numpy.typing import NDArray

from asr.decoder_noise import without_decoder_noise
from asr.listen import transcribe_recording
from asr.manifest import Utterance, read_manifest
from asr.segment import split_windows
from asr.text import get_normalizer
from asr.transcribe import Recognizer, load_model
from asr.utterances import load_utterance


@dataclass(frozen=True)
class Row:
    """Errors in one joined recording and in the utterances that it is made of."""

    utterances: int
    windows: int
    at_joins: int
    words: int
    errors_joined: int
    errors_parts: int

    def __str__(self) -> str:
        joined, parts = (
            100 * errors / self.words for errors in (self.errors_joined, self.errors_parts)
        )
        return (
            f"{self.utterances} | {self.windows} | {self.at_joins} | {parts:.2f} | {joined:.2f} | "
            f"{joined - parts:+.2f}"
        )


def main() -> None:
    """Measure, and print a table in Markdown."""
    options = parse_arguments()
    recognizer = load_model(
        options.model, device="cpu", threads=options.threads, precision=options.precision
    )
    print("| recording | utterances | windows | cuts at joins | WER % of parts | joined | more |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    with without_decoder_noise():
        for utterances in stretches(read_manifest(options.manifest), options.minutes * 60):
            rows.append(measure(recognizer, utterances))
            print(f"| {len(rows)} | {rows[-1]} |", flush=True)
    columns = zip(*(vars(row).values() for row in rows), strict=True)
    print(f"| all | {Row(*map(sum, columns))} |")


def stretches(utterances: Iterable[Utterance], seconds: float) -> Iterator[list[Utterance]]:
    """Neighbouring utterances, `seconds` in all or a little more; the last may be shorter."""
    stretch: list[Utterance] = []
    for utterance in utterances:
        stretch.append(utterance)
        if sum(one.duration_s for one in stretch) >= seconds:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def measure(recognizer: Recognizer, utterances: Sequence[Utterance]) -> Row:
    """Transcribe the utterances alone and joined."""
    rate = recognizer.sample_rate
    waveforms = [load_utterance(utterance, rate) for utterance in utterances]
    joined = np.concatenate(waveforms)
    normalize = get_normalizer(recognizer.bundle.normalizer)
    reference = " ".join(normalize(utterance.text) for utterance in utterances)
    cuts = [window.start for window in split_windows([joined], rate)][1:]
    return Row(
        len(utterances),
        len(cuts) + 1,
        num_at_joins(cuts, waveforms, rate),
        len(reference.split()),
        num_errors(reference, transcribe_recording(recognizer, [joined]).text),
        num_errors(reference, " ".join(recognizer.transcribe(one).text for one in waveforms)),
    )


def num_at_joins(
    cuts: Sequence[int], waveforms: Sequence[NDArray[np.float32]], sample_rate: int
) -> int:
    """How many cuts lie within half a second of a join."""
    joins = np.cumsum([len(waveform) for waveform in waveforms])
    return sum(int(np.abs(joins - cut).min()) < sample_rate / 2 for cut in cuts)


def num_errors(reference: str, hypothesis: str) -> int:
    """Wrong, missing and added words."""
    counts = jiwer.process_words(reference, hypothesis)
    return counts.substitutions + counts.deletions + counts.insertions


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", required=True, help="a bundle's folder")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
