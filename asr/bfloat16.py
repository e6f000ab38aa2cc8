"""Can this CPU compute in bfloat16, and does it pay? That is measured: a processor can have the
instructions and be slow.
"""

import math
import time
from collections.abc import Callable
from functools import cache

import torch

from asr.bilstm import BiLSTM, reversal_index
from asr.errors import UsageError

WORTHWHILE = 1.1  # times as fast: less than that is not worth the rounding
_FRAMES, _UTTERANCES, _CELLS = 100, 10, 256
_REPEATS = 4


@cache
def has_bfloat16() -> bool:
    """Whether this CPU can compute an LSTM in bfloat16: where it has nothing past AVX2, torch fails at
    that, and multiplies matrices in bfloat16 a tenth as fast as in float32.
    """
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.LSTM(1, 1)
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            layer(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


def check_bfloat16(option: str, instead: str) -> None:
    """UsageError where `option` asks for bfloat16 and this CPU has none; `instead`: what to take."""
    if not has_bfloat16():
        raise UsageError(f"{option}: this processor has no bfloat16; take {instead}")


def speedup(*, training: bool) -> float:
    """How many times as fast as in float32 a layer of the encoder is in bfloat16, by the best of four.

    Takes a second with the threads that torch has, and leaves its random numbers alone. 0 where the
    processor has no bfloat16.

    Args:
        training: forwards and backwards under autocast, as with `trainer.precision=bf16-mixed`; else
            forwards alone, as in `asr transcribe --precision bfloat16`.
    """
    if not has_bfloat16():
        return 0.0
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
