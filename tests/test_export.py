"""Copies of models: smaller, or with another language model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from language_bundle import write_language_model, write_rescorer
from spelling_bundle import PIECES, with_speller

from asr.bundle import (
    RNNLM_FILE,
    SHIPPED,
    Bundle,
    BundleError,
    Decoding,
    load_bundle,
    save_bundle,
)
from asr.card import model_card
from asr.cli import main
from asr.confidence import Calibration
from asr.decoding.arpa import load_ngram
from asr.decoding.ngram import LanguageModelError
from asr.decoding.packed import is_packed
from asr.errors import AsrError, UsageError
from asr.export import export_bundle
from asr.merge import averaged
from asr.model import AcousticModel
from asr.pronunciation import read_lexicon
from asr.rnnlm import load_rescorer
from asr.tokenizer import BpeTokenizer

TUNED = Decoding(0.7, 1.5, 16)


@pytest.fixture
def model(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    calibration = Calibration(1.0, 0.5, 0.1)
    bundle = replace(
        tiny_bundle, decoding=TUNED, greedy_calibration=calibration, beam_calibration=calibration
    )
    return save_bundle(bundle, tmp_path / "model")


def test_rounded_weights_stay_rounded_in_copies_of_the_copy(model: Path, tmp_path: Path) -> None:
    small = export_bundle(model, tmp_path / "small", weights="int8")
    again = export_bundle(small, tmp_path / "again")
    assert load_bundle(again).weights == "int8"
    assert (again / "model.safetensors").read_bytes() == (small / "model.safetensors").read_bytes()
    assert load_bundle(model).weights == "float32"
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])
    outputs = [load_bundle(path).model(waveform, length).log_probs for path in (model, small)]
    torch.testing.assert_close(*outputs, rtol=0, atol=0.1)


def test_the_neural_language_model_is_rounded_too(tmp_path: Path) -> None:
    files = [
        export_bundle("default", tmp_path / weights, weights=weights) / RNNLM_FILE
        for weights in ("float16", "int7")
    ]
    sizes = [file.stat().st_size for file in files]
    assert sizes[1] < 0.45 * sizes[0]
    text = [["a", "model", "of", "words"]]
    perplexities = [load_rescorer(file).perplexity(text) for file in files]
    assert perplexities[0] == pytest.approx(perplexities[1], rel=0.05)


def test_a_language_model_is_put_in_packed_and_left_out_again(model: Path, tmp_path: Path) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    with_lm = load_bundle(export_bundle(model, tmp_path / "with", lm=lm))
    assert with_lm.language_model is not None
    assert is_packed(with_lm.language_model)
    assert with_lm.language_model.stat().st_size < lm.stat().st_size
    scores = [load_ngram(path).score("a fox") for path in (with_lm.language_model, lm)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    assert with_lm.decoding == TUNED
    greedy = load_bundle(export_bundle(tmp_path / "with", tmp_path / "greedy", without_lm=True))
    assert greedy.language_model is greedy.decoding is greedy.beam_calibration is None
    assert greedy.greedy_calibration is not None


def test_a_neural_language_model_is_put_in_and_left_out_again(model: Path, tmp_path: Path) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    rnnlm = write_rescorer(tmp_path / "neural.safetensors")
    with_both = export_bundle(model, tmp_path / "both", lm=lm, rnnlm=rnnlm)
    assert (with_both / RNNLM_FILE).read_bytes() == rnnlm.read_bytes()
    copy = export_bundle(with_both, tmp_path / "copy")
    assert (copy / RNNLM_FILE).read_bytes() == rnnlm.read_bytes()
    without = export_bundle(with_both, tmp_path / "without", without_lm=True)
    assert not (without / RNNLM_FILE).exists()
    assert load_bundle(without).rnnlm is None
    with pytest.raises(LanguageModelError, match="no neural language model"):
        export_bundle(model, tmp_path / "wrong", rnnlm=lm)
    assert not (tmp_path / "wrong").exists()


def test_a_language_model_that_the_model_cannot_use_is_refused(model: Path, tmp_path: Path) -> None:
    upper = write_language_model(tmp_path / "upper.ngram", upper=True)
    with pytest.raises(LanguageModelError, match=r"upper\.ngram.*cannot spell"):
        export_bundle(model, tmp_path / "copy", lm=upper)
    assert not (tmp_path / "copy").exists()


def test_a_changed_language_model_is_refused(model: Path, tmp_path: Path) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    copy = export_bundle(model, tmp_path / "with", lm=lm)
    content = bytearray((copy / "lm.ngram").read_bytes())
    content[-1] ^= 1
    (copy / "lm.ngram").write_bytes(content)
    with pytest.raises(BundleError, match="lm.ngram is damaged"):
        load_bundle(copy)


def test_the_default_language_models_go_into_a_model(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    both = ["--lm", "default", "--rnnlm", "default"]
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(model), "-o", str(copy), *both])
    assert stopped.value.code == 0
    for name in ("lm.ngram", "rnnlm.safetensors"):
        assert (copy / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_a_copy_keeps_licences_and_says_whose_measurements_they_are(
    model: Path, tmp_path: Path
) -> None:
    card = model / "README.md"
    sections = "\n## Measured\n\n9 %\n\n## Data and licences\n\nCC0\n"
    card.write_text(card.read_text() + sections)
    copy = export_bundle(model, tmp_path / "copy", weights="int8")
    again = export_bundle(copy, tmp_path / "again")
    text = (again / "README.md").read_text()
    assert text.endswith(
        "## From the card of the model that this is a copy of, "
        f"{load_bundle(model).model_id}.\n{sections}"
    )
    assert text.count("copy of") == text.count("CC0") == 1


def test_a_rounded_model_does_not_pass_off_the_wer_of_another(tiny_bundle: Bundle) -> None:
    measured = replace(tiny_bundle, training=replace(tiny_bundle.training, dev_wer=0.5))
    assert "| 50.00 % |" in model_card(measured)
    rounded = replace(measured, weights="int8")
    assert "| 50.00 %, before the weights were rounded to int8 |" in model_card(rounded)


def test_a_copy_onto_itself(model: Path) -> None:
    export_bundle(model, model, weights="float16")
    assert load_bundle(model).weights == "float16"


def test_a_lexicon_goes_into_a_model_that_writes_phones(
    model: Path, phone_bundle: Bundle, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("fox f o x\n")
    saved = save_bundle(phone_bundle, tmp_path / "phones")
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(saved), "-o", str(tmp_path / "copy"), "--lexicon", str(mine)])
    assert stopped.value.code == 0
    copy = load_bundle(tmp_path / "copy")
    assert copy.lexicon is not None
    assert set(read_lexicon(copy.lexicon, copy.phones).words) == {"fox"}
    assert copy.phones == phone_bundle.phones
    mine.write_text("fox F AA K S\n")
    with pytest.raises(AsrError, match="the model has no phone 'F'"):
        export_bundle(saved, tmp_path / "wrong", lexicon=mine)
    with pytest.raises(UsageError, match="writes no phones"):
        export_bundle(model, tmp_path / "wrong", lexicon=mine)
    assert not (tmp_path / "wrong").exists()


def test_weights_are_averaged_with_those_of_other_models(
    tiny_bundle: Bundle, phone_bundle: Bundle, tmp_path: Path
) -> None:
    """Each as much as another; what was measured of the first is no longer said."""
    bundles = [tiny_bundle]
    for seed in (3, 4):
        torch.manual_seed(seed)
        model = AcousticModel(tiny_bundle.model.config).eval()
        bundles.append(replace(tiny_bundle, model=model))
    first, *others = (
        save_bundle(bundle, tmp_path / str(number)) for number, bundle in enumerate(bundles)
    )
    made = load_bundle(export_bundle(first, tmp_path / "mean", average=others))
    states = [bundle.model.state_dict() for bundle in bundles]
    for name, tensor in made.model.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([s[name] for s in states]).mean(0))
    assert load_bundle(others[0]).model_id in made.training.data
    assert made.training.dev_wer is None
    phones = save_bundle(phone_bundle, tmp_path / "phones")
    with pytest.raises(UsageError, match="cannot be averaged with"):
        export_bundle(first, tmp_path / "wrong", average=[phones])
    assert not (tmp_path / "wrong").exists()


def test_spellers_are_averaged_where_all_write_the_same_pieces(
    phone_bundle: Bundle, tmp_path: Path
) -> None:
    """Else the model's own stays as it is."""
    first, other = with_speller(phone_bundle), with_speller(phone_bundle, seed=5)
    alike, without = (
        save_bundle(bundle, tmp_path / name)
        for name, bundle in (("alike", other), ("without", phone_bundle))
    )
    pieces = BpeTokenizer((*PIECES.tokens[:-1], "aa"))
    otherwise = save_bundle(replace(other, pieces=pieces), tmp_path / "otherwise")
    own, theirs = first.model.state_dict(), other.model.state_dict()
    mean = {name: torch.stack([own[name], theirs[name]]).mean(0) for name in own}
    for others, expected in (([alike], mean), ([without], own), ([otherwise], own)):
        made = averaged(first, others)
        assert made.pieces == PIECES
        torch.testing.assert_close(dict(made.model.state_dict()), expected)
    assert not torch.equal(own["speller.linear.weight"], mean["speller.linear.weight"])


