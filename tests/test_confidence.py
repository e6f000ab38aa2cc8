"""Word confidence: measured by hand counts and by an independent oracle, calibrated on made words."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from asr.confidence import (
    Calibration,
    JudgedWord,
    area_under_roc,
    confidence_quality,
    fit_calibration,
)


def made_words(count: int, truth: Calibration, seed: int = 0) -> list[JudgedWord]:
    """Words that are right with the chance that `truth` gives them."""
    random = np.random.default_rng(seed)
    words = []
    for length, confidence in zip(
        random.integers(1, 10, count), random.uniform(0.02, 0.98, count), strict=True
    ):
        text = "x" * int(length)
        is_right = bool(random.random() < truth([text], [float(confidence)])[0])
        words.append(JudgedWord(text, float(confidence), is_right))
    return words


def test_bins_counted_by_hand() -> None:
    """Two sure words, one of them right; one unsure word, wrong."""
    words = [JudgedWord("a", 1.0, True), JudgedWord("x", 0.95, False), JudgedWord("y", 0.25, False)]
    quality = confidence_quality(words)
    assert quality is not None
    low, high = quality.bins
    assert (low.num_words, low.accuracy, low.low) == (1, 0.0, 0.2)
    assert (high.num_words, high.accuracy, high.mean_confidence) == (2, 0.5, 0.975)
    assert quality.calibration_error == pytest.approx((0.25 + 2 * 0.475) / 3)
    assert quality.auc == 1.0


def test_no_words_and_words_of_one_kind() -> None:
    assert confidence_quality([]) is None
    assert fit_calibration([]) is None
    all_right = [JudgedWord("a", 0.5, True), JudgedWord("b", 0.7, True)]
    quality = confidence_quality(all_right)
    assert quality is not None
    assert quality.auc is None
    calibration = fit_calibration(all_right)
    assert calibration is not None
    assert 0.9 < calibration(["a"], [0.5])[0] <= 1
    assert calibration([], []) == []


def test_area_under_roc_equals_sklearn_with_ties() -> None:
    random = np.random.default_rng(1)
    values, right = random.integers(0, 20, 500) / 20, random.random(500) < 0.4
    assert area_under_roc(values, right) == pytest.approx(roc_auc_score(right, values), abs=1e-12)


def test_calibration_equals_sklearns_logistic_regression() -> None:
    words = made_words(2000, Calibration(0.7, 0.5, -1.0))
    found = fit_calibration(words)
    assert found is not None
    logits = np.array([np.log(word.confidence / (1 - word.confidence)) for word in words])
    lengths = np.log([len(word.text) for word in words])
    oracle = LogisticRegression(C=1e6).fit(
        np.column_stack([logits, lengths]), [word.is_right for word in words]
    )
    assert (found.slope, found.length_slope) == pytest.approx(oracle.coef_[0], abs=1e-3)
    assert found.offset == pytest.approx(oracle.intercept_[0], abs=1e-3)


def test_calibrated_confidence_is_the_share_of_right_words() -> None:
    """Fitted on some words, the figure holds on others."""
    truth = Calibration(0.5, 0.8, -0.5)
    calibration = fit_calibration(made_words(5000, truth))
    assert calibration is not None
    others = made_words(5000, truth, seed=1)
    before = confidence_quality(others)
    after = confidence_quality(calibration.of(others))
    assert before is not None
    assert after is not None
    assert after.calibration_error < 0.03 < before.calibration_error
    assert before.auc is not None
    assert after.auc is not None
    assert after.auc > before.auc


def test_certainty_stays_finite() -> None:
    calibration = Calibration(1.0, 0.0, 0.0)
    least, most = calibration(["a", ""], [0.0, 1.0])
    assert 0 < least < 0.001
    assert 0.999 < most < 1
