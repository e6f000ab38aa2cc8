"""Intervals that cover, tests that agree with NIST's."""

import math
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from asr.scoring import CorpusScore, score
from asr.significance import (
    expanded_percentiles,
    holm,
    mapsswe,
    paired_bootstrap,
    resampled_rates,
    segment_errors,
    student_quantile,
    wer_interval,
)


def test_coverage_over_speakers_is_95_percent() -> None:
    """1,000 test sets of 40 speakers whose true rates differ: the interval holds the truth in
    93.5 to 96.5 % of them (standard error of the simulation 0.7 %)."""
    generator = np.random.default_rng(0)
    covered, trials, speakers = 0, 1000, 40
    truth = 0.15
    for trial in range(trials):
        words = generator.integers(200, 600, speakers)
        rates = generator.beta(6, 34, speakers)
        errors = generator.binomial(words, rates)
        sums = resampled_rates(errors, words, samples=1000, seed=trial)
        low, high = expanded_percentiles(sums, speakers)
        covered += low <= truth <= high
    assert 0.935 <= covered / trials <= 0.965


def test_few_speakers_widen_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    low, high = expanded_percentiles(values, 10)
    expected = student_quantile(0.95, 9) * math.sqrt(10 / 9)
    assert (-low, high) == (pytest.approx(expected, rel=0.05), pytest.approx(expected, rel=0.05))
    assert math.isnan(expanded_percentiles(values, 1)[0])


@pytest.mark.parametrize(
    ("degrees", "t"), [(1, 12.7062), (2, 4.3027), (9, 2.2622), (40, 2.0211), (2000, 1.9612)]
)
def test_student_quantiles_equal_the_tables(degrees: int, t: float) -> None:
    assert student_quantile(0.95, degrees) == pytest.approx(t, abs=6e-5)


@pytest.mark.parametrize("spread", [0, 1], ids=["many equal units", "no two units equal"])
def test_spread_of_the_samples_is_the_standard_error(spread: int) -> None:
    """Equal units are drawn by multinomial counts, others one by one; both are a bootstrap, whose
    deviation comes to that of a ratio by the delta method."""
    generator = np.random.default_rng(1)
    words = 1000 + spread * np.arange(2000)
    errors = generator.binomial(words, 0.2) if spread else 200 + generator.integers(0, 3, 2000)
    rates = resampled_rates(errors, words, samples=4000, seed=0)
    rate = errors.sum() / words.sum()
    expected = (errors - rate * words).std() / words.mean() / math.sqrt(2000)
    assert rates.std() == pytest.approx(expected, rel=0.05)
    assert rates.mean() == pytest.approx(rate, abs=4 * expected / math.sqrt(4000))


def test_interval_is_over_speakers_where_there_are_enough() -> None:
    result = _system(0, speakers=8)
    assert wer_interval(result, samples=500).unit == "speaker"
    assert wer_interval(result, samples=500).num_units == 8
    assert wer_interval(_system(0, speakers=3), samples=500).unit == "utterance"


def test_same_seed_same_interval() -> None:
    result = _system(0)
    assert wer_interval(result, samples=500) == wer_interval(result, samples=500)
    assert wer_interval(result, samples=500) != wer_interval(result, samples=500, seed=1)


def test_interval_agrees_with_kaldialign() -> None:
    kaldialign = pytest.importorskip("kaldialign")
    result = _system(0, speakers=1, utterances=800)
    theirs = kaldialign.bootstrap_wer_ci(
        [one.reference.split() for one in result.utterances],
        [one.hypothesis.split() for one in result.utterances],
    )
    ours = wer_interval(result)
    assert ours.low == pytest.approx(theirs["ci95min"], abs=0.1 * theirs["ci95"])
    assert ours.high == pytest.approx(theirs["ci95max"], abs=0.1 * theirs["ci95"])


