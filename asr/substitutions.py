"""Spellings that count as the same word: a substitutions file, in the manner of NIST's GLM.

A rule a line, ``colour => color`` or ``[gonna] => [going to]``; nothing on the right deletes the
words on the left. Lines that begin with ``#`` or ``;;`` are comments.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AsrError
from asr.textfiles import check_no_alternatives, read_lines

_NO_CONTEXT = re.compile(r"\s*/\s*\[\s*\]\s*__\s*\[\s*\]\s*(;;.*)?$")


@dataclass(frozen=True)
class Substitutions:
    """Rules from words to words; the name has a digest of the rules, so that it is a version."""

    name: str
    rules: Mapping[tuple[str, ...], tuple[str, ...]]

    def apply(self, text: str) -> str:
        """Replace from left to right, the longest rule first; what was put in is not read again.

        >>> Substitutions("s", {("a", "b"): ("c",), ("a",): ()}).apply("a b a d")
        'c d'
        """
        words, out, place = text.split(), list[str](), 0
        longest = max(map(len, self.rules), default=0)
        while place < len(words):
            for length in range(min(longest, len(words) - place), 0, -1):
                found = self.rules.get(tuple(words[place : place + length]))
                if found is not None:
                    out += found
                    place += length
                    break
            else:
                out.append(words[place])
                place += 1
        return " ".join(out)


def read_substitutions(path: Path | str, normalize: Callable[[str], str]) -> Substitutions:
    """Read a file of rules; both sides are normalised like the texts they will meet.

    Raises:
        AsrError: a line that is no rule, a left side used twice, a context, alternatives.
    """
    path = Path(path)
    rules: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.lstrip().startswith(("#", ";;")):
            continue
        where = f"{path}:{number}"
        left, right = _sides(line, where)
        source, target = (tuple(normalize(side).split()) for side in (left, right))
        if not source:
            raise AsrError(f"{where}: nothing is left of {left!r} after normalisation")
        if rules.get(source, target) != target:
            raise AsrError(f"{where}: {' '.join(source)!r} has another rule further up")
        rules[source] = target
    digest = hashlib.sha256(repr(sorted(rules.items())).encode()).hexdigest()[:8]
    return Substitutions(f"{path.name}@{digest}", rules)


def _sides(line: str, where: str) -> tuple[str, str]:
    left, arrow, right = _NO_CONTEXT.sub("", line).partition("=>")
    if not arrow:
        raise AsrError(f"{where}: a rule is 'words => words'")
    if "__" in right:
        raise AsrError(f"{where}: rules that depend on their neighbours are not supported")
    check_no_alternatives(right, where)
    return left.strip().strip("[]").strip(), right.strip().strip("[]").strip()
