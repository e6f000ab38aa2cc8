"""Networks that hear along: a search and a speller read the mean of all, else the first hears alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from language_bundle import write_language_model, write_noise_manifest
from numpy.typing import NDArray
from processor import needs_bfloat16
from spelling_bundle import PIECES, with_speller

from asr.bundle import Bundle, BundleError, Decoding, load_bundle, save_bundle
from asr.card import model_card
from asr.cli import main
from asr.encoder import EncoderConfig
from asr.errors import UsageError
from asr.evaluate import evaluate
from asr.export import export_bundle
from asr.features import FeatureConfig
from asr.model import AcousticModel, ModelConfig
from asr.quantize import STORED
from asr.transcribe import Recognizer, load_model
from asr.tune import tune
from asr.tuning import Grid


def network_like(config: ModelConfig, seed: int) -> AcousticModel:
    torch.manual_seed(seed)
    return AcousticModel(config).eval()


@pytest.fixture
def second(phone_bundle: Bundle) -> Bundle:
    """Another network for the same phones, larger, with a front end of its own and a speller."""
    config = replace(
        phone_bundle.model.config,
        features=FeatureConfig(n_mfcc=13, max_hz=5500),
        encoder=EncoderConfig(conv_channels=8, hidden_size=12, num_layers=1),
        speller=EncoderConfig(conv_channels=8, hidden_size=8, num_layers=1),
        num_pieces=PIECES.vocab_size,
    )
    return replace(phone_bundle, model=network_like(config, 2), pieces=PIECES)


@pytest.fixture
def both(phone_bundle: Bundle, second: Bundle, tmp_path: Path) -> Path:
    """A bundle with both networks and a language model."""
    lm = write_language_model(tmp_path / "lm.ngram")
    first = replace(phone_bundle, language_model=lm, decoding=Decoding(0.7, 1.5, 16, views=2))
    save_bundle(first, tmp_path / "first")
    save_bundle(second, tmp_path / "second")
    return export_bundle(tmp_path / "first", tmp_path / "both", others=[tmp_path / "second"])


def noise(seed: int, seconds: float = 0.7) -> NDArray[np.float32]:
    samples = np.random.default_rng(seed).standard_normal(int(16_000 * seconds))
    return (0.1 * samples).astype(np.float32)


@pytest.mark.parametrize("views", [1, 2])
def test_phones_are_the_geometric_mean_of_all_networks(both: Path, views: int) -> None:
    together = Recognizer(load_bundle(both))
    alone = [Recognizer(load_bundle(both.parent / name)) for name in ("first", "second")]
    waveforms = [noise(0), noise(1, 0.9)]
    heard = together.log_probs(waveforms, "phones", views)
    for number, found in enumerate(heard):
        each = [one.log_probs(waveforms, "tokens", views)[number].phones for one in alone]
        assert each[0] is not None
        assert each[1] is not None
        expected = np.sqrt(np.exp(each[0]) * np.exp(each[1]))
        expected /= expected.sum(axis=1, keepdims=True)
        assert found.phones is not None
        np.testing.assert_allclose(np.exp(found.phones), expected, rtol=1e-4, atol=1e-6)
        assert not np.allclose(found.phones, each[0], atol=1e-2)


def test_a_network_counts_by_its_share(both: Path, tmp_path: Path) -> None:
    """3 to 1: log-probabilities of which the first's count three quarters, and another model by name."""
    weighted = load_bundle(export_bundle(both, tmp_path / "weighted", shares=(3, 1)))
    assert weighted.shares == (3.0, 1.0)
    assert weighted.model_id != load_bundle(both).model_id
    assert " M, shares 3 : 1 |" in model_card(weighted)
    (found,) = Recognizer(weighted).log_probs([noise(0)], "phones")
    each = [
        Recognizer(load_bundle(both.parent / name)).log_probs([noise(0)])[0].phones
        for name in ("first", "second")
    ]
    assert each[0] is not None
    assert each[1] is not None
    expected = np.exp(0.75 * each[0] + 0.25 * each[1])
    expected /= expected.sum(axis=1, keepdims=True)
    assert found.phones is not None
    np.testing.assert_allclose(np.exp(found.phones), expected, rtol=1e-4, atol=1e-6)


