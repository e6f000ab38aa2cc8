"""English words as espeak-ng says them, in ARPAbet, and the command that writes lexicons."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
from language_bundle import write_language_model

from asr.cli import main
from asr.cli.lexicon import _words
from asr.corpora.pronounce import pronounce, to_arpabet
from asr.decoding.arpa import load_ngram
from asr.decoding.arpa_writer import write_arpa
from asr.pronunciation import read_lexicon

pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (extra demo)")

# As CMUdict has them, AX for AH without stress.
CMUDICT = {
    "speech": "S P IY CH", "their": "DH EH R", "there": "DH EH R", "a": "AX", "the": "DH AX",
    "thought": "TH AO T", "judge": "JH AH JH", "boy": "B OY", "house": "HH AW S", "good": "G UH D",
    "measure": "M EH ZH ER", "singing": "S IH NG IH NG", "young": "Y AH NG", "wife": "W AY F",
    "bird": "B ER D", "father": "F AA DH ER", "shoe": "SH UW", "vapor": "V EY P ER",
}  # fmt: skip


def test_words_are_said_as_cmudict_has_them() -> None:
    said = pronounce(CMUDICT)
    assert {word: " ".join(phones) for word, (phones,) in said.items()} == CMUDICT


def test_names_that_espeak_has_from_elsewhere_are_said() -> None:
    said = pronounce(["tolkien", "wii"])
    assert said == {"tolkien": (("T", "OW", "L", "K", "IY", "N"),), "wii": (("W", "IY"),)}


def test_words_without_a_pronunciation_are_left_out() -> None:
    assert set(pronounce(["speech", "''", "speech"])) == {"speech"}
    assert to_arpabet("b_'y_n") == ()  # French


def test_no_phone_comes_twice_in_a_row() -> None:
    assert to_arpabet("m_'e@_r_i_z") == ("M", "EH", "R", "IY", "Z")
    assert to_arpabet("D_@2 b_'3:_d") == ("DH", "AX", "B", "ER", "D")


def test_the_command_takes_language_models_texts_and_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    (tmp_path / "text.txt").write_text("Blue skies!\n")
    entry = {"audio_filepath": "x.wav", "text": "Tomato", "duration": 1.0}
    (tmp_path / "train.jsonl").write_text(json.dumps(entry) + "\n")
    (tmp_path / "base.txt").write_text("tomato T AX M AA T OW\nunused Y UW\n")
    out = tmp_path / "lexicon.txt.gz"
    sources = [lm, tmp_path / "text.txt", tmp_path / "train.jsonl"]
    with pytest.raises(SystemExit) as stopped:
        main(["lexicon", *map(str, sources), "--base", str(tmp_path / "base.txt"), "-o", str(out)])
    assert stopped.value.code == 0
    lexicon = read_lexicon(out)
    assert {"fox", "dog", "quick", "blue", "skies", "tomato"} <= lexicon.words.keys()
    assert "unused" not in lexicon.words
    assert lexicon.words["tomato"] == (("T", "AX", "M", "AA", "T", "OW"),)
    assert lexicon.words["fox"] == (("F", "AA", "K", "S"),)
    assert f"{len(lexicon.words)} words" in capsys.readouterr().out


def test_a_compressed_arpa_file_is_a_language_model(tmp_path: Path) -> None:
    model = load_ngram(write_language_model(tmp_path / "lm.ngram"))
    write_arpa(model, tmp_path / "lm.arpa")
    content = (tmp_path / "lm.arpa").read_bytes()
    for pack, ending in ((gzip, "gz"), (lzma, "xz"), (bz2, "bz2")):
        path = tmp_path / f"lm.arpa.{ending}"
        path.write_bytes(pack.compress(content))
        assert set(_words(path, "asr-en-1", 0)) == set(model.words) - {"<unk>", "<s>", "</s>"}


def test_the_place_of_the_lexicon_is_looked_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("red\n")
    command = ["lexicon", str(tmp_path / "text.txt"), "-o"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, str(tmp_path / "new/lexicon.txt")])
    assert stopped.value.code == 0
    assert set(read_lexicon(tmp_path / "new/lexicon.txt").words) == {"red"}
    monkeypatch.setattr("asr.corpora.pronounce.pronounce", lambda words: pytest.fail("too late"))
    with pytest.raises(SystemExit) as stopped:
        main([*command, str(tmp_path / "text.txt/lexicon.txt")])
    assert stopped.value.code == 3
    assert "cannot write" in capsys.readouterr().err


def test_words_that_cannot_be_said_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("red ''\n")
    out = str(tmp_path / "lexicon.txt")
    with pytest.raises(SystemExit) as stopped:
        main(["lexicon", str(tmp_path / "text.txt"), "--normalizer", "none", "-o", out])
    assert stopped.value.code == 1
    assert "1 words have no English pronunciation: ''" in capsys.readouterr().err
    assert set(read_lexicon(out).words) == {"red"}
    (tmp_path / "text.txt").write_text("''\n")
    with pytest.raises(SystemExit) as stopped:
        main(["lexicon", str(tmp_path / "text.txt"), "--normalizer", "none", "-o", out])
    assert stopped.value.code == 3
