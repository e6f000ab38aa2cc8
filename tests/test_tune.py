"""Tuning: trials are what evaluation would find, the best is written, and what cannot be is said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from language_bundle import write_language_model, write_noise_manifest, write_rescorer

from asr.bundle import Bundle, Decoding, load_bundle, save_bundle
from asr.cli import main
from asr.confidence import JudgedWord, confidence_quality, fit_calibration
from asr.decoding.beam_options import OVER_PHONES
from asr.errors import AsrError, UsageError
from asr.evaluate import evaluate
from asr.manifest import read_manifest, write_manifest
from asr.transcribe import Recognizer, load_model
from asr.tune import tune, write_tuning
from asr.tune_report import tuning_table
from asr.tuning import CalibrationTrial, Grid, Trial, Tuning

GRID = Grid((0.5, 1.0), (0.0, 2.0), beam_size=4, more_beam_sizes=(2, 4, 8))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_noise_manifest(tmp_path, 4)


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "lm.ngram")


def test_a_trial_is_what_evaluate_finds(
    tiny_bundle: Bundle, manifest: Path, lm: Path, tmp_path: Path
) -> None:
    said: list[tuple[int, int]] = []
    tuning = tune(
        manifest, Recognizer(tiny_bundle), lm, GRID, lambda done, total: said.append((done, total))
    )
    assert said == [(number, 6) for number in range(1, 7)]
    path = save_bundle(tiny_bundle, tmp_path / "model")
    greedy = evaluate(manifest, load_model(path, device="cpu"), tmp_path / "greedy")
    assert tuning.greedy_wer == greedy.score.wer
    for trial in (*tuning.surface, *tuning.beams):
        decoding = trial.decoding
        recognizer = load_model(
            path, device="cpu", lm=lm, beam_size=decoding.beam_size,
            lm_weight=decoding.lm_weight, word_bonus=decoding.word_bonus,
        )  # fmt: skip
        assert evaluate(manifest, recognizer, tmp_path / "beam").score.wer == trial.wer
    assert tuning.best.wer == min(trial.wer for trial in tuning.beams)
    assert [trial.decoding.beam_size for trial in tuning.beams] == [2, 4, 8]


def test_phones_are_tuned_as_they_are_evaluated(
    phone_bundle: Bundle, manifest: Path, lm: Path, tmp_path: Path
) -> None:
    tuning = tune(manifest, Recognizer(phone_bundle), lm, GRID)
    path = save_bundle(phone_bundle, tmp_path / "model")
    write_tuning(path, tuning, lm)
    recognizer = load_model(path, device="cpu")
    assert recognizer.decoder.over_phones
    assert recognizer.decoder.beam is not None
    assert recognizer.decoder.beam.options.token_min_logp == OVER_PHONES.token_min_logp
    found = evaluate(manifest, recognizer, tmp_path / "report").score
    assert found.wer == tuning.best.wer


def test_a_second_pass_is_tuned_as_it_is_evaluated(
    phone_bundle: Bundle, manifest: Path, lm: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rnnlm = write_rescorer(tmp_path / "neural.safetensors", "o o o fox")
    grid = Grid((0.5,), (2.0,), beam_size=8, more_beam_sizes=(), rnnlm_shares=(0.9, 0.0, 0.3))
    said: list[tuple[int, int]] = []
    tuning = tune(
        manifest, Recognizer(phone_bundle), lm, grid, lambda done, total: said.append((done, total)),
        rnnlm=rnnlm,
    )  # fmt: skip
    assert said == [(1, 3), (2, 3), (3, 3)]
    trials = (*tuning.surface, *tuning.beams, *tuning.rescored)
    assert [one.decoding.rnnlm_share for one in trials] == [0.3, 0.3, 0, 0.3, 0.9]
    path = save_bundle(phone_bundle, tmp_path / "model")
    wers = []
    for one in trials:
        share = one.decoding.rnnlm_share
        recognizer = load_model(
            path, device="cpu", lm=lm, rnnlm=rnnlm, rnnlm_share=share, beam_size=8, lm_weight=0.5,
            word_bonus=2.0,
        )  # fmt: skip
        assert (recognizer.decoder.rescoring is None) == (share == 0)
        wers.append(evaluate(manifest, recognizer, tmp_path / "report").score.wer)
        assert wers[-1] == one.wer
    assert tuning.best.wer == min(wers)
    command = ["tune", manifest, "-m", path, "--lm", lm, "--rnnlm", rnnlm, "-o", tmp_path / "tuned"]
    command += [
        "--lm-weights",
        "0.5",
        "--word-bonuses",
        "2",
        "--beam-size",
        "8",
        "--beam-sizes",
        "8",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in (*command, "--rnnlm-shares", "0.9", "--write")])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "; with a second pass, share 0.9\n" in printed
    assert f"second pass, share 0.90: {100 * wers[4]:.2f}" in printed
    assert re.search(r"best: .* --rnnlm-share 0\.9 --views 1: WER", printed)
    bundle = load_bundle(path)
    assert bundle.decoding is not None
    assert bundle.decoding.rnnlm_share == 0.9
    assert bundle.rnnlm is not None
    assert bundle.rnnlm.read_bytes() == rnnlm.read_bytes()


def test_views_are_tuned_as_they_are_evaluated(
    phone_bundle: Bundle, manifest: Path, lm: Path, tmp_path: Path
) -> None:
    """The search hears them, greedy decoding does not; and a bundle's are tuned on."""
    grid = Grid((0.5,), (2.0,), beam_size=8, more_beam_sizes=(), views=2)
    tuning = tune(manifest, Recognizer(phone_bundle), lm, grid)
    once = tune(manifest, Recognizer(phone_bundle), lm, replace(grid, views=None))
    assert tuning.greedy_wer == once.greedy_wer
    assert tuning.greedy_confidence == once.greedy_confidence
    assert tuning.beam_confidence != once.beam_confidence
    assert (tuning.best.decoding.views, once.best.decoding.views) == (2, 1)
    assert "--beam-size 8 --acoustic-scale 1 --views 2: WER" in tuning_table(tuning)
    path = save_bundle(phone_bundle, tmp_path / "model")
    write_tuning(path, tuning, lm)
    found = evaluate(manifest, load_model(path, device="cpu"), tmp_path / "report").score
    assert found.wer == tuning.best.wer
    again = tune(manifest, Recognizer(load_bundle(path)), None, replace(grid, views=None))
    assert again.best == tuning.best
    assert again.beam_confidence == tuning.beam_confidence
    with pytest.raises(UsageError, match="views must be at least 1"):
        Grid(views=0)


