"""Batches of windows: every window once, none waits for ever, little padding."""

from collections.abc import Sequence

import numpy as np
import pytest

from asr.pool import Piece, WindowPool, dense_batches, densest_batch
from asr.segment import Window


def piece(index: int, length: int) -> Piece:
    return Piece(index, 0, Window(0, 0, np.zeros(length, np.float32)))


def pieces_of(lengths: Sequence[int]) -> list[Piece]:
    return [piece(index, length) for index, length in enumerate(lengths)]


def sizes(batches: Sequence[Sequence[Piece]]) -> list[list[int]]:
    return [[len(piece.window.waveform) for piece in batch] for batch in batches]


def padding(batches: Sequence[Sequence[Piece]]) -> float:
    """Padded samples for each one of speech."""
    return sum(len(one) * max(one) for one in sizes(batches)) / sum(map(sum, sizes(batches)))


def random_lengths(number: int) -> list[int]:
    lengths: list[int] = np.random.default_rng(0).integers(1, 3600, number).tolist()
    return lengths


def test_dense_batches_hold_every_piece_once_and_little_padding() -> None:
    batches = list(dense_batches(pieces_of(random_lengths(300)), 12_000))
    assert sorted(piece.index for batch in batches for piece in batch) == list(range(300))
    assert all(len(batch) == 1 or len(batch) * max(batch) <= 12_000 for batch in sizes(batches))
    assert padding(batches) < 1.04
    assert list(dense_batches([], 100)) == []


@pytest.mark.parametrize("max_samples", [1, 3000, 12_000, 10**9])
def test_the_densest_batch_is_the_best_of_all_with_the_first_piece(max_samples: int) -> None:
    """Against every stretch of the pieces by length, as full as it may be."""
    random = np.random.default_rng(1)
    for _ in range(50):
        lengths = random.integers(0, 3600, random.integers(1, 30)).tolist()
        found = densest_batch(pieces_of(lengths), max_samples)
        order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        best = -1.0
        for first in range(len(order)):
            rows = max(1, max_samples // max(1, lengths[order[first]]))
            rows = min(rows, len(order) - first)
            chosen = order[first : first + rows]
            if 0 in chosen:
                speech = sum(lengths[place] for place in chosen)
                best = max(best, speech / ((rows + 1) * max(1, lengths[chosen[0]])))
        indices = [piece.index for piece in found]
        assert 0 in indices
        speech = sum(lengths[index] for index in indices)
        longest = max(1, *(lengths[index] for index in indices))
        assert speech / ((len(indices) + 1) * longest) == pytest.approx(best)
        assert len(indices) == 1 or len(indices) * longest <= max_samples


def test_a_pool_kept_full_gives_denser_batches_than_one_emptied_when_half_full() -> None:
    """Readers always ahead: of 600 windows each goes once, the oldest always with the next batch."""
    lengths = random_lengths(600)
    pool = WindowPool(max_samples=96_000, batch_samples=12_000)
    pool.expect_readers(1)
    waiting = pieces_of(lengths)[::-1]
    held: list[Piece] = []
    batches = []
    while waiting or held:
        while waiting and sum(len(one.window.waveform) for one in held) <= 96_000 - 3600:
            held.append(waiting.pop())
            pool.put(held[-1])
            if not waiting:
                pool.reader_done()
        batch, _ = pool.take()
        taken = {piece.index for piece in batch}
        assert not batch or not waiting or held[0].index in taken
        held = [piece for piece in held if piece.index not in taken]
        if batch:
            batches.append(batch)
    assert sorted(piece.index for batch in batches for piece in batch) == list(range(600))
    emptied = [
        batch
        for at in range(0, 600, 27)
        for batch in dense_batches(pieces_of(lengths)[at : at + 27], 12_000)
    ]
    assert padding(batches) < 0.95 * padding(emptied)
    assert pool.is_exhausted
