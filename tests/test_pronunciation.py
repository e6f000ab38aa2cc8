"""Pronouncing lexicons: read, written, and what is said where one cannot be used."""

import errno
import gzip
import os
import random
from pathlib import Path

import pytest

from asr.errors import AsrError
from asr.pronunciation import (
    Lexicon,
    check_writable,
    read_lexicon,
    write_lexicon,
)

TEXT = "read R IY D\nread R EH D\n\na AX\nred\tR EH D\nread R IY D\n"


def written(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_text(text)
    return path


def test_words_with_their_pronunciations(tmp_path: Path) -> None:
    lexicon = read_lexicon(written(tmp_path))
    assert lexicon.phones == ("<blank>", " ", "AX", "D", "EH", "IY", "R")
    assert lexicon.words["read"] == (("R", "IY", "D"), ("R", "EH", "D"))  # each once
    assert lexicon.spellings("red") == [[6, 4, 3]]
    assert lexicon.spellings("blue") == []


def test_a_text_is_said_with_the_first_pronunciations(tmp_path: Path) -> None:
    lexicon = read_lexicon(written(tmp_path))
    assert lexicon.encode("a red  read") == [2, 1, 6, 4, 3, 1, 6, 5, 3]
    assert lexicon.encode("a blue read") == []
    assert lexicon.encode("") == []
    assert lexicon.lacking(["a blue sea", "blue"]) == ["blue", "sea"]


@pytest.mark.parametrize("seed", range(5))
def test_all_at_once_is_read_what_a_line_at_a_time_says(tmp_path: Path, seed: int) -> None:
    """Tabs, carriage returns, empty lines, words called as phones are, and no newline at the end."""
    draw = random.Random(seed)
    phones = ["A", "B", "long-name", "é"]
    lines = []
    for _ in range(60):
        said = draw.choices(phones, k=draw.randint(1, 4))
        spaces = [draw.choice([" ", "\t", "  "]) for _ in said]
        word = draw.choice(["A", "ba", "é", "o'clock", "x"])
        start, end = draw.choice(["", " "]), draw.choice(["\n", "\r\n", " \n\n"])
        lines.append(start + word + "".join(map("".join, zip(spaces, said, strict=True))) + end)
    path = tmp_path / "lexicon.txt"
    path.write_bytes(b"\xef\xbb\xbf" * (seed % 2) + "".join(lines).rstrip().encode())
    expected: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        word, *said = line.split()
        ways = expected.setdefault(word, [])
        if tuple(said) not in ways:
            ways.append(tuple(said))
    found = read_lexicon(path, ("<blank>", " ", *phones))
    assert {word: list(ways) for word, ways in found.words.items()} == expected
    assert len(found.rows.words) == sum(map(len, expected.values()))


@pytest.mark.parametrize("name", ["copy.txt", "copy.txt.gz", "copy.txt.xz", "copy.txt.bz2"])
def test_round_trip_with_the_phones_of_a_model(tmp_path: Path, name: str) -> None:
    lexicon = read_lexicon(written(tmp_path))
    more = Lexicon.of(lexicon.words, (*lexicon.phones, "ZH"))
    write_lexicon(more, tmp_path / name)
    again = read_lexicon(tmp_path / name, more.phones)
    assert (again.phones, again.words) == (more.phones, more.words)
    before = (tmp_path / name).read_bytes()
    write_lexicon(read_lexicon(tmp_path / name, more.phones), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    magic = {".gz": b"\x1f\x8b", ".xz": b"\xfd7", ".bz2": b"BZ"}.get(Path(name).suffix, b"a ")
    assert before[:2] == magic


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lexicon = read_lexicon(written(tmp_path))
    path = tmp_path / "new/folder/lexicon.txt"
    write_lexicon(lexicon, path)
    before = path.read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AsrError, match=r"lexicon.txt: No space left on device"):
        write_lexicon(Lexicon.of({"a": (("AX",),)}, lexicon.phones), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_pipe_is_written_to_and_a_link_stays(tmp_path: Path) -> None:
    lexicon = read_lexicon(written(tmp_path, "a AX\n"))
    (tmp_path / "link").symlink_to("lexicon.txt")
    write_lexicon(lexicon, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    reader, writer = os.pipe()
    check_writable(Path(f"/dev/fd/{writer}"))
    write_lexicon(lexicon, Path(f"/dev/fd/{writer}"))
    assert os.read(reader, 99) == b"a AX\n"
    os.close(reader)
    os.close(writer)


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/lexicon.txt", tmp_path):
        with pytest.raises(AsrError, match=f"cannot write {path}: "):
            check_writable(path)
    check_writable(tmp_path / "new/lexicon.txt")
    assert not list((tmp_path / "new").iterdir())


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrError, match=r"line 2: 'red' has no phones"):
        read_lexicon(written(tmp_path, "a AX\nred\n"))
    with pytest.raises(AsrError, match="has no words"):
        read_lexicon(written(tmp_path, "\n"))
    with pytest.raises(AsrError, match=r"line 1: the model has no phone 'R'"):
        read_lexicon(written(tmp_path, "red R D\n"), ("<blank>", " ", "D"))
    with pytest.raises(AsrError, match="cannot read the lexicon"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-12])
    with pytest.raises(AsrError, match="damaged"):
        read_lexicon(tmp_path / "cut.gz")
    (tmp_path / "latin.txt").write_bytes("caf\xe9 K AE F EY".encode("latin-1"))
    with pytest.raises(AsrError, match="not UTF-8"):
        read_lexicon(tmp_path / "latin.txt")
    with pytest.raises(AsrError, match="phones begin"):
        Lexicon.of({"a": (("D",),)}, ("D", "EH"))
    assert Lexicon.of({"a": (("B", "A"),)}).phones == ("<blank>", " ", "A", "B")
