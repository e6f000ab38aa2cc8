import pytest
import torch

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.errors import UsageError
from asr.features import FeatureConfig, FrontEnd


def masked_share(
    config: SpecAugmentConfig, lengths: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log_mel, masked): a batch of random values and where SpecAugment changed it."""
    log_mel = torch.randn(len(lengths), max(lengths), 40)
    augmented = SpecAugment(config)(log_mel, torch.tensor(lengths))
    return log_mel, augmented != log_mel


def test_frequency_masks_cover_whole_bins_of_at_most_the_width() -> None:
    torch.manual_seed(0)
    widths = set()
    for _ in range(50):
        _, masked = masked_share(SpecAugmentConfig(freq_masks=1, freq_width=8, time_masks=0), [100])
        bins = masked[0].all(dim=0)
        assert torch.equal(masked[0].any(dim=0), bins)
        widths.add(int(bins.sum()))
    assert max(widths) == 8
    assert len(widths) > 4


def test_time_masks_adapt_to_each_length_and_stay_inside_it() -> None:
    torch.manual_seed(0)
    config = SpecAugmentConfig(freq_masks=0, time_masks=1, time_share=0.2)
    seen = torch.zeros(2, dtype=torch.long)
    for _ in range(100):
        _, masked = masked_share(config, [100, 20])
        frames = masked.any(dim=2)
        assert torch.equal(frames, masked.all(dim=2))
        assert not frames[1, 20:].any()
        seen = torch.maximum(seen, frames.sum(dim=1))
    assert seen.tolist() == [20, 4]


def test_every_utterance_gets_masks_of_its_own() -> None:
    torch.manual_seed(0)
    _, masked = masked_share(SpecAugmentConfig(), [200] * 8)
    assert len({tuple(row.flatten().tolist()) for row in masked}) == 8


def test_masked_values_become_the_mean_of_the_bin_over_the_utterance() -> None:
    torch.manual_seed(1)
    config = SpecAugmentConfig(freq_masks=1, freq_width=40, time_masks=0)
    log_mel = torch.randn(1, 30, 40)
    log_mel[0, 20:] = 100.0  # padding must not count
    augmented = SpecAugment(config)(log_mel, torch.tensor([20]))
    masked = (augmented != log_mel)[0, :20].all(dim=0)
    assert masked.any()
    torch.testing.assert_close(augmented[0, 0, masked], log_mel[0, :20, masked].mean(0))


def test_masks_act_on_mel_bins_before_the_dct() -> None:
    """One masked mel bin moves many cepstra: a mask on cepstra would leave all others alone."""
    front_end = FrontEnd(FeatureConfig(normalize=False))
    waveform, length = torch.randn(1, 16_000), torch.tensor([16_000])

    def mask_one_bin(log_mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        masked = log_mel.clone()
        masked[:, :, 10] = 0.0
        return masked

    plain, _ = front_end(waveform, length)
    masked, _ = front_end(waveform, length, mask_one_bin)
    assert ((plain - masked).abs().amax(dim=(0, 1)) > 1e-3).sum() > 30


def test_switched_off_changes_nothing() -> None:
    config = SpecAugmentConfig(freq_masks=0, time_masks=0)
    assert not config.active
    assert not masked_share(config, [50])[1].any()


@pytest.mark.parametrize("wrong", [{"freq_masks": -1}, {"time_share": 1.5}, {"start_step": -2}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="augment"):
        SpecAugmentConfig(**wrong)  # type: ignore[arg-type]
