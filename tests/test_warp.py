from pathlib import Path

import pytest
import torch
from language_bundle import write_language_model

from asr.bundle import Bundle, BundleError, Decoding, load_bundle, save_bundle
from asr.cli import main
from asr.decoder import DecoderOptions, make_decoder
from asr.errors import UsageError
from asr.features import FeatureConfig, FrontEnd
from asr.transcribe import Recognizer, load_model
from asr.warp import FrequencyViews, warp_frequencies


def tone_bin(hz: float, features: FeatureConfig) -> float:
    """Where a tone lies among the mel bins: the mean of the bins, weighted by their power."""
    waveform = torch.sin(2 * torch.pi * hz * torch.arange(16_000) / 16_000)[None]
    return centre(FrontEnd(features).log_mel(waveform))[0]


def centre(log_mel: torch.Tensor) -> list[float]:
    """Per utterance, the power-weighted mean bin of (B, T, n_mels)."""
    power = log_mel.exp().mean(dim=1)
    return ((power * torch.arange(power.shape[1])).sum(dim=1) / power.sum(dim=1)).tolist()


def test_a_warped_tone_is_where_a_tone_of_the_warped_frequency_is() -> None:
    features = FeatureConfig(n_mels=80, n_mfcc=40)
    waveform = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    log_mel = FrontEnd(features).log_mel(waveform).repeat(3, 1, 1)
    warped = warp_frequencies(log_mel, torch.tensor([0.9, 1.0, 1.1]), features)
    expected = [tone_bin(hz, features) for hz in (900, 1000, 1100)]
    assert centre(warped) == pytest.approx(expected, abs=0.35)
    assert expected[1] - expected[0] > 2
    torch.testing.assert_close(warped[1], log_mel[1], atol=1e-4, rtol=0)


def test_a_warp_keeps_the_top_of_the_spectrum_in_its_place() -> None:
    """Above 0.6 max_hz the axis is bent so that nothing leaves it: the last bins move the least."""
    features = FeatureConfig()
    # A bin's value is its number: warped, it says where it came from.
    ramp = torch.arange(40.0).expand(2, 5, 40)
    sources = warp_frequencies(ramp, torch.tensor([0.9, 1.1]), features)[:, 0]
    moved = sources - torch.arange(40.0)
    assert (moved[0, 5:38] > 0).all()
    assert (moved[1, 5:38] < 0).all()
    assert moved[:, -1].abs().max() < 0.2
    assert moved.abs().max() < 2.5
    assert (sources.diff(dim=1) > 0).all()


def test_views_lie_evenly_around_the_speech_as_it_is() -> None:
    features = FeatureConfig()
    log_mel, lengths = torch.randn(2, 7, 40), torch.tensor([7, 5])
    assert FrequencyViews(1, features)(log_mel, lengths) is log_mel
    for count, factors in ((2, [0.9, 1.1]), (3, [0.9, 1.0, 1.1])):
        warped = FrequencyViews(count, features)(log_mel.repeat(count, 1, 1), lengths.repeat(count))
        for view, factor in zip(warped.chunk(count), factors, strict=True):
            expected = warp_frequencies(log_mel, torch.full((2,), factor), features)
            torch.testing.assert_close(view, expected)


@pytest.mark.parametrize("kind", ["tiny_bundle", "phone_bundle"])
def test_the_mean_of_the_views_is_what_is_decoded(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """As by hand, one warp after the other; and in any batch."""
    bundle: Bundle = request.getfixturevalue(kind)
    recognizer, model = Recognizer(bundle), bundle.model
    waveforms = [torch.randn(size).numpy() for size in (16_000, 9_000)]
    together = recognizer.log_probs(waveforms, views=3)
    assert len(together) == 2
    for waveform, found in zip(waveforms, together, strict=True):
        of_views = []
        for factor in (0.9, 1.0, 1.1):
            length = torch.tensor([len(waveform)])
            with torch.inference_mode():
                of_views.append(
                    model(
                        torch.from_numpy(waveform)[None], length,
                        lambda log_mel, _, factor=factor: warp_frequencies(
                            log_mel, torch.tensor([factor]), model.config.features
                        ),
                    )
                )  # fmt: skip
        for own, heard in (
            (found.tokens, [one.log_probs for one in of_views]),
            (found.phones, [one.phones for one in of_views]),
        ):
            assert (own is None) == (heard[0] is None)
            if own is not None:
                powers = torch.stack(heard)[:, 0].exp().double().prod(dim=0) ** (1 / 3)
                mean = (powers / powers.sum(dim=-1, keepdim=True)).log().float()
                torch.testing.assert_close(torch.from_numpy(own), mean, atol=1e-4, rtol=0)
        once = recognizer.log_probs([waveform])[0].tokens
        assert abs(once - found.tokens).max() > 1e-3


def test_who_says_how_many_views(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A bundle for its searches, the user for all."""
    lm = write_language_model(tmp_path / "lm.ngram")
    path = save_bundle(tiny_bundle, tmp_path / "model")
    assert make_decoder(load_bundle(path), DecoderOptions(lm=lm)).views == 1
    tuned = Bundle(
        tiny_bundle.model, tiny_bundle.tokenizer, decoding=Decoding(0.7, 1.5, 8, views=2),
        language_model=lm,
    )  # fmt: skip
    save_bundle(tuned, path)
    assert "weight 0.7, word bonus 1.5, 2 views of the speech |" in (path / "README.md").read_text()
    found = {
        (decoder, views): load_model(path, device="cpu", decoder=decoder, views=views).decoder
        for decoder in ("greedy", "beam")
        for views in (None, 1, 3)
    }
    assert [decoder.views for decoder in found.values()] == [1, 1, 3, 2, 1, 3]
    assert found["greedy", 3].name == "greedy, 3 views"
    assert found["beam", None].name == "beam 8 + 2-gram (weight 0.7, bonus 1.5), 2 views"
    assert len({decoder.settings for decoder in found.values()}) == 5
    waveform = torch.randn(16_000).numpy()
    heard = {
        views: load_model(path, device="cpu", decoder="greedy", views=views).transcribe(waveform)
        for views in (None, 1, 3)
    }
    assert heard[None] == heard[1] != heard[3]
    with pytest.raises(UsageError, match="views must be at least 1, not 0"):
        load_model(path, device="cpu", views=0)
    config = path / "config.json"
    config.write_text(config.read_text().replace('"views": 2', '"views": 0'))
    with pytest.raises(BundleError, match=r"config.json .* is damaged: views must be at least 1"):
        load_bundle(path)


def test_views_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("transcribe", "evaluate", "tune"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "x.flac", "--views", "0"])
        assert stopped.value.code == 2
        assert "views" in capsys.readouterr().err
