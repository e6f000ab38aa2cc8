"""Scoring 20,000 utterances with a 95 % interval: this project against jiwer plus kaldialign.

Both align 20,000 utterances (about 270,000 words, one word in seven wrong) and draw 10,000 bootstrap
samples over utterances; runs alternate, the best of each counts. CPU seconds, because a shared
machine's clock says little.

    pip install kaldialign
    python scripts/bench/scoring.py            # about a minute
"""

import argparse
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import jiwer
import kaldialign

from asr.scoring import score
from asr.significance import wer_interval


@dataclass(frozen=True)
class Texts:
    """References and hypotheses by utterance id."""

    references: dict[str, str]
    hypotheses: dict[str, str]


def make_texts(num_utterances: int, seed: int = 0) -> Texts:
    """Sentences of 3 to 24 Zipf-like words; 9 % substituted, 3 % deleted, 3 % inserted after."""
    draw = random.Random(seed)
    vocabulary = [f"word{number}" for number in range(10_000)]
    weights = [1 / (rank + 3) for rank in range(10_000)]
    references, hypotheses = {}, {}
    for number in range(num_utterances):
        words = draw.choices(vocabulary, weights, k=draw.randint(3, 24))
        out: list[str] = []
        for word in words:
            chance = draw.random()
            out += [draw.choice(vocabulary)] if chance < 0.09 else [] if chance < 0.12 else [word]
            out += [draw.choice(vocabulary)] if chance > 0.97 else []
        references[f"utt-{number}"] = " ".join(words)
        hypotheses[f"utt-{number}"] = " ".join(out)
    return Texts(references, hypotheses)


def ours(texts: Texts, samples: int, characters: bool) -> float:
    result = score(texts.references, texts.hypotheses, characters=characters)
    wer_interval(result, samples=samples)
    return result.wer


def peers(texts: Texts, samples: int, characters: bool) -> float:
    references, hypotheses = list(texts.references.values()), list(texts.hypotheses.values())
    output = jiwer.process_words(references, hypotheses)
    if characters:
        jiwer.process_characters(references, hypotheses)
    kaldialign.bootstrap_wer_ci(
        [line.split() for line in references],
        [line.split() for line in hypotheses],
        replications=samples,
    )
    return float(output.wer)


def best_of(runs: int, contenders: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Least CPU seconds of each, alternating; both must come to the same rate."""
    best = dict.fromkeys(contenders, float("inf"))
    rates = set()
    for _ in range(runs):
        for name, run in contenders.items():
            start = time.process_time()
            rates.add(round(run(), 12))
            best[name] = min(best[name], time.process_time() - start)
    assert len(rates) == 1, rates
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    texts = make_texts(arguments.utterances)
    words = sum(len(line.split()) for line in texts.references.values())
    print(
        f"{arguments.utterances:,} utterances, {words:,} words, {arguments.samples:,} samples, best of "
        f"{arguments.runs}; jiwer {version('jiwer')}, kaldialign {version('kaldialign')}, "
        f"Python {platform.python_version()}\n"
    )
    print("| what | jiwer + kaldialign, CPU s | asr, CPU s | ratio |\n|---|---|---|---|")
    for characters, name in ((False, "WER and interval"), (True, "WER, CER and interval")):
        times = best_of(
            arguments.runs,
            {
                "peers": lambda c=characters: peers(texts, arguments.samples, c),  # type: ignore[misc]
                "ours": lambda c=characters: ours(texts, arguments.samples, c),  # type: ignore[misc]
            },
        )
        ratio = times["peers"] / times["ours"]
        print(f"| {name} | {times['peers']:.2f} | {times['ours']:.2f} | {ratio:.2f}x |")


if __name__ == "__main__":
    main()