def test_interval_equals_the_normal_one_on_many_utterances() -> None:
    """A ratio's standard error by the delta method: what any bootstrap must come to."""
    result = _system(0, speakers=1, utterances=800)
    rows = np.array([(one.words.errors, one.words.num_reference) for one in result.utterances])
    errors, words = rows.T
    residual = errors - result.wer * words
    error = residual.std() / words.mean() / math.sqrt(len(rows))
    interval = wer_interval(result)
    assert interval.low == pytest.approx(result.wer - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(result.wer + 1.96 * error, abs=0.1 * error)


def test_paired_bootstrap_knows_the_better_system() -> None:
    bootstrap = paired_bootstrap(_system(0), _system(1, rate=0.05), samples=1000)
    assert bootstrap.difference < 0
    assert bootstrap.interval.high < 0
    assert bootstrap.probability_b_better == 1.0


def test_paired_bootstrap_of_a_system_with_itself() -> None:
    bootstrap = paired_bootstrap(_system(0), _system(0), samples=500)
    assert (bootstrap.difference, bootstrap.probability_b_better) == (0.0, 0.5)


def test_segments_are_closed_by_two_words_that_both_have_right() -> None:
    """reference  a b c d e f g h
    A errs on b and e (c d between: two good words close the first segment) and inserts after h;
    B errs on e and on g (one good word between does not)."""
    reference = "a b c d e f g h"
    a = score({"u": reference}, {"u": "a X c d X f g h Y"}).utterances[0]
    b = score({"u": reference}, {"u": "a b c d X f X h"}).utterances[0]
    assert segment_errors(a, b) == [(1, 0), (2, 2)]


def test_mapsswe_by_hand() -> None:
    """Segments (2, 0), (1, 0), (0, 1): differences 2, 1, -1, mean 2/3, deviation 1.5275."""
    references = {"u": "a b c d", "v": "e f", "w": "g h"}
    a = score(references, {"u": "X Y c d", "v": "X f", "w": "g h"})
    b = score(references, {"u": "a b c d", "v": "e f", "w": "g X"})
    test = mapsswe(a, b)
    assert test.num_segments == 3
    assert test.z == pytest.approx((2 / 3) / (1.52753 / math.sqrt(3)), rel=1e-4)
    assert test.p_value == pytest.approx(0.5286, abs=1e-4)  # Student's t of 0.7559, 2 degrees


def test_mapsswe_without_any_difference() -> None:
    test = mapsswe(_system(0), _system(0))
    assert (test.mean, test.z, test.p_value) == (0.0, 0.0, 1.0)


def test_mapsswe_equals_sc_stats(tmp_path: Path) -> None:
    """600 utterances without insertions at the end, which sc_stats overlooks in the second file."""
    if shutil.which("sctk") is None:
        pytest.skip("sc_stats (Debian package sctk) is not installed")
    systems = _system(0, utterances=600), _system(1, rate=0.13, utterances=600)
    test = mapsswe(*systems)
    _write_trn(tmp_path / "r.trn", {u.utterance_id: u.reference for u in systems[0].utterances})
    for name, system in zip("ab", systems, strict=True):
        _write_trn(
            tmp_path / f"{name}.trn", {u.utterance_id: u.hypothesis for u in system.utterances}
        )
        command = f"sctk sclite -s -i rm -r r.trn trn -h {name}.trn trn -o sgml -n {name}".split()
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    both = (tmp_path / "a.sgml").read_bytes() + (tmp_path / "b.sgml").read_bytes()
    command = ["sctk", "sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "x"]
    subprocess.run(command, cwd=tmp_path, input=both, capture_output=True, check=True)
    text = (tmp_path / "x.stats.mapsswe").read_text()
    found = re.search(r"# segs: (\d+)\).*mean: *(\S+)\).*std dev: *(\S+)\).*Z Stat: *(\S+)\)", text)
    assert found
    assert test.num_segments == int(found[1])
    assert test.mean == pytest.approx(float(found[2]), abs=6e-4)
    assert test.deviation == pytest.approx(float(found[3]), abs=6e-4)
    assert test.z == pytest.approx(float(found[4]), abs=6e-4)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9]) == [0.9]
    assert holm([]) == []


def _write_trn(path: Path, texts: dict[str, str]) -> None:
    path.write_text("".join(f"{text} ({name})\n" for name, text in texts.items()))


def _system(
    seed: int, *, rate: float = 0.15, speakers: int = 20, utterances: int = 200
) -> CorpusScore:
    """References by a fixed seed, errors by `seed`; insertions before a word, never at the end."""
    text, draw = random.Random(99), random.Random(seed)
    vocabulary = [f"w{number}" for number in range(2000)]
    names = [f"s{number % speakers}-{number}" for number in range(utterances)]
    references = {name: text.choices(vocabulary, k=text.randint(4, 20)) for name in names}
    hypotheses = {}
    for name, words in references.items():
        out: list[str] = []
        for word in words:
            chance = draw.random()
            if chance < 0.6 * rate:
                out.append(draw.choice(vocabulary))
            elif chance < 0.8 * rate:
                out += [draw.choice(vocabulary), word]
            elif chance > rate:
                out.append(word)
        hypotheses[name] = " ".join(out)
    return score(
        {name: " ".join(words) for name, words in references.items()},
        hypotheses,
        speakers={name: name.split("-")[0] for name in names},
        characters=False,
    )
