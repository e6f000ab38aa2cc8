"""What networks hear of training speech, kept in a file: a run that goes on need not listen anew."""

import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.errors import AsrError
from asr.training.posterior_bank import Posteriors
from asr.whole_file import written_whole


class Hearing(NamedTuple):
    """What is heard of an utterance, (T', P) probabilities; its place among the training examples."""

    place: int
    posteriors: Posteriors


def kept_or_heard(path: Path, made_by: str, hear: Callable[[], Iterable[Hearing]]) -> list[Hearing]:
    """What `path` has, where the same settings made it, else what is heard, which is kept there.

    A damaged file counts as none. A disk that does not take it is said, and no reason to stop.

    Args:
        path: a file of numpy's, without pickles.
        made_by: all settings that what is heard depends on.
    """
    found = _read(path, made_by)
    if found is None:
        found = list(hear())
        try:
            with written_whole(path) as partial, partial.open("wb") as file:
                np.savez(
                    file,
                    made_by=np.array(made_by),
                    places=np.array([hearing.place for hearing in found], np.int64),
                    lengths=np.array([len(hearing.posteriors) for hearing in found], np.int64),
                    frames=np.concatenate([hearing.posteriors for hearing in found]),
                )
        except AsrError as error:
            print(f"{error}: after an interruption this run listens anew", file=sys.stderr)
    return found


def _read(path: Path, made_by: str) -> list[Hearing] | None:
    try:
        with np.load(path) as kept:
            if str(kept["made_by"]) != made_by:
                return None
            parts = np.split(kept["frames"], np.cumsum(kept["lengths"])[:-1])
            return list(map(Hearing, kept["places"].tolist(), parts))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
