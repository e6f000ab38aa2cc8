"""`samples.jsonl` in a run folder: what a fixed handful of development utterances were transcribed as
at each validation. One line of JSON for a validation."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr.report import write_files
from asr.runlog import parse_line

SAMPLES_FILE = "samples.jsonl"


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance, both texts normalised."""

    utterance_id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Validation:
    """One validation.

    Attributes:
        epoch: counted from 0.
        step: optimizer steps done.
        minutes: of training up to here, over all resumes; what a killed run did after its last
            validation is not in it.
        wer, cer: of the whole development set, as fractions; nan where it has no words.
    """

    epoch: int
    step: int
    minutes: float
    wer: float
    cer: float
    samples: tuple[Sample, ...]


def read_validations(run_dir: Path) -> tuple[Validation, ...]:
    """The validations of a run, oldest first; a damaged line is passed over."""
    path = run_dir / SAMPLES_FILE
    if not path.is_file():
        return ()
    with path.open("rb") as lines:
        found = [_validation(parse_line(line)) for line in lines]
    return tuple(one for one in found if one is not None)


def add_validation(run_dir: Path, validation: Validation) -> None:
    """Add one; those at its step or later, which a resumed run has done again, are replaced.

    The file is written whole or not at all. Raises AsrError where that fails.
    """
    kept = [one for one in read_validations(run_dir) if one.step < validation.step]
    lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in (*kept, validation)]
    write_files(run_dir, {SAMPLES_FILE: "".join(lines)})


def _validation(line: Mapping[str, Any]) -> Validation | None:
    try:
        return Validation(**{**line, "samples": tuple(Sample(**one) for one in line["samples"])})
    except (KeyError, TypeError):
        return None