def trial(lm_weight: float, word_bonus: float, beam_size: int, wer: float) -> Trial:
    return Trial(Decoding(lm_weight, word_bonus, beam_size), wer)


def calibrated() -> CalibrationTrial:
    words = [JudgedWord("a", 0.6, True), JudgedWord("b", 0.3, False)]
    calibration, before = fit_calibration(words), confidence_quality(words)
    assert calibration is not None
    assert before is not None
    after = confidence_quality(calibration.of(words))
    assert after is not None
    return CalibrationTrial(calibration, before, after)


def test_the_table_and_the_edge() -> None:
    surface = tuple(
        trial(weight, bonus, 4, wer)
        for (weight, bonus), wer in zip(
            [(0.5, 0.0), (1.0, 0.0), (0.5, 2.0), (1.0, 2.0)], [0.4, 0.3, 0.25, 0.2], strict=True
        )
    )
    beams = (trial(1.0, 2.0, 2, 0.2), trial(1.0, 2.0, 4, 0.2), trial(1.0, 2.0, 8, 0.21))
    tuning = Tuning(Path("dev.jsonl"), 7, 0.5, GRID, surface, beams, (), calibrated(), None, ())
    assert tuning.best.decoding.beam_size == 2  # among equals the smallest beam
    table = tuning_table(tuning).splitlines()
    assert table[0] == "WER in % on 7 utterances of dev.jsonl; greedy 50.00"
    assert table[2].split() == ["0", "40.00", "30.00"]
    assert table[3].split() == ["2", "25.00", "20.00"]
    assert (
        "best: --lm-weight 1 --word-bonus 2 --beam-size 2 --acoustic-scale 1 --views 1: WER 20.00 %"
        in tuning_table(tuning)
    )
    assert (
        "word confidence, greedy: AUC 1.000 -> 1.000, distance from accuracy 0.350 -> "
        in "\n".join(table)
    )
    assert not any("confidence, beam" in line for line in table)  # nothing recognised: nothing said
    assert tuning.edges == ("lm-weights", "word-bonuses")
    assert replace(tuning, grid=replace(GRID, rnnlm_shares=(0.5, 0.7))).edges == tuning.edges
    wide = replace(GRID, lm_weights=(0.5, 1.0, 2.0), word_bonuses=(2.0,))
    assert replace(tuning, grid=wide).edges == ()