def test_shares_go_with_their_networks(both: Path, tmp_path: Path) -> None:
    weighted = export_bundle(both, tmp_path / "weighted", shares=(3, 1))
    for name, options, shares in (
        ("copy", {}, (3.0, 1.0)),
        ("other", {"shares": (1, 2)}, (1.0, 2.0)),
        ("alone", {"alone": True}, ()),
        ("three", {"others": [both.parent / "second"]}, ()),
        ("again", {"others": [both.parent / "second"], "shares": (1, 1, 2)}, (1.0, 1.0, 2.0)),
    ):
        copied = export_bundle(weighted, tmp_path / name, **options)  # type: ignore[arg-type]
        assert load_bundle(copied).shares == shares


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((1, 2, 3), "2 networks hear together, and 3 have a share"),
        ((1, 0), "above 0"),
        ((1,), "and 1"),
    ],
)
def test_shares_of_other_networks_are_refused(
    both: Path,
    tmp_path: Path,
    shares: tuple[float, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError, match=message):
        export_bundle(both, tmp_path / "weighted", shares=shares)
    assert not (tmp_path / "weighted").exists()
    text = " ".join(map(str, shares))
    command = ["export", str(both), "-o", str(tmp_path / "weighted"), "--shares"]
    for given, said in ((text, message), ("one two", "--shares takes numbers")):
        with pytest.raises(SystemExit, match="2"):
            main([*command, given])
        assert said in capsys.readouterr().err
    config = json.loads((both / "config.json").read_text())
    (both / "config.json").write_text(json.dumps(config | {"shares": shares}))
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(both)


def test_a_speller_reads_the_mean(both: Path) -> None:
    made = with_speller(load_bundle(both))
    recognizer = Recognizer(made)
    assert made.model.speller is not None
    (found,), (heard,) = (
        recognizer.log_probs([noise(0)], wanted) for wanted in ("spelling", "phones")
    )
    (first,) = Recognizer(replace(made, others=())).log_probs([noise(0)])
    assert heard.phones is not None
    assert found.spelling is not None
    lengths = torch.tensor([len(heard.phones)])
    with torch.inference_mode():
        expected, _ = made.model.speller(torch.from_numpy(heard.phones)[None], lengths)
    np.testing.assert_allclose(found.spelling, expected[0], atol=1e-5)
    assert not np.allclose(found.spelling, first.spelling, atol=1e-3)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.tokens, first.tokens)
    assert recognizer.decoder.settings == "greedy, 2 networks"
    assert "networks" not in Recognizer(replace(made, others=())).decoder.settings


def test_what_reads_no_phones_is_heard_by_the_first_alone(both: Path) -> None:
    together, alone = (Recognizer(load_bundle(path)) for path in (both, both.parent / "first"))
    for wanted in ("spelling", "tokens"):
        (found,), (expected,) = (one.log_probs([noise(0)], wanted) for one in (together, alone))
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_array_equal(found.phones, expected.phones)  # type: ignore[arg-type]
    assert "networks" not in load_model(both, decoder="greedy").decoder.settings


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16), "int8"]
)
def test_a_network_beside_itself_is_itself(both: Path, precision: str, tmp_path: Path) -> None:
    first = both.parent / "first"
    twice = export_bundle(first, tmp_path / "twice", others=[first])
    waveforms = [noise(0), noise(1)]
    found, expected = (
        load_model(path, device="cpu", precision=precision).decodable(waveforms)
        for path in (twice, first)
    )
    for one, other in zip(found, expected, strict=True):
        assert one.phones is not None
        np.testing.assert_allclose(one.phones, other.phones, atol=1e-5)  # type: ignore[arg-type]


def test_the_search_reads_the_mean(both: Path, tmp_path: Path) -> None:
    manifest = write_noise_manifest(tmp_path, 4)
    recognizer = load_model(both, device="cpu")
    assert recognizer.decoder.name.endswith(", 2 networks, 2 views")
    heard = [recognizer.log_probs([noise(0)], "phones", 2)[0]]
    (expected,) = recognizer.decoder.decode_batch(heard)
    assert recognizer.transcribe_batch([noise(0)])[0].text == (
        recognizer.to_transcript(expected, 0.7).text
    )
    letters = load_model(both, device="cpu", unknown_penalty=5.0)
    assert "networks" not in letters.decoder.name
    report = json.loads(_evaluated(manifest, recognizer, tmp_path).read_text("utf-8"))
    assert report["system"]["num_parameters"] == sum(
        load_bundle(both.parent / name).model.num_parameters
        - (0 if name == "first" else _speller_size(both.parent / name))
        for name in ("first", "second")
    )


def _speller_size(path: Path) -> int:
    speller = load_bundle(path).model.speller
    assert speller is not None
    return sum(parameter.numel() for parameter in speller.parameters())


def _evaluated(manifest: Path, recognizer: Recognizer, folder: Path) -> Path:
    evaluate(manifest, recognizer, folder / "report")
    return folder / "report/report.json"


