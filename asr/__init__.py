"""From a folder of audio and transcripts to a compact LSTM-CTC speech recognizer.

The file names are the pipeline::

    audio -> features -> encoder -> ctc -> speller -> decoding -> transcribe -> scoring -> report

Axes, fixed here once: B batch, S samples, T frames, T' encoder frames, F features, V vocabulary,
U target length.

`asr.load_model`, `asr.score` and `asr.Transcript` are the Python twin of the command line; they are
imported when first used, so that `import asr` stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.scoring import score as score
    from asr.transcribe import load_model as load_model
    from asr.transcript import Transcript as Transcript

__version__ = "0.1.0"
__all__ = ["Transcript", "__version__", "load_model", "score"]

_HOMES = {"load_model": "asr.transcribe", "score": "asr.scoring", "Transcript": "asr.transcript"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
