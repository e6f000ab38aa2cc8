import pytest
import torch

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.bundle import Bundle
from asr.model import ModelConfig


def test_output_of_an_utterance_does_not_depend_on_its_batch(tiny_bundle: Bundle) -> None:
    """Through the whole network: waveform padding of any content changes nothing."""
    model = tiny_bundle.model
    torch.manual_seed(0)
    lengths = torch.tensor([24_000, 9_999, 16_000, 600, 300])
    waveforms = torch.randn(5, 24_000)
    with torch.inference_mode():
        together = model(waveforms, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = model(waveforms[row : row + 1, :length], lengths[row : row + 1])
            frames = int(alone.output_lengths[0])
            assert frames == together.output_lengths[row] == model.config.num_output_frames(length)
            torch.testing.assert_close(
                together.log_probs[row, :frames], alone.log_probs[0, :frames], atol=1e-5, rtol=0
            )


def test_output_does_not_depend_on_loudness(tiny_bundle: Bundle) -> None:
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])
    loud = tiny_bundle.model(waveform, length).log_probs
    quiet = tiny_bundle.model(0.1 * waveform, length).log_probs
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=0)


def test_frame_length_in_seconds() -> None:
    assert ModelConfig(vocab_size=5).output_frame_s == pytest.approx(0.03)


def test_views_are_augmented_apart_from_one_spectrum(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two views of two utterances: all in their order, then all again; the STFT is taken once."""
    model = tiny_bundle.model
    waveforms, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 9_000])
    spectra, log_mel = [], model.front_end.log_mel

    def counted(waveforms: torch.Tensor) -> torch.Tensor:
        spectra.append(log_mel(waveforms))
        return spectra[-1]

    monkeypatch.setattr(model.front_end, "log_mel", counted)
    plain = model(waveforms, lengths)
    same = model(waveforms, lengths, views=2)
    assert len(spectra) == 2
    assert same.output_lengths.tolist() == plain.output_lengths.tolist() * 2
    torch.testing.assert_close(same.log_probs, plain.log_probs.repeat(2, 1, 1))
    masked = model(waveforms, lengths, SpecAugment(SpecAugmentConfig(start_step=0)), views=2)
    first, second = masked.log_probs.chunk(2)
    assert (first - second).abs().amax(dim=(1, 2)).min() > 1e-3
    assert (first - plain.log_probs).abs().amax(dim=(1, 2)).min() > 1e-3


def test_inner_layers_pass_the_same_head(tiny_bundle: Bundle) -> None:
    """At inference there are none, and asking for them changes nothing else."""
    model = tiny_bundle.model
    waveforms, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 9_000])
    plain, tapped = model(waveforms, lengths), model(waveforms, lengths, taps=(1,))
    assert plain.intermediate == ()
    assert torch.equal(plain.log_probs, tapped.log_probs)
    features, feature_lengths = model.front_end(waveforms, lengths)
    inner = model.encoder(features, feature_lengths, taps=(1,)).intermediate[0]
    assert torch.equal(tapped.intermediate[0], model.head(inner))
    assert (tapped.intermediate[0] - tapped.log_probs).abs().max() > 1e-2
