"""Characters <-> token ids. The CTC blank is id 0, a space separates words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from asr.errors import AsrError

BLANK = "<blank>"
BLANK_ID = 0
SPACE = " "


class UnknownCharacterError(AsrError):
    """A text has characters that the vocabulary lacks."""


@dataclass(frozen=True)
class CharTokenizer:
    """A character vocabulary; `tokens[i]` is the text of id i, `tokens[0]` the blank."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[BLANK_ID] != BLANK:
            raise AsrError(f"the first token of a vocabulary must be {BLANK!r}")
        if len(set(self.tokens)) != len(self.tokens):
            raise AsrError("a vocabulary must not have a token twice")
        if any(len(token) != 1 for token in self.tokens[1:]):
            raise AsrError("every token of a character vocabulary but the blank is one character")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """The vocabulary of all characters in `texts`: blank, space, the rest in code order."""
        characters = {char for text in texts for char in text} - {SPACE}
        return cls((BLANK, SPACE, *sorted(characters)))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: token_id for token_id, token in enumerate(self.tokens) if token_id}

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the blank included."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; UnknownCharacterError names the characters it cannot write."""
        try:
            return [self._ids[char] for char in text]
        except KeyError:
            unknown = "".join(sorted(self.unknown_characters([text])))
            raise UnknownCharacterError(
                f"the vocabulary has no {unknown!r}, wanted for {text!r}"
            ) from None

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids`; blanks are left out, repeats are kept."""
        return "".join(self.tokens[token_id] for token_id in token_ids if token_id != BLANK_ID)

    def unknown_characters(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character outside the vocabulary occurs in `texts`."""
        return Counter(char for text in texts for char in text if char not in self._ids)
