"""Python's search for garbage in cycles, held back where there is next to none to be found."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """No search for cycles meanwhile: where objects are made by the hundred thousand and all stay (a
    manifest, a lexicon, the import of torch), looking through them again and again takes as long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
