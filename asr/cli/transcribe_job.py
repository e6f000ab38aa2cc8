"""The work of `asr transcribe`, and what it says on stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.batch import BatchOptions, Result
    from asr.items import Item
    from asr.listen import BatchRecognizer
    from asr.outputs import OutputFolder

INTERRUPTED = 130


class Job:
    """The work of one command, and what it says on stderr."""

    def __init__(
        self,
        recognizer: "BatchRecognizer",
        items: Sequence["Item"],
        options: "BatchOptions",
        quiet: bool,
    ) -> None:
        from asr.summary import Summary

        self._recognizer = recognizer
        self._items = items
        self._options = options
        self._summary = Summary()
        self._terminal = sys.stderr.isatty() and not quiet
        self._quiet = quiet

    def to_folder(self, folder: "OutputFolder") -> int:
        """Write every result into `folder` as it is finished."""
        from asr.batch import transcribe_items

        results = transcribe_items(self._recognizer, self._items, self._options, folder.lookup)
        try:
            with self._progress(self._terminal) as report:
                for result in results:
                    report(folder.write(result))
        except KeyboardInterrupt:
            results.close()
            done = sum(self._summary.files.values())
            print(
                f"asr: interrupted; {done} of {len(self._items)} inputs are done, repeat the "
                "command with --resume to go on",
                file=sys.stderr,
            )
            return INTERRUPTED
        finally:
            results.close()
        folder.finish(self._items, self._summary)
        return self._end()

    def to_stdout(self, name: str, alone: bool) -> int:
        """Print results in input order."""
        from asr.batch import in_order, transcribe_items
        from asr.outputs import OutputError

        if sys.stdout is None:
            raise OutputError("stdout is closed: name a folder with -o")
        results = transcribe_items(self._recognizer, self._items, self._options)
        try:
            with self._progress(self._terminal and not sys.stdout.isatty()) as report:
                for result in in_order(self._items, results):
                    report(result)
                    _print(_stdout_text(result, name, alone))
        except BrokenPipeError:  # the reader (head) has what it wanted
            _give_up_stdout()
            return 0
        except OSError as error:
            _give_up_stdout()
            raise OutputError(f"cannot write to stdout: {error.strerror}") from None
        finally:
            results.close()
        return self._end()

    @contextmanager
    def _progress(self, visible: bool) -> Iterator[Callable[["Result"], None]]:
        if not visible:
            yield self._count
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        with Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeLeft(),
            console=Console(stderr=True), redirect_stdout=False,
        ) as bar:  # fmt: skip
            task = bar.add_task("files", total=len(self._items))

            def count(result: "Result") -> None:
                self._count(result)
                hours, speed = self._summary.audio_s / 3600, self._summary.times_real_time
                said = f"files · {hours:.2f} h of audio · {speed:.0f} x real time · left"
                bar.update(task, advance=1, description=said)

            yield count

    def _count(self, result: "Result") -> None:
        """Add a result to the summary; say on stderr what failed or was odd."""
        self._summary.add(result)
        if result.status == "failed":
            print(f"asr: failed: {result.item.label}: {result.reason}", file=sys.stderr)
        for note in result.notes:
            print(f"asr: warning: {result.item.label}: {note}", file=sys.stderr)

    def _end(self) -> int:
        if self._terminal or (self._summary.failures and len(self._items) > 1 and not self._quiet):
            print(self._summary, file=sys.stderr)
        return self._summary.exit_status


def _give_up_stdout() -> None:
    """Nothing more is written there, not by Python's flush at the end either."""
    sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115


def _print(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def _stdout_text(result: "Result", name: str, alone: bool) -> str:
    """What a result adds to stdout: nothing for a failure, but in jsonl, ctm and trn its line."""
    from asr.combined import labelled, result_line
    from asr.formats import COMBINED_FORMATS, FILE_FORMATS

    if name in COMBINED_FORMATS:
        return "" if result.item.duplicate_of else result_line(result, name)
    if result.transcript is None:
        return ""
    text = FILE_FORMATS[name](labelled(result.item, result.transcript))
    return text if alone else f"{result.item.label}\t{text}"
