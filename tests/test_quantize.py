"""Rounded weights: how much they differ, and how much smaller the file is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.bundle import Bundle, BundleError, load_bundle, save_bundle
from asr.errors import UsageError
from asr.quantize import int8_network, pack_weights, unpack_weights


def test_each_row_has_its_own_steps() -> None:
    """Largest value 1.27: steps of 0.01, whatever the other row holds."""
    weights = {"w": torch.tensor([[1.27, 0.014, -0.016], [127.0, 1.4, 0.0]]), "b": torch.ones(3)}
    packed = pack_weights(weights, "int8")
    assert packed["w"].dtype == torch.int8
    assert packed["w"].tolist() == [[127, 1, -2], [127, 1, 0]]
    unpacked = unpack_weights(packed)
    assert unpacked.keys() == weights.keys()
    torch.testing.assert_close(unpacked["w"][0], torch.tensor([1.27, 0.01, -0.02]))
    torch.testing.assert_close(unpacked["b"], weights["b"], rtol=0, atol=0)


@pytest.mark.parametrize(("stored", "largest"), [("int8", 127), ("int7", 63)])
def test_rounding_is_at_most_half_a_step(stored: str, largest: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 7, 5)
    unpacked = unpack_weights(pack_weights({"w": weight}, stored))["w"]
    steps = weight.abs().amax(dim=(1, 2), keepdim=True) / largest
    assert ((weight - unpacked).abs() <= 0.5001 * steps).all()
    assert (weight - unpacked).abs().max() > 0.4 * steps.min()


def test_seven_bits_are_packed_by_how_frequent_they_are() -> None:
    torch.manual_seed(0)
    weights = {"w": torch.randn(400, 300), "b": torch.randn(400)}
    packed = pack_weights(weights, "int7")
    assert packed["w"].dtype == torch.uint8
    assert 0.75 < len(packed["w"]) / weights["w"].numel() < 0.83  # 6.4 bits of 8
    assert unpack_weights(packed)["w"].shape == (400, 300)


@pytest.mark.parametrize(
    "damage",
    [
        {"w": torch.full((9,), 255, dtype=torch.uint8)},
        {"w.shape": torch.tensor([20, 31])},
        {"w.shape": torch.tensor([20, 29])},
    ],
)
def test_damaged_steps_are_refused(damage: dict[str, torch.Tensor]) -> None:
    packed = pack_weights({"w": torch.randn(20, 30)}, "int7")
    with pytest.raises((ValueError, RuntimeError), match=r"inflated|shape|size"):
        unpack_weights(packed | damage)


def test_a_row_of_zeros_stays_zero() -> None:
    weights = {"w": torch.zeros(2, 3)}
    for stored in ("int8", "int7"):
        assert unpack_weights(pack_weights(weights, stored))["w"].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("stored", "share", "closeness"),
    [("float16", 0.5, 0.01), ("int8", 0.25, 0.1), ("int7", 0.2, 0.2)],
)
def test_a_bundle_of_rounded_weights(
    tiny_bundle: Bundle, tmp_path: Path, stored: str, share: float, closeness: float
) -> None:
    exact = save_bundle(tiny_bundle, tmp_path / "exact")
    rounded = save_bundle(replace(tiny_bundle, weights=stored), tmp_path / "rounded")
    size = (rounded / "model.safetensors").stat().st_size
    overhead = 9_000  # names, biases and scales, which in so small a model are a good part
    assert size < share * (exact / "model.safetensors").stat().st_size + overhead
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])
    expected = load_bundle(exact).model(waveform, length).log_probs
    torch.testing.assert_close(
        load_bundle(rounded).model(waveform, length).log_probs, expected, rtol=0, atol=closeness
    )
    again = save_bundle(load_bundle(rounded), tmp_path / "again")  # stays as it was stored
    assert load_bundle(again).model_id == load_bundle(rounded).model_id  # rounding twice is once


def test_a_damaged_scale_is_no_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    import hashlib

    import safetensors.torch

    path = save_bundle(replace(tiny_bundle, weights="int8"), tmp_path / "model")
    file = path / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = next(name for name in tensors if name.endswith(".scale"))
    safetensors.torch.save_file(tensors | {name: torch.ones(3, 3, 3, 3)}, file)
    config = json.loads((path / "config.json").read_text())
    config["model_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="does not fit"):
        load_bundle(path)


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="int4"):
        pack_weights({}, "int4")


def test_int8_arithmetic_leaves_the_model_alone(tiny_bundle: Bundle) -> None:
    waveforms, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 9_000])
    before = tiny_bundle.model(waveforms, lengths).log_probs
    rounded = int8_network(tiny_bundle.model)(waveforms, lengths).log_probs
    torch.testing.assert_close(rounded, before, rtol=0, atol=0.1)
    assert not torch.equal(rounded, before)
    assert torch.equal(tiny_bundle.model(waveforms, lengths).log_probs, before)
