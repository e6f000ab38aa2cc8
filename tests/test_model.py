import pytest
import torch

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
