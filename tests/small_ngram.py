"""A word bigram model over two letters, small enough to work out by brute force."""

from collections.abc import Sequence
from pathlib import Path

from asr.decoding.arpa import read_arpa
from asr.decoding.ngram import NgramModel

TOKENS = ("<blank>", " ", "a", "b")
WORDS_ARPA = """\\data\\
ngram 1=7
ngram 2=5

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.4
-0.9\t</s>
-0.6\ta\t-0.3
-0.8\tb\t-0.2
-1.1\tab\t-0.1
-1.3\tbab\t0

\\2-grams:
-0.3\t<s> ab
-0.5\tab a
-0.2\ta </s>
-0.7\tb a
-0.4\ta b

\\end\\
"""


def encode(word: str) -> list[int]:
    """Token ids of a word; ValueError if the tokens cannot write it."""
    return [TOKENS.index(char) for char in word]


def text_of(token_ids: Sequence[int]) -> str:
    """What tokens write."""
    return "".join(TOKENS[token_id] for token_id in token_ids)


def read_small_ngram(folder: Path) -> NgramModel:
    """The model, by way of an ARPA file in `folder`."""
    (folder / "words.arpa").write_text(WORDS_ARPA)
    return read_arpa(folder / "words.arpa")
