"""n-gram models: scores against KenLM and by hand, the compiled form, and every kind of bad file."""

import bz2
import gzip
import lzma
import math
import random
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.arpa import load_ngram, read_arpa
from asr.decoding.arpa_writer import write_arpa
from asr.decoding.ngram import LanguageModelError, NgramModel, load_compiled

ARPA = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.6\ta\t-0.3
-0.8\tb\t-0.2

\\2-grams:
-0.2\t<s> a\t-0.1
-0.4\ta b\t-0.15
-0.3\tb </s>

\\3-grams:
-0.05\t<s> a b

\\end\\
"""


def write(folder: Path, text: str | bytes, name: str = "lm.arpa") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def model(tmp_path: Path) -> NgramModel:
    return read_arpa(write(tmp_path, ARPA))


@pytest.mark.parametrize(
    ("sentence", "log10s"),
    [
        ("a b", [-0.2, -0.05, -0.15 - 0.3]),  # trigram; then back-off of "a b" and bigram "b </s>"
        ("b", [-0.5 - 0.8, -0.3]),  # back-off of <s>
        ("a a", [-0.2, -0.1 - 0.3 - 0.6, -0.3 - 0.7]),  # two steps back
        ("zzz b", [-0.5 - 1.0, -0.8, -0.3]),  # an unknown word leaves no context
        ("", [-0.5 - 0.7]),
    ],
)
def test_scores_by_hand(model: NgramModel, sentence: str, log10s: list[float]) -> None:
    scores = model.score_words(sentence.split()) / math.log(10)
    assert scores == pytest.approx(log10s, abs=1e-6)


def random_arpa(rng: random.Random, order: int) -> str:
    """A model with random n-grams whose contexts exist, but whose suffixes need not."""
    vocabulary = [f"w{index}" for index in range(12 if order < 4 else 3)]
    levels = [[(word,) for word in ("<unk>", "<s>", "</s>", *vocabulary)]]
    for _ in range(1, order):
        heads = [gram for gram in levels[-1] if gram[-1] not in ("</s>", "<unk>")]
        grams = {(*rng.choice(heads), rng.choice(["</s>", *vocabulary])) for _ in range(80)}
        if order > 3:  # KenLM has room for few n-grams without their suffix
            grams = {gram for gram in grams if gram[1:] in levels[-1]}
        levels.append(sorted(grams))
    lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(levels, 1))]
    for n, grams in enumerate(levels, 1):
        lines.append(f"\n\\{n}-grams:")
        for gram in grams:
            backoff = f"\t{-rng.random():.4f}" if n < order and gram[-1] != "</s>" else ""
            lines.append(f"{-3 * rng.random():.4f}\t{' '.join(gram)}{backoff}")
    return "\n".join([*lines, "\n\\end\\\n"])


@pytest.mark.parametrize("order", [2, 3, 5])
def test_scores_equal_kenlm(tmp_path: Path, order: int) -> None:
    kenlm = pytest.importorskip("kenlm")
    rng = random.Random(order)
    path = write(tmp_path, random_arpa(rng, order))
    ours, theirs = read_arpa(path), kenlm.Model(str(path))
    words = [f"w{index}" for index in range(14)]  # the last are unknown
    for _ in range(300):
        sentence = rng.choices(words, k=rng.randint(0, 9))
        expected = [score for score, _, _ in theirs.full_scores(" ".join(sentence))]
        scores = ours.score_words(sentence) / math.log(10)
        assert scores == pytest.approx(expected, abs=1e-4)


def test_order_one(tmp_path: Path) -> None:
    arpa = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-0.5 </s>\n-0.4 a\n\n\\end\\\n"
    model = read_arpa(write(tmp_path, arpa))
    assert model.order == 1
    assert model.score("a a") / math.log(10) == pytest.approx(-1.3)


def test_model_without_unknown_word_scores_it_as_kenlm_does(tmp_path: Path) -> None:
    arpa = ARPA.replace("-1.0\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4")
    model = read_arpa(write(tmp_path, arpa))
    assert model.score_words(["zzz"])[0] / math.log(10) == pytest.approx(-100.5, abs=1e-4)


def test_an_unknown_word_in_capitals_is_the_unknown_word(tmp_path: Path, model: NgramModel) -> None:
    """As Kaldi's recipes write it, and as KenLM reads it; beside <unk> it is a word like others."""
    capital = read_arpa(write(tmp_path, ARPA.replace("<unk>", "<UNK>")))
    assert capital.words == model.words
    assert capital.score("a zzz b") == pytest.approx(model.score("a zzz b"), abs=1e-6)
    both = ARPA.replace("ngram 1=5", "ngram 1=6").replace("-0.7\t</s>", "-0.9\t<UNK>\n-0.7\t</s>")
    words = read_arpa(write(tmp_path, both)).words
    assert {"<unk>", "<UNK>"} <= set(words)