def test_networks_are_tuned_as_they_are_evaluated(both: Path, tmp_path: Path) -> None:
    manifest = write_noise_manifest(tmp_path, 4)
    grid = Grid((0.5, 1.0), (0.0,), beam_size=8, more_beam_sizes=(), views=1)
    tuning = tune(manifest, Recognizer(load_bundle(both)), None, grid)
    for trial in tuning.surface:
        recognizer = load_model(
            both, device="cpu", beam_size=8, lm_weight=trial.decoding.lm_weight, word_bonus=0.0,
            views=1,
        )  # fmt: skip
        assert evaluate(manifest, recognizer, tmp_path / "report").score.wer == trial.wer


@pytest.mark.parametrize("weights", STORED)
def test_networks_come_along_in_copies_and_go_again(
    both: Path, weights: str, tmp_path: Path
) -> None:
    copy = export_bundle(both, tmp_path / "copy", weights=weights)
    loaded, original = load_bundle(copy), load_bundle(both)
    (other,), (expected,) = loaded.others, original.others
    assert other.config == expected.config
    assert other.speller is None
    assert not other.training
    atol = {"float32": 0.0, "float16": 1e-3, "int8": 1e-2, "int7": 2e-2}[weights]
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], rtol=0, atol=atol)
    assert loaded.num_parameters == original.num_parameters > loaded.model.num_parameters
    assert "; 1 more that hears along," in model_card(loaded)
    again = export_bundle(copy, copy)
    assert load_bundle(again).model_id == loaded.model_id
    three = load_bundle(export_bundle(copy, tmp_path / "three", others=[copy]))
    assert len(three.others) == 3
    assert three.model_id != loaded.model_id
    assert "; 3 more that hear along," in model_card(three)
    export_bundle(tmp_path / "three", tmp_path / "three", alone=True)  # onto itself
    assert not list((tmp_path / "three").glob("network-*"))
    assert load_bundle(tmp_path / "three").others == ()
    replaced = export_bundle(
        both, tmp_path / "replaced", alone=True, others=[both.parent / "first"]
    )
    assert [one.config for one in load_bundle(replaced).others] == [original.model.config]


def test_the_command_adds_and_leaves_out(both: Path, tmp_path: Path) -> None:
    second = str(both.parent / "second")
    for arguments, count in (
        (["--with", second], 2),
        (["--with", second, "--with", second], 3),
        (["--alone"], 0),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["export", str(both), "-o", str(tmp_path / "copy"), *arguments])
        assert stopped.value.code == 0
        assert len(load_bundle(tmp_path / "copy").others) == count


def with_encoder(bundle: Bundle, **changes: int) -> Bundle:
    config = bundle.model.config
    config = replace(config, encoder=replace(config.encoder, **changes))
    return replace(bundle, model=network_like(config, 3))


def with_phones_in_another_order(bundle: Bundle) -> Bundle:
    return replace(bundle, phones=(*bundle.phones[:2], *reversed(bundle.phones[2:])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda bundle: with_encoder(bundle, subsampling=2),
            "not the same stretches of the speech",
        ),
        (with_phones_in_another_order, "different phones or tokens"),
    ],
)
def test_networks_that_do_not_go_together_are_refused(
    both: Path, change: Callable[[Bundle], Bundle], message: str, phone_bundle: Bundle,
    tmp_path: Path,
) -> None:  # fmt: skip
    odd = save_bundle(change(phone_bundle), tmp_path / "odd")
    with pytest.raises(UsageError, match=f"odd cannot hear along: .*{message}"):
        export_bundle(both, tmp_path / "copy", others=[odd])
    assert not (tmp_path / "copy").exists()


def test_letters_alone_have_no_phones_to_average(
    both: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    letters = save_bundle(tiny_bundle, tmp_path / "letters")
    for model, other in ((both, letters), (letters, both), (letters, letters)):
        with pytest.raises(UsageError, match="cannot hear along: .*phones"):
            export_bundle(model, tmp_path / "copy", others=[other])


def test_damage_is_named(both: Path) -> None:
    config = json.loads((both / "config.json").read_text("utf-8"))
    (both / "config.json").write_text(json.dumps(config | {"others": [{"sha256": "0"}]}))
    with pytest.raises(BundleError, match=r"config\.json or tokens\.json is damaged"):
        load_bundle(both)
    config["others"][0]["encoder"]["subsampling"] = 2
    (both / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="not the same stretches"):
        load_bundle(both)
    config["others"][0]["encoder"]["subsampling"] = 3
    (both / "config.json").write_text(json.dumps(config))
    assert load_bundle(both).others
    network = both / "network-2.safetensors"
    content = network.read_bytes()
    network.write_bytes(content[:-1])
    with pytest.raises(BundleError, match=r"network-2\.safetensors is damaged"):
        load_bundle(both)
    network.unlink()
    with pytest.raises(BundleError, match=r"network-2\.safetensors is missing"):
        load_bundle(both)
