"""How long it takes until a model can be used: the shipped one, with its language models and greedily.

    python scripts/bench/load.py [--model MODEL]

In a process that has imported all that is needed, seconds of each part and of `asr.load_model()`; and of
a new process, imports and all.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import asr
from asr.binding import bind_rescorer, lexicon_of
from asr.bundle import DEFAULT_MODEL, load_bundle
from asr.decoding.arpa import load_ngram
from asr.decoding.language import phone_language_model

REPEATS = 5


def seconds(function: Callable[[], object]) -> float:
    """The least of several runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def parts(model: str) -> dict[str, Callable[[], object]]:
    """What loading does, by name."""
    bundle = load_bundle(model)
    found: dict[str, Callable[[], object]] = {
        "all, with language models": lambda: asr.load_model(model),
        "all, greedily": lambda: asr.load_model(model, decoder="greedy"),
        "networks": lambda: load_bundle(model),
    }
    lexicon, ngrams, neural = lexicon_of(bundle), bundle.language_model, bundle.rnnlm
    if lexicon is None or ngrams is None:
        return found
    ngram, rows, num_phones = load_ngram(ngrams), lexicon.rows, len(lexicon.phones)
    language_model = phone_language_model(ngram, *rows, num_phones)
    found |= {
        "lexicon": lambda: lexicon_of(bundle),
        "n-grams, read while the lexicon is": lambda: load_ngram(ngrams),
        "both bound": lambda: phone_language_model(replace(ngram), *rows, num_phones),
    }
    if neural is not None:
        found["neural language model"] = lambda: bind_rescorer(bundle, neural, language_model)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    model = parser.parse_args().model
    print("| loading | seconds |\n|---|---|")
    for name, function in parts(model).items():
        print(f"| {name} | {seconds(function):.2f} |", flush=True)
    command = [sys.executable, "-c", f"import asr; asr.load_model({model!r})"]
    new_process = seconds(lambda: subprocess.run(command, check=True))
    print(f"| a new process, imports and all | {new_process:.2f} |")


if __name__ == "__main__":
    main()