def test_compressed_and_round_trips(tmp_path: Path, model: NgramModel) -> None:
    zipped = [
        write(tmp_path, pack.compress(ARPA.encode()), f"lm.arpa.{ending}")
        for pack, ending in ((gzip, "gz"), (lzma, "xz"), (bz2, "bz2"))
    ]
    write_arpa(model, tmp_path / "again.arpa")
    model.save(tmp_path / "lm.ngram")
    for path in (*zipped, tmp_path / "again.arpa", tmp_path / "lm.ngram"):
        loaded = load_ngram(path)
        assert loaded.words == model.words
        assert loaded.counts == model.counts == (5, 3, 1)
        assert loaded.score("a b a zzz") == pytest.approx(model.score("a b a zzz"), abs=1e-6)


def test_compiled_model_is_mapped_not_read(tmp_path: Path, model: NgramModel) -> None:
    model.save(tmp_path / "lm.ngram")
    base = load_compiled(tmp_path / "lm.ngram").arrays.nodes
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


BAD_FILES = {
    "empty": ("", "no \\data\\ line"),
    "no arpa": ("hello\nworld\n", "no \\data\\ line"),
    "order 0": ("\\data\\\n\n\\end\\\n", "order is 0"),
    "cut off in a section": (ARPA[: ARPA.index("-0.8\tb")], "promises 5 1-grams and ends after 4"),
    "cut off before a section": (ARPA[: ARPA.index("\\3-grams")], "\\3-grams: is expected"),
    "cut off before the end": (ARPA.replace("\\end\\\n", ""), "\\end\\ is expected"),
    "count too high": (ARPA.replace("ngram 2=3", "ngram 2=4"), "line 17: a 2-gram with"),
    "count too low": (ARPA.replace("ngram 2=3", "ngram 2=2"), "more 2-grams than said"),
    "counts out of order": (ARPA.replace("ngram 2", "ngram 7"), "'ngram 2=COUNT' is expected"),
    "no </s>": (ARPA.replace("</s>", "END"), "has no </s>"),
    "no <s>": (ARPA.replace("<s>", "BEGIN"), "has no <s>"),
    "no number": (ARPA.replace("-0.7\t", "abc\t"), "line 9: 'abc' is no logarithm"),
    "NaN": (ARPA.replace("-0.7\t", "nan\t"), "line 9: 'nan' is no logarithm"),
    "unknown word in a bigram": (ARPA.replace("\ta b\t", "\ta q\t"), "not among the 1-grams"),
    "word twice": (ARPA.replace("\tb\t-0.2", "\ta\t-0.2"), "'a' stands twice"),
    "n-gram twice": (ARPA.replace("\ta b\t", "\t<s> a\t"), "n-gram '<s> a' twice"),
    "context missing": (ARPA.replace("\t<s> a b", "\tb a b"), "has the context 'b a'"),
    "not UTF-8": (ARPA.encode().replace(b"\tb\t", b"\t\xff\t"), "line 11: b'\\xff' is not UTF-8"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_arpa_is_explained(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    with pytest.raises(LanguageModelError) as caught:
        read_arpa(write(tmp_path, content))
    assert message in str(caught.value)
    assert "lm.arpa" in str(caught.value)


def test_truncated_files_are_explained(tmp_path: Path) -> None:
    for pack, ending in ((gzip, "gz"), (bz2, "bz2")):
        path = write(tmp_path, pack.compress(ARPA.encode())[:-20], f"lm.arpa.{ending}")
        with pytest.raises(LanguageModelError, match="damaged or cut off"):
            read_arpa(path)


def test_damaged_compiled_model_is_explained(tmp_path: Path, model: NgramModel) -> None:
    path = tmp_path / "lm.ngram"
    model.save(path)
    path.write_bytes(path.read_bytes()[:-70])
    with pytest.raises(LanguageModelError, match="damaged or cut off"):
        load_ngram(path)
    with pytest.raises(LanguageModelError, match="no language model at"):
        load_ngram(tmp_path / "absent.ngram")
    with pytest.raises(LanguageModelError, match="no compiled language model"):
        load_compiled(write(tmp_path, ARPA))
    (tmp_path / "empty").mkdir()
    with pytest.raises(LanguageModelError, match="holds 0 language models"):
        load_ngram(tmp_path / "empty")
