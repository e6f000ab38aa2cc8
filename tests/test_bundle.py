"""Bundles: exact round trip; every missing or damaged file is named; nothing of theirs is run."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.bundle import Bundle, BundleError, load_bundle, save_bundle
from asr.card import model_card
from asr.describe import describe
from asr.pronunciation import read_lexicon
from asr.tokenizer import BLANK, BpeTokenizer


@pytest.fixture
def saved(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_bundle, tmp_path / "model")


def test_round_trip(tiny_bundle: Bundle, saved: Path) -> None:
    loaded = load_bundle(saved)
    assert loaded.tokenizer == tiny_bundle.tokenizer
    assert loaded.model.config == tiny_bundle.model.config
    assert loaded.training == tiny_bundle.training
    assert not loaded.model.training
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])
    torch.testing.assert_close(
        loaded.model(waveform, length).log_probs, tiny_bundle.model(waveform, length).log_probs
    )


def test_it_is_four_plain_files(saved: Path) -> None:
    names = {"config.json", "tokens.json", "model.safetensors", "README.md"}
    assert {path.name for path in saved.iterdir()} == names
    assert not any(b"asr." in path.read_bytes() for path in saved.glob("*.json"))


def test_phones_and_how_words_are_said_come_along(phone_bundle: Bundle, tmp_path: Path) -> None:
    assert phone_bundle.lexicon is not None
    said = read_lexicon(phone_bundle.lexicon, phone_bundle.phones)
    saved = save_bundle(phone_bundle, tmp_path / "with-phones")
    loaded = load_bundle(saved)
    assert loaded.phones == phone_bundle.phones
    assert loaded.lexicon == saved / "lexicon.txt.xz"
    assert read_lexicon(loaded.lexicon, loaded.phones).words == said.words
    assert "phones" in model_card(loaded)
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])
    torch.testing.assert_close(
        loaded.model(waveform, length).phones, phone_bundle.model(waveform, length).phones
    )
    again = save_bundle(loaded, saved)  # onto itself
    assert load_bundle(again).model_id == loaded.model_id
    (saved / "lexicon.txt.xz").write_bytes(b"a AX\n")
    with pytest.raises(BundleError, match=r"lexicon\.txt\.xz is damaged"):
        load_bundle(saved)
    (saved / "lexicon.txt.xz").unlink()
    with pytest.raises(BundleError, match=r"lexicon\.txt\.xz is missing"):
        load_bundle(saved)


def test_id_follows_the_content(tiny_bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    same = load_bundle(save_bundle(tiny_bundle, tmp_path / "same")).model_id
    assert same == load_bundle(saved).model_id
    with torch.no_grad():
        tiny_bundle.model.head.linear.bias += 1
    assert load_bundle(save_bundle(tiny_bundle, tmp_path / "other")).model_id != same


@pytest.mark.parametrize("name", ["config.json", "tokens.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(saved)


@pytest.mark.parametrize("name", ["config.json", "tokens.json", "model.safetensors"])
def test_a_truncated_file_is_named(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=f"{name}.*damaged"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder", {"hidden_size": 9}),
        ("encoder", {"num_layers": 2.5}),
        ("features", {"n_fft": 512.5}),
        ("encoder", {"_target_": "os.system"}),
        ("features", {"kind": "raw"}),
        ("normalizer", "no-such-normaliser"),
        ("tokenizer", "words"),
        ("tokenizer", "bpe"),
        ("training", {"epochs": 1, "surprise": 2}),
        ("format_version", 99),
    ],
)
def test_a_changed_configuration_is_refused(saved: Path, key: str, value: object) -> None:
    config = json.loads((saved / "config.json").read_text())
    config[key] = value
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError):
        load_bundle(saved)


def test_a_bundle_from_before_the_options_were_there(tiny_bundle: Bundle, saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    del config["tokenizer"], config["encoder"]["recurrent_dropout"]
    del config["encoder"]["projection_size"]
    (saved / "config.json").write_text(json.dumps(config))
    loaded = load_bundle(saved)
    assert loaded.tokenizer == tiny_bundle.tokenizer
    assert loaded.model.config == tiny_bundle.model.config


def test_pieces_of_words_are_kept_as_plain_text(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of sentencepiece's, and no need of it."""
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    tokens = (BLANK, "th", "▁th", "▁the", "▁", *"abcdefghijklmnopqrstuvwx")
    bundle = Bundle(tiny_bundle.model, BpeTokenizer(tokens))
    path = save_bundle(bundle, tmp_path / "pieces")
    assert {file.name for file in path.iterdir()} == {
        "config.json", "tokens.json", "model.safetensors", "README.md",
    }  # fmt: skip
    assert load_bundle(path).tokenizer == bundle.tokenizer
    assert "BPE pieces" in (path / "README.md").read_text("utf-8")
    assert "characters, text" in model_card(tiny_bundle)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model at"):
        load_bundle(tmp_path / "none")
    with pytest.raises(BundleError, match=r"config\.json is missing"):
        load_bundle(tmp_path)


def test_saving_replaces_a_bundle_but_nothing_else(tiny_bundle: Bundle, saved: Path) -> None:
    save_bundle(tiny_bundle, saved)
    other = saved.parent / "notes"
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    with pytest.raises(BundleError, match="is no bundle"):
        save_bundle(tiny_bundle, other)
    assert (other / "diary.txt").read_text() == "mine"
    (other / "config.json").write_text('{"name": "a project of another kind"}')
    (other / "tokens.json").write_text("[]")
    with pytest.raises(BundleError, match="is no bundle"):
        save_bundle(tiny_bundle, other)
    with pytest.raises(BundleError, match="cannot write the model .*diary"):
        save_bundle(tiny_bundle, other / "diary.txt" / "model")


def test_a_damaged_bundle_is_known_as_one(saved: Path) -> None:
    (saved / "config.json").write_text("{")
    with pytest.raises(BundleError, match=r"config\.json is damaged"):
        describe(saved)


def test_saving_where_one_stands_or_through_a_link(
    tiny_bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what else is in the folder stays there."""
    (saved / "tuned").mkdir()
    (saved / "tuned/notes.txt").write_text("mine")
    (saved.parent / "link").symlink_to(saved)
    save_bundle(replace(tiny_bundle, weights="float16"), saved.parent / "link")
    assert load_bundle(saved).weights == "float16"
    monkeypatch.chdir(saved)
    save_bundle(tiny_bundle, ".")
    assert load_bundle(saved).weights == "float32"
    assert (saved / "tuned/notes.txt").read_text() == "mine"
    assert {path.name for path in saved.parent.iterdir()} == {saved.name, "link"}


def test_a_failed_save_leaves_the_old_bundle(
    tiny_bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("asr.bundle.model_card", no_space)
    with pytest.raises(BundleError, match="no space"):
        save_bundle(tiny_bundle, saved)
    load_bundle(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    shutil.rmtree(saved)
