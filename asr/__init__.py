"""From a folder of audio and transcripts to a compact LSTM-CTC speech recognizer.

The file names are the pipeline::

    audio -> features -> encoder -> ctc -> decoding -> transcribe -> scoring -> report

Axes, fixed here once: B batch, S samples, T frames, T' encoder frames, F features, V vocabulary,
U target length.
"""

__version__ = "0.1.0"
