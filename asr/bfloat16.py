"""Does bfloat16 pay on this CPU? It is measured: a processor can have the instructions and be slow."""

import math
import time
from collections.abc import Callable

import torch

from asr.bilstm import BiLSTM, reversal_index

WORTHWHILE = 1.1  # times as fast: less than that is not worth the rounding
_FRAMES, _UTTERANCES, _CELLS = 100, 10, 256
_REPEATS = 4


def speedup(*, training: bool) -> float:
    """How many times as fast as in float32 a layer of the encoder is in bfloat16, by the best of four.

    Takes a second with the threads that torch has, and leaves its random numbers alone.

    Args:
        training: forwards and backwards under autocast, as with `trainer.precision=bf16-mixed`; else
            forwards alone, as in `asr transcribe --precision bfloat16`.
    """
    with torch.random.fork_rng(devices=[]):
        layer = BiLSTM(_CELLS, _CELLS)
        heard = torch.randn(_UTTERANCES, _FRAMES, _CELLS, requires_grad=training)
    reversal = reversal_index(torch.full((_UTTERANCES,), _FRAMES), _FRAMES)

    def step(bfloat16: bool) -> None:
        with (
            torch.set_grad_enabled(training),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            output = layer(heard, reversal)
        if training:
            output.float().sum().backward()

    best = {False: math.inf, True: math.inf}
    for _ in range(_REPEATS):  # in turn, so that other work on the machine slows both
        for bfloat16 in best:
            best[bfloat16] = min(best[bfloat16], _seconds(step, bfloat16))
    return best[False] / best[True]


def _seconds(step: Callable[[bool], None], bfloat16: bool) -> float:
    start = time.perf_counter()
    step(bfloat16)
    return time.perf_counter() - start
