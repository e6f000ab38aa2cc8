#!/usr/bin/env python3
"""`asr transcribe` spread over a Ray cluster, or the cores of this machine where there is none.

    pip install 'asr[ray]'
    python scripts/ray_transcribe.py recordings --model runs/synthetic/demo/bundle -o transcripts

`Transcriber` is an ordinary class for the `map_batches` of any Ray Data pipeline: it loads the model
once per actor, and each batch of recordings goes through `asr.batch`. RAY_ADDRESS names a cluster;
its machines need asr, the model and the recordings at the same paths. Transcripts and the run log are
written here, one whole file at a time, and `asr transcribe ... -o transcripts --resume` goes on from
them.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from asr.batch import BatchOptions, Result, in_order, transcribe_items
from asr.errors import AsrError
from asr.formats import parse_formats
from asr.inputs import work_list
from asr.items import Item
from asr.outputs import OutputFolder
from asr.summary import Summary
from asr.transcribe import load_model


class Transcriber:
    """An actor: a batch's column `item` -> the column `result`, row for row."""

    def __init__(self, model: str, threads: int = 1, precision: str = "float32") -> None:
        self.recognizer = load_model(model, device="cpu", threads=threads, precision=precision)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Transcribe the batch's files; one that fails is a result that says why."""
        items: list[Item] = list(batch["item"])
        found = transcribe_items(self.recognizer, items, BatchOptions(jobs=1), lookup=_never)
        results = np.empty(len(items), dtype=object)
        results[:] = list(in_order(items, found))
        return {"number": batch["number"], "result": results}


def _never(item: Item, content: str) -> None:
    """No earlier result is known; asking makes each result carry its file's hash."""


def transcribe_on_ray(items: Sequence[Item], options: argparse.Namespace) -> Iterator[Result]:
    """Results of all items as Ray delivers them."""
    import ray

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows: list[dict[str, Any]] = [{"number": n, "item": item} for n, item in enumerate(items)]
    batches = -(-len(items) // options.batch_files)
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, batches)).map_batches(
        Transcriber,
        fn_constructor_args=(
            str(Path(options.model).resolve()),
            options.threads,
            options.precision,
        ),
        batch_size=options.batch_files,
        num_cpus=options.threads,
        compute=ray.data.ActorPoolStrategy(size=options.actors),
    )
    for row in dataset.iter_rows():
        yield replace(row["result"], item=items[row["number"]])


def main() -> int:
    """Transcribe the inputs named on the command line; exit status as `asr transcribe`."""
    options = parse_arguments()
    items = work_list([str(Path(one).resolve()) for one in options.inputs])
    settings = load_model(options.model, device="cpu", precision=options.precision).settings
    folder, summary = OutputFolder(options.out, parse_formats(options.formats), settings), Summary()
    folder.open(items)
    try:
        for result in transcribe_on_ray(items, options):
            summary.add(folder.write(result))
            if result.reason:
                print(f"{result.status}: {result.item.label}: {result.reason}", file=sys.stderr)
        folder.finish(items, summary)
    finally:
        folder.close()
    print(summary, file=sys.stderr)
    return summary.exit_status


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("inputs", nargs="+", help="files, folders, globs, manifests")
    parser.add_argument("-m", "--model", required=True, help="a bundle's folder")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the transcripts")
    parser.add_argument("-f", "--formats", nargs="+", default=["txt"], help="as asr transcribe -f")
    parser.add_argument("--actors", type=int, default=2, help="models at work at once")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each")
    parser.add_argument("--batch-files", type=int, default=100, help="files in one task")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or int8")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AsrError as error:
        sys.exit(f"ray_transcribe: {error}")
