"""A corpus of LibriSpeech's size prepared, audited and cut into batches: time and peak memory.

Makes a tree in LibriSpeech's layout: its three training subsets with their real numbers of
utterances (281,241), real FLAC files of 2 to 16 s (64 of them, and hard links to these), transcripts
of 2.7 words a second. Each stage runs in a process of its own; the tree is removed at the end.
Also reads a manifest of a million lines.

    python scripts/bench/audit.py                # the whole: about ten minutes on 2 cores
    python scripts/bench/audit.py --scale 0.1    # a tenth of it
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

SUBSETS = {"train-clean-100": 28_539, "train-clean-360": 104_014, "train-other-500": 148_688}
LINES = 1_000_000
RATE = 16_000
FILES = 64
PER_CHAPTER = 50
CHAPTERS_A_SPEAKER = 3


def make_tree(root: Path, scale: float) -> int:
    """ROOT/LibriSpeech/SUBSET/SPEAKER/CHAPTER; returns the number of utterances."""
    draw = random.Random(0)
    vocabulary = _vocabulary(draw)
    masters = _masters(root / "masters")
    total = 0
    for number, (subset, count) in enumerate(SUBSETS.items()):
        for done in range(0, max(1, round(count * scale)), PER_CHAPTER):
            chapter = done // PER_CHAPTER
            speaker = 10_000 * (number + 1) + chapter // CHAPTERS_A_SPEAKER
            folder = root / "LibriSpeech" / subset / str(speaker) / str(chapter)
            folder.mkdir(parents=True)
            lines = []
            for index in range(min(PER_CHAPTER, round(count * scale) - done)):
                path, seconds = masters[draw.randrange(FILES)]
                name = f"{speaker}-{chapter}-{index:04d}"
                os.link(path, folder / f"{name}.flac")
                words = draw.choices(vocabulary, k=max(1, round(2.7 * seconds)))
                lines.append(f"{name} {' '.join(words)}\n")
            (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
            total += len(lines)
    return total


def _vocabulary(draw: random.Random) -> list[str]:
    letters = "ETAOINSHRDLU"
    return ["".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(50_000)]


def _masters(folder: Path) -> list[tuple[Path, float]]:
    """Quiet noise: small files, with the headers and the blocks of any FLAC."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    masters = []
    for number in range(FILES):
        seconds = 2 + 14 * number / FILES
        path = folder / f"{number}.flac"
        soundfile.write(path, 1e-3 * noise.standard_normal(int(RATE * seconds)), RATE)
        masters.append((path, seconds))
    return masters


def prepare(root: Path) -> str:
    """Probe every file and write the manifests."""
    from asr.corpora.librispeech import prepare_librispeech

    prepared = prepare_librispeech(root, list(SUBSETS), root / "manifests")
    return f"{sum(one.num_utterances for one in prepared):,} utterances"


def _audit(root: Path, headers: bool) -> str:
    from asr.audit import AuditOptions, audit
    from asr.audit_summary import audit_to_text

    manifests = [root / "manifests" / f"{name}.jsonl" for name in SUBSETS]
    result = audit(manifests, AuditOptions(headers=headers))
    audit_to_text(result)
    return f"{len(result.findings):,} findings"


def audit_texts(root: Path) -> str:
    """Audit the three manifests together, as at the end of `asr prepare`."""
    return _audit(root, headers=False)


def audit_files(root: Path) -> str:
    """The same, opening every file: `asr info`."""
    return _audit(root, headers=True)


def batches(root: Path) -> str:
    """An epoch of batches of up to 600 s."""
    from asr.manifest import read_manifest
    from asr.training.dataset import BucketSampler

    durations = [
        utterance.duration_s
        for name in SUBSETS
        for utterance in read_manifest(root / "manifests" / f"{name}.jsonl")
    ]
    started = time.perf_counter()
    made = BucketSampler(durations, 600, seed=1).batches(0)
    return f"{len(made):,} batches, of it sampling {time.perf_counter() - started:.1f} s"


def million(root: Path) -> str:
    """Open a manifest of a million lines."""
    from asr.manifest import read_manifest

    return f"{len(read_manifest(root / 'million.jsonl')):,} utterances"


def write_million(root: Path, lines: int) -> None:
    """A manifest of LibriSpeech's kind of lines."""
    draw = random.Random(1)
    vocabulary = _vocabulary(draw)
    texts = [" ".join(draw.choices(vocabulary, k=33)) for _ in range(10_000)]
    with (root / "million.jsonl").open("w") as out:
        for number in range(lines):
            name = f"{number // 3000}-{number // 50}-{number % 50:04d}"
            entry = {
                "utterance_id": name,
                "audio_filepath": f"LibriSpeech/train/{name.replace('-', '/', 1)}.flac",
                "duration": round(draw.uniform(2, 16), 3),
                "text": draw.choice(texts),
                "speaker": str(number // 3000),
                "gender": "F",
            }
            out.write(json.dumps(entry) + "\n")


STAGES: dict[str, Callable[[Path], str]] = {
    "prepare": prepare,
    "audit, texts": audit_texts,
    "audit, texts and headers": audit_files,
    "batches": batches,
    "million lines": million,
}


def run_stage(name: str, root: Path) -> None:
    """In a process of its own: prints seconds, CPU seconds, megabytes and what came of it as JSON."""
    import asr.audit
    import asr.training.dataset  # noqa: F401 - what is imported is no part of a stage

    imported = _peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    said = STAGES[name](root)
    spent = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps([*spent, imported, _peak_mb(), said]))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Make the tree, run the stages, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the utterances")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, options.root)
        return
    with tempfile.TemporaryDirectory(prefix="asr-bench-audit-") as folder:
        root = Path(folder)
        started = time.perf_counter()
        total = make_tree(root, options.scale)
        write_million(root, round(LINES * options.scale))
        cores = len(os.sched_getaffinity(0))
        made = time.perf_counter() - started
        print(f"{total:,} utterances, made in {made:.0f} s; {cores} cores, files in the cache\n")
        print("| stage | s | CPU s | peak MB | of it imports | |\n|---|---|---|---|---|---|")
        for name in STAGES:
            command = [sys.executable, __file__, "--stage", name, "--root", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            wall, cpu, imported, peak, said = json.loads(done.stdout)
            print(
                f"| {name} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {imported:.0f} | {said} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
