"""`asr lm train` against KenLM's lmplz: CPU time, memory, and perplexity on held-out lines.

    python -P scripts/bench/lm.py TEXT [--lmplz PATH] [--order 3] [--prune "0"]

Both read the same normalised text; every 100th sentence is held out.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asr.decoding.arpa import load_ngram
from asr.lm import measure_perplexity
from asr.lm_text import TextSource, read_sentences

HELD_OUT_EVERY = 100


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak resident GB of a command."""
    before, start = cpu_seconds(), time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    wall = time.perf_counter() - start
    return cpu_seconds() - before, wall, usage.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--lmplz", type=Path)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--prune", default="0")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held_out = []
        with (folder / "train.txt").open("w") as train:
            for number, words in enumerate(read_sentences(TextSource((arguments.text,)))):
                if number % HELD_OUT_EVERY:
                    train.write(" ".join(words) + "\n")
                else:
                    held_out.append(words)
        order = str(arguments.order)
        ours = "import typer; from asr.cli.lm import register; a = typer.Typer(); register(a); a()"
        commands = {
            "asr lm train": [
                *(sys.executable, "-c", ours, "lm", "train", str(folder / "train.txt")),
                *("--order", order, "--prune", arguments.prune, "-o", str(folder / "lm")),
            ]
        }
        if arguments.lmplz:
            commands["lmplz"] = [
                *(str(arguments.lmplz), "-o", order, "-S", "2G", "-T", str(folder)),
                *("--text", str(folder / "train.txt"), "--arpa", str(folder / "lmplz.arpa")),
                *("--prune", *arguments.prune.split()),
            ]
        print("| tool | CPU s | wall s | peak GB | n-grams | held-out perplexity |")
        print("|---|---|---|---|---|---|")
        for tool, command in commands.items():
            cpu, wall, memory = measured(command)
            path = folder / ("lmplz.arpa" if tool == "lmplz" else "lm")
            model = load_ngram(path / "lm.ngram" if path.is_dir() else path)
            found = measure_perplexity(model, held_out)
            print(
                f"| {tool} | {cpu:.0f} | {wall:.0f} | {memory:.2f} | {sum(model.counts)} "
                f"| {found.perplexity:.3f} |"
            )


if __name__ == "__main__":
    main()
