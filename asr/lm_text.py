"""Text files -> sentences of word ids, for language models."""

import json
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.decoding.arpa import open_bytes
from asr.decoding.ngram import SPECIAL_WORDS
from asr.errors import AsrError
from asr.text import DEFAULT_NORMALIZER, get_normalizer

Progress = Callable[[int], None]
_MANIFEST_SUFFIXES = frozenset((".jsonl", ".ndjson", ".json"))
UNKNOWN_ID, BEGIN_ID, END_ID = 0, 1, 2


@dataclass(frozen=True)
class TextSource:
    """Where sentences come from, one a line.

    Attributes:
        paths: text files, also .gz, .xz and .bz2; of manifests (.jsonl, .ndjson, .json: JSON lines)
            the "text" is read.
        normalizer: name of the text normaliser.
        skip_fields: fields to drop at the beginning of each line (1 for "ID TEXT").
    """

    paths: tuple[Path, ...]
    normalizer: str = DEFAULT_NORMALIZER
    skip_fields: int = 0


@dataclass(frozen=True)
class Corpus:
    """Text as word ids: <s> w w w </s> <s> w w </s> ...; `words[i]` is the word with id i."""

    words: tuple[str, ...]
    tokens: NDArray[np.int32]

    @property
    def num_sentences(self) -> int:
        """Number of sentences."""
        return int((self.tokens == END_ID).sum())


def read_sentences(source: TextSource, progress: Progress | None = None) -> Iterator[list[str]]:
    """Words of each line that has some. `progress` is told the number of lines so far.

    Raises:
        AsrError: a file that cannot be read, is cut off, or is not UTF-8, or has <s> or </s> within a
            sentence; the message has the line.
    """
    normalizer = get_normalizer(source.normalizer)
    total = 0
    for path in source.paths:
        for number, line in enumerate(_read_lines(path), start=1):
            total += 1
            if progress and total % 10_000 == 0:
                progress(total)
            if source.skip_fields:
                line = (line.split(maxsplit=source.skip_fields) + [""] * 99)[source.skip_fields]
            marked = "s>" in line  # its ends, by other tools
            if marked:
                line = line.strip().removeprefix("<s>").removesuffix("</s>")
            words = normalizer(line).split()
            if marked and ("<s>" in words or "</s>" in words):
                raise AsrError(f"{path}, line {number}: <s> or </s> within a sentence")
            if words:
                yield words


def _read_lines(path: Path) -> Iterator[str]:
    number = 0
    is_manifest = not _MANIFEST_SUFFIXES.isdisjoint(path.suffixes)
    try:
        with open_bytes(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if not is_manifest:
                    yield line
                elif line.strip():
                    yield _manifest_text(line)
    except UnicodeDecodeError:
        raise AsrError(f"{path}, line {number}: not UTF-8; convert the file (iconv)") from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise AsrError(f"{path}, line {number}: no manifest entry with a text") from None
    except (OSError, EOFError, LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise AsrError(f"cannot read {path} after line {number}: {reason}") from None


def _manifest_text(line: str) -> str:
    """The text of a manifest's line; TypeError where it is none, such as null or a number."""
    text = json.loads(line)["text"]
    if not isinstance(text, str):
        raise TypeError(f"no text but {type(text).__name__}")
    return text


def number_words(
    sentences: Iterable[Sequence[str]],
    max_words: int | None = None,
    listed: Collection[str] = (),
) -> Corpus:
    """Give ids to words, in order of first appearance; listed ones that never appear come last.

    Args:
        sentences: words of each sentence.
        max_words: keep this many words, the most frequent; the others become <unk>.
        listed: words to keep besides, and to have where no sentence does.

    Raises:
        AsrError: there are no sentences.
    """
    ids: dict[str, int] = {word: word_id for word_id, word in enumerate(SPECIAL_WORDS)}
    stream = array("i")
    for words in sentences:
        stream.append(BEGIN_ID)
        for word in words:
            word_id = ids.get(word)
            if word_id is None:
                word_id = ids[word] = len(ids)
            stream.append(word_id)
        stream.append(END_ID)
    if not stream:
        raise AsrError("the text has no words in it")
    for word in listed:
        ids.setdefault(word, len(ids))
    tokens = np.frombuffer(stream, np.int32)
    names = tuple(ids)
    if max_words is None or len(names) - len(SPECIAL_WORDS) <= max_words:
        return Corpus(names, tokens)
    counts = np.bincount(tokens, minlength=len(names))
    counts[: len(SPECIAL_WORDS)] = counts.max() + 1
    kept = np.zeros(len(names), bool)
    kept[np.argsort(-counts, kind="stable")[: max_words + len(SPECIAL_WORDS)]] = True
    kept[[ids[word] for word in listed]] = True
    renumbered = np.where(kept, np.cumsum(kept) - 1, UNKNOWN_ID).astype(np.int32)
    return Corpus(tuple(names[word_id] for word_id in np.flatnonzero(kept)), renumbered[tokens])


def count_unknown(sentences: Iterable[Sequence[str]], known: frozenset[str]) -> Counter[str]:
    """How often each word outside `known` occurs."""
    return Counter(word for words in sentences for word in words if word not in known)
