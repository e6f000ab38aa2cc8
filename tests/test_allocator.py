"""Freed memory stays in the process: touching a large block again faults no new pages in."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from asr.training.allocator import keep_freed_memory

told = sys.argv[1] == "keep" and keep_freed_memory()

def touch():
    np.ones(50_000_000, np.uint8)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    touch()
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> tuple[bool, int]:
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True
    ).stdout.split()
    return printed[0] == "True", int(printed[1])


def test_large_blocks_are_kept() -> None:
    told, kept = faults("keep")
    if not told:
        pytest.skip("the C library is not glibc")
    _, given_back = faults("give back")
    assert kept < 0.1 * given_back