def test_the_speller_of_another_model_is_put_in(phone_bundle: Bundle, tmp_path: Path) -> None:
    torch.manual_seed(3)
    heard = AcousticModel(phone_bundle.model.config).eval()
    spelling = with_speller(replace(phone_bundle, model=heard))
    other = save_bundle(spelling, tmp_path / "other")
    plain = save_bundle(phone_bundle, tmp_path / "plain")
    with pytest.raises(SystemExit) as exit_info:
        main(["export", str(plain), "--speller", str(other), "-o", str(tmp_path / "made")])
    assert exit_info.value.code == 0
    made, own, theirs = (load_bundle(tmp_path / name) for name in ("made", "plain", "other"))
    for name, tensor in made.model.state_dict().items():
        source = theirs if name.startswith("speller.") else own
        assert torch.equal(tensor, source.model.state_dict()[name])
    assert made.pieces == theirs.pieces
    with pytest.raises(UsageError, match="has no speller"):
        export_bundle(plain, tmp_path / "wrong", speller=plain)


def test_what_goes_wrong_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="float32, float16, int8"):
        export_bundle(model, tmp_path / "out", weights="int4")
    with pytest.raises(AsrError, match="novels"):
        export_bundle(model, tmp_path / "out", lm=tmp_path / "novels")
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(BundleError, match="is no bundle; choose another folder"):
        export_bundle(model, mine)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "mine"}


def test_the_command_prints_the_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(model), "-o", str(tmp_path / "copy"), "--weights", "float16"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'copy' / 'model.safetensors'}  0.0" in printed
    assert " MB" in printed
