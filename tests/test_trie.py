"""The trie of words, against a dictionary of all their beginnings."""

import random

import numpy as np
import pytest

from asr.decoding.lexicon import NO_WORD, Trie, build_lexicon, spellings_of
from asr.errors import AsrError


def found(trie: Trie) -> dict[tuple[int, ...], tuple[list[int], float]]:
    """All beginnings: the words that end there, the likeliest first, and the best ln P at or below."""
    nodes, alike = trie
    seen = {}
    waiting: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while waiting:
        node, spelled = waiting.pop()
        first, more, word = (
            int(nodes[name][node]) for name in ("first_child", "first_alike", "word")
        )
        words = [word] if word != NO_WORD else []
        words += alike[more : nodes["first_alike"][node + 1]].tolist()
        seen[spelled] = (words, float(nodes["best_log_prob"][node]))
        children = range(first, nodes["first_child"][node + 1])
        tokens = nodes["token"][children.start : children.stop].tolist()
        assert tokens == sorted(set(tokens))
        waiting += zip(children, [(*spelled, token) for token in tokens], strict=True)
    assert len(seen) == len(nodes) - 1
    return seen


@pytest.mark.parametrize("max_alike", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_every_beginning_is_there_with_its_words(seed: int, max_alike: int) -> None:
    """Sequences of up to 40 tokens, more than one number to sort by holds; some are alike."""
    draw = random.Random(seed)
    sequences = [[draw.randint(1, 3) for _ in range(draw.randint(1, 5))] for _ in range(80)]
    long = [draw.randint(1, 60) for _ in range(40)]
    sequences += [long[: draw.randint(20, 40)] for _ in range(40)]
    word_ids = np.array(draw.sample(range(1000), len(sequences)), np.int32)
    log_probs = np.array([-draw.randint(1, 4) for _ in sequences], np.float32)
    expected: dict[tuple[int, ...], tuple[list[int], float]] = {(): ([], float(log_probs.max()))}
    likeliest_first = sorted(
        range(len(sequences)), key=lambda row: (-log_probs[row], word_ids[row])
    )
    for row in likeliest_first:
        spelled = tuple(sequences[row])
        for end in range(1, len(spelled) + 1):
            expected.setdefault(spelled[:end], ([], float(log_probs[row])))
        if len(expected[spelled][0]) < max_alike:
            expected[spelled][0].append(int(word_ids[row]))
    made = build_lexicon(spellings_of(sequences), word_ids, log_probs, max_alike)
    assert found(made) == expected


def test_nothing_cannot_be_spelled() -> None:
    none, one = np.zeros(0, np.int32), np.zeros(1, np.int32)
    with pytest.raises(AsrError, match="at least one word"):
        build_lexicon(spellings_of([]), none, none.astype(np.float32))
    with pytest.raises(AsrError, match="with no token"):
        build_lexicon(spellings_of([[]]), one, one.astype(np.float32))