def test_what_a_recognizer_would_cut_is_left_out(
    tiny_bundle: Bundle, manifest: Path, lm: Path
) -> None:
    utterances = read_manifest(manifest)
    long = replace(utterances[0], utterance_id="long", duration_s=52.0)
    write_manifest(manifest, [long, *utterances])
    tuning = tune(manifest, Recognizer(tiny_bundle), lm, GRID)
    assert tuning.num_utterances == len(utterances)
    assert tuning.failures == ("long: 52 s, longer than 36: left out",)
    write_manifest(manifest, [long])
    with pytest.raises(AsrError, match="all utterances are left out"):
        tune(manifest, Recognizer(tiny_bundle), lm, GRID)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for command in ("tune", "align"):
        with pytest.raises(SystemExit) as stopped:
            main([command, str(manifest), "-m", "nowhere", "-o", str(tmp_path / "file")])
        assert stopped.value.code == 3
        assert "cannot make the folder" in capsys.readouterr().err


def test_the_best_is_written_and_used(
    tiny_bundle: Bundle, manifest: Path, lm: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = save_bundle(tiny_bundle, tmp_path / "model")
    out = tmp_path / "tuned"
    command = ["tune", manifest, "-m", path, "--lm", lm, "-o", out, "--write"]
    grid = ["--lm-weights", "0.5,1", "--word-bonuses", "0", "--beam-size", "2"]
    grid += ["--acoustic-scale", "1.5"]
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in (*command, *grid, "--beam-sizes", "4")])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert re.search(r"best: --lm-weight .* --acoustic-scale 1\.5 --views 1: WER", printed)
    assert (out / "surface.png").read_bytes().startswith(b"\x89PNG")
    decoding = load_bundle(path).decoding
    assert decoding is not None
    assert decoding.lm_weight in (0.5, 1.0)
    recognizer = load_model(path, device="cpu")
    name = recognizer.decoder.name
    assert name.endswith(", acoustic scale 1.5")
    overridden = load_model(path, device="cpu", acoustic_scale=1.0).decoder.name
    assert name == f"{overridden}, acoustic scale 1.5"
    assert "acoustic scale 1.5" in (path / "README.md").read_text()
    assert name.startswith(f"beam {decoding.beam_size} + 2-gram (weight {decoding.lm_weight:g}")
    again = tune(manifest, load_model(path, device="cpu"), grid=Grid((1.0,), (0.0,), 2, ()))
    assert again.best.decoding.acoustic_scale == 1.5  # the bundle's own
    tuning = Tuning(manifest, 7, 0.5, GRID, (), (trial(3.0, 1.0, 8, 0.2),), (), None, None, ())
    write_tuning(path, tuning)  # the language model stays
    assert load_model(path, device="cpu").decoder.name == "beam 8 + 2-gram (weight 3, bonus 1)"
    assert json.loads((path / "config.json").read_text())["decoding"]["beam_size"] == 8


def test_what_cannot_be_is_said(tiny_bundle: Bundle, manifest: Path) -> None:
    with pytest.raises(UsageError, match="--lm"):
        tune(manifest, Recognizer(tiny_bundle))
    with pytest.raises(UsageError, match="at least one weight"):
        Grid(lm_weights=())
    with pytest.raises(UsageError, match="beam size"):
        Grid(more_beam_sizes=(0,))
    with pytest.raises(UsageError, match="weight"):
        Grid(lm_weights=(-1.0,))
    with pytest.raises(UsageError, match="0 to 1, not 1.5"):
        Grid(rnnlm_shares=(0.5, 1.5))
    with pytest.raises(UsageError, match="acoustic scale"):
        Grid(acoustic_scale=0.0)
