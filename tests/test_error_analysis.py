"""scripts/error_analysis.py: each table on texts whose answer can be counted by hand."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import REPOSITORY
from language_bundle import write_language_model, write_noise_manifest

from asr.bundle import Bundle, Decoding, save_bundle
from asr.decoding.arpa import load_ngram
from asr.decoding.hypothesis import LogProbs
from asr.export import export_bundle
from asr.manifest import Utterance
from asr.scoring import CorpusScore, score
from asr.transcribe import Recognizer, load_model

TRUTH = {"1": "the quick fox", "2": "a lazy dog"}


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    import error_analysis

    return error_analysis


@pytest.fixture
def recognizer(tiny_bundle: Bundle, tmp_path: Path) -> Recognizer:
    saved = save_bundle(replace(tiny_bundle, decoding=Decoding(0.5, 1.0, 8)), tmp_path / "saved")
    lm = write_language_model(tmp_path / "lm.ngram")
    return load_model(export_bundle(saved, tmp_path / "model", lm=lm))


def heard(first: str, second: str) -> CorpusScore:
    return score(TRUTH, {"1": first, "2": second})


def rows(said: str) -> dict[str, list[str]]:
    """Cells by the first cell of their line."""
    lines = re.findall(r"^\| (.+) \|$", said, flags=re.MULTILINE)
    return {cells[0]: cells[1:] for cells in (line.split(" | ") for line in lines)}


def test_words_are_counted_by_what_training_heard(
    analysis: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy, best = heard("the quik fox", "a dog"), heard("the quick fix", "a lazy dog")
    often = {"the": 100, "a": 100, "fox": 9, "dog": 1}
    analysis.print_words("heard", greedy, best, lambda word: often.get(word, 0), (1, 10, 100))
    found = rows(capsys.readouterr().out)
    assert found["0"] == ["33.3", "100.0", "0.0"]  # quick and lazy
    assert found["1 to 9"] == ["33.3", "0.0", "50.0"]
    assert found["10 to 99"] == ["0.0", "0.0", "0.0"]
    assert found["100 and more"] == ["33.3", "0.0", "0.0"]


def test_what_the_language_model_mends_and_spoils(
    analysis: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy, best = heard("the quik fox", "a lazy fog"), heard("the quick fox", "o lacey dogs")
    analysis.print_mended(greedy, best)
    analysis.print_nearness(greedy, best)
    found = rows(capsys.readouterr().out)
    assert found["mended by the language model"] == ["16.7"]
    assert found["spoilt by the language model"] == ["33.3"]
    assert found["wrong with both"] == ["16.7"]
    assert found["1"] == ["100.0", "66.7"]
    assert found["2"] == ["0.0", "33.3"]


def decoded(analysis: ModuleType, recognizer: Recognizer, spoken: str, *n_best: str) -> object:
    """An utterance 1 or 2 whose log-probabilities say `spoken` clearly."""
    tokens = recognizer.bundle.tokenizer.encode(spoken)
    logits = np.zeros((2 * len(tokens) + 1, recognizer.bundle.tokenizer.vocab_size), np.float32)
    for frame in range(len(logits)):
        logits[frame, tokens[frame // 2] if frame % 2 else 0] = 12
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    utterance = Utterance("1" if "fox" in n_best[-1] else "2", Path("x"), "", 1.0)
    return analysis.Decoded(utterance, LogProbs(log_probs), "", n_best)


def test_the_oracle_takes_the_nearest_of_the_first_n(
    analysis: ModuleType, recognizer: Recognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    ones = [
        decoded(analysis, recognizer, "a", "the dog", "the fox", "the quick fox"),
        decoded(analysis, recognizer, "a", "a dog", "a lazy dog"),
    ]
    analysis.print_oracle(ones, TRUTH)
    found = rows(capsys.readouterr().out)
    assert (found["1"], found["4"]) == (["50.0"], ["0.0"])


def test_whose_error_it_is(
    analysis: ModuleType, recognizer: Recognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    model = recognizer.bundle.language_model
    assert model is not None
    ngram = load_ngram(model)
    truth = {"1": "the zebra fox", "2": "a lazy dog"}
    ones = [
        decoded(analysis, recognizer, "a lazy dog", "a lazy dog"),
        decoded(analysis, recognizer, "a lazy dog", "o a dog"),
        decoded(analysis, recognizer, "o lazy dog", "o lazy dog"),
        decoded(analysis, recognizer, "the fox", "the fox"),
    ]
    analysis.print_culprits(ones, truth, recognizer, ngram)
    found = rows(capsys.readouterr().out)
    for whose in ("none", "search", "network", "vocabulary"):
        (label,) = (label for label in found if label.startswith(whose))
        assert found[label] == ["1", "25.0"]


def test_all_of_it_on_a_small_model(
    analysis: ModuleType,
    recognizer: Recognizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data").mkdir()
    manifest = write_noise_manifest(tmp_path / "data", 4)
    manifest.rename(tmp_path / "data/dev-clean.jsonl")
    (tmp_path / "data/heard.jsonl").write_bytes((tmp_path / "data/dev-clean.jsonl").read_bytes())
    analysis.main(
        ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "data"), "--fit", "4",
         "--trained-on", "heard"]
    )  # fmt: skip
    found = rows(capsys.readouterr().out)
    assert found["dev-clean"] == found["heard"]
    assert len([label for label in found if label.startswith("speech")]) == 1
