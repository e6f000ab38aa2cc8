"""Text <-> token ids: characters, or pieces of words by byte-pair encoding. The CTC blank is id 0.

A vocabulary is a list of strings and nothing else: a bundle stores it as JSON, and using one needs no
package, whoever made it.
"""

import io
import itertools
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar

from asr.errors import AsrError, UsageError

BLANK = "<blank>"
BLANK_ID = 0
SPACE = " "
MARK = "▁"  # U+2581: a piece that begins a word begins with it, as sentencepiece writes


class UnknownCharacterError(AsrError):
    """A text has characters that the vocabulary lacks."""


@dataclass(frozen=True)
class Tokenizer(ABC):
    """A vocabulary; `tokens[i]` is the text of id i, `tokens[0]` the blank.

    Attributes:
        kind: what `tokenizer.kind` calls it.
        unit: what it writes, for people.
    """

    tokens: tuple[str, ...]
    kind: ClassVar[str]
    unit: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[BLANK_ID] != BLANK:
            raise AsrError(f"the first token of a vocabulary must be {BLANK!r}")
        if len(set(self.tokens)) != len(self.tokens):
            raise AsrError("a vocabulary must not have a token twice")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: token_id for token_id, token in enumerate(self.tokens) if token_id}

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the blank included."""
        return len(self.tokens)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; UnknownCharacterError names the characters it cannot write."""

    @abstractmethod
    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids`; blanks are left out, repeats are kept."""

    @abstractmethod
    def word_ranges(self, token_ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(first, last + 1) token positions of each word."""

    @abstractmethod
    def unknown_characters(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character outside the vocabulary occurs in `texts`."""

    def _unknown(self, text: str) -> UnknownCharacterError:
        unknown = "".join(sorted(self.unknown_characters([text])))
        return UnknownCharacterError(f"the vocabulary has no {unknown!r}, wanted for {text!r}")


class CharTokenizer(Tokenizer):
    """A character vocabulary; a space separates words."""

    kind = "char"
    unit = "characters"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(len(token) != 1 for token in self.tokens[1:]):
            raise AsrError("every token of a character vocabulary but the blank is one character")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """The vocabulary of all characters in `texts`: blank, space, the rest in code order."""
        characters = {char for text in texts for char in text} - {SPACE}
        return cls((BLANK, SPACE, *sorted(characters)))

    def encode(self, text: str) -> list[int]:
        """An id for each character."""
        try:
            return [self._ids[char] for char in text]
        except KeyError:
            raise self._unknown(text) from None

    def decode(self, token_ids: Sequence[int]) -> str:
        """The characters, spaces as they are."""
        return "".join(self.tokens[token_id] for token_id in token_ids if token_id != BLANK_ID)

    def word_ranges(self, token_ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """What stands between spaces."""
        first = 0
        for position, token_id in enumerate(token_ids):
            if self.tokens[token_id] == SPACE:
                if position > first:
                    yield first, position
                first = position + 1
        if len(token_ids) > first:
            yield first, len(token_ids)

    def unknown_characters(self, texts: Iterable[str]) -> Counter[str]:
        """Characters, a space among them, that are no token."""
        return Counter(char for text in texts for char in text if char not in self._ids)


class BpeTokenizer(Tokenizer):
    """Pieces of words in the order of their merges (Sennrich et al. 2016, arXiv 1508.07909).

    sentencepiece finds the pieces; encoding is done here and gives what sentencepiece gives.
    """

    kind = "bpe"
    unit = "BPE pieces"

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [piece for piece in self.tokens[1:] if not re.fullmatch(rf"\S[^\s{MARK}]*", piece)]
        if wrong:
            raise AsrError(f"{wrong[0]!r} is no piece of a word; {MARK} may only begin one")

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], vocab_size: int, option: str = "tokenizer.vocab_size"
    ) -> "BpeTokenizer":
        """Learn `vocab_size` tokens, the blank included, from `texts`: the same from the same texts.

        Args:
            option: by which the user has said `vocab_size`, for messages.

        Raises:
            AsrError: sentencepiece is not installed.
            UsageError: vocab_size is less than the characters need or more than the texts give.
        """
        texts = list(texts)
        characters = {char for text in texts for char in text if not char.isspace()}
        if MARK in characters:
            raise UsageError(f"the training texts contain {MARK}, which marks words in BPE pieces")
        if vocab_size < len(characters) + 2:
            raise UsageError(
                f"{option} must be at least {len(characters) + 2} for the characters of "
                f"the training texts, the blank and the mark of words, not {vocab_size}"
            )
        pieces = _learn_pieces(texts, vocab_size, option)
        return cls((BLANK, *pieces[1:]))  # in place of sentencepiece's <unk>, which is not needed

    @cached_property
    def _spellings(self) -> dict[str, list[int]]:
        return {}  # of the words met so far

    def encode(self, text: str) -> list[int]:
        """The ids of each word's pieces; spaces are not written but implied."""
        token_ids: list[int] = []
        for word in text.split():
            if word not in self._spellings:
                try:
                    self._spellings[word] = [self._ids[piece] for piece in self._pieces(word)]
                except KeyError:
                    raise self._unknown(text) from None
            token_ids += self._spellings[word]
        return token_ids

    def _pieces(self, word: str) -> list[str]:
        """Merge neighbours as long as any two make a piece, the earliest learnt first."""
        ids, none = self._ids, len(self.tokens)
        pieces = [MARK, *word]
        merges = [ids.get(left + right, none) for left, right in itertools.pairwise(pieces)]
        while (token_id := min(merges, default=none)) < none:
            position = merges.index(token_id)
            pieces[position : position + 2] = [self.tokens[token_id]]
            del merges[position]
            for left in range(max(0, position - 1), min(position + 1, len(merges))):
                merges[left] = ids.get(pieces[left] + pieces[left + 1], none)
        return pieces

    def decode(self, token_ids: Sequence[int]) -> str:
        """The words, one space between them."""
        pieces = (self.tokens[token_id] for token_id in token_ids if token_id != BLANK_ID)
        return " ".join("".join(pieces).replace(MARK, SPACE).split())

    def word_ranges(self, token_ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """From a piece with a mark to the next; a mark alone is not part of the word that follows."""
        first = None
        for position, token_id in enumerate(token_ids):
            piece = self.tokens[token_id]
            if piece.startswith(MARK):
                if first is not None:
                    yield first, position
                first = None
            if first is None and piece != MARK:
                first = position
        if first is not None:
            yield first, len(token_ids)

    def unknown_characters(self, texts: Iterable[str]) -> Counter[str]:
        """Characters that are no piece; spaces and their like only divide words."""
        known = self._ids.keys() - {MARK}
        counts = Counter(itertools.chain.from_iterable("".join(text.split()) for text in texts))
        return Counter({char: count for char, count in counts.items() if char not in known})


TOKENIZERS: Mapping[str, type[CharTokenizer] | type[BpeTokenizer]] = MappingProxyType(
    {kind.kind: kind for kind in (CharTokenizer, BpeTokenizer)}
)


@dataclass(frozen=True)
class TokenizerConfig:
    """What the model writes.

    Attributes:
        kind: "char", or "bpe" (needs the extra `bpe` to train, not to use).
        vocab_size: tokens of a BPE vocabulary, the blank included; characters are as many as the
            training texts have.
    """

    kind: str = "char"
    vocab_size: int = 500

    def __post_init__(self) -> None:
        if self.kind not in TOKENIZERS:
            raise UsageError(f"tokenizer.kind must be {' or '.join(TOKENIZERS)}, not {self.kind!r}")
        if self.vocab_size < 2:
            raise UsageError(f"tokenizer.vocab_size must be at least 2, not {self.vocab_size}")


def tokenizer_from_texts(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """The tokenizer of a training set; UsageError where it cannot give a vocabulary of that size."""
    if config.kind == BpeTokenizer.kind:
        return BpeTokenizer.from_texts(texts, config.vocab_size)
    return CharTokenizer.from_texts(texts)


def _learn_pieces(texts: Sequence[str], vocab_size: int, option: str) -> list[str]:
    """sentencepiece's <unk>, then pieces in the order of their merges, then single characters."""
    model = io.BytesIO()
    longest = max(10, 1 + max((len(text.encode()) for text in texts), default=0))  # 10: its least
    try:
        import sentencepiece

        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=longest,
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except ImportError:
        raise AsrError(
            "BPE pieces need sentencepiece, which is not installed: pip install 'asr[bpe]'"
        ) from None
    except RuntimeError as error:
        most = re.search(r"to a value <= (\d+)", str(error))
        limit = f"{most[1]} tokens at most" if most else f"no vocabulary ({error})"
        raise UsageError(f"{option}={vocab_size}: the training texts give {limit}") from None
    learnt = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [learnt.id_to_piece(piece_id) for piece_id in range(learnt.vocab_size())]
