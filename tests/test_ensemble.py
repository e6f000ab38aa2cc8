"""scripts/ensemble.py: one network is itself, two are their mean."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import REPOSITORY
from language_bundle import write_language_model, write_noise_manifest

from asr.bundle import Bundle, Decoding, save_bundle
from asr.decoding.hypothesis import LogProbs
from asr.errors import UsageError
from asr.evaluate import evaluate
from asr.transcribe import load_model


@pytest.fixture
def ensemble(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    import ensemble

    return ensemble


def test_a_network_beside_itself_is_itself(
    ensemble: ModuleType, phone_bundle: Bundle, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    decoding = Decoding(0.7, 1.5, 16, views=2)
    model = save_bundle(
        replace(phone_bundle, language_model=lm, decoding=decoding), tmp_path / "model"
    )
    manifest = write_noise_manifest(tmp_path, 4)
    alone, greedy = load_model(model), load_model(model, decoder="greedy")
    expected = evaluate(manifest, alone, tmp_path / "report").score
    for networks in ([alone], [alone, greedy]):
        found = ensemble.evaluate(manifest, networks)
        assert [one.hypothesis for one in found.utterances] == [
            one.hypothesis for one in expected.utterances
        ]
    with pytest.raises(UsageError, match="needs a language model and phones"):
        ensemble.evaluate(manifest, [greedy])
    letters = load_model(save_bundle(tiny_bundle, tmp_path / "letters"))
    with pytest.raises(UsageError, match="different phones"):
        ensemble.evaluate(manifest, [alone, letters])


def test_the_mean_of_two_is_a_distribution(ensemble: ModuleType) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(5), (2, 7)).astype(np.float32)
    heard = [LogProbs(np.zeros((7, 3), np.float32), np.log(one)) for one in probabilities]
    expected = np.sqrt(probabilities[0] * probabilities[1])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(ensemble.mean(heard)), expected, rtol=1e-5)
