import pytest
import torch

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.errors import UsageError
from asr.features import FeatureConfig, FrontEnd
from asr.training.config import load_config
from asr.waveform_augment import GainConfig


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


def test_a_time_mask_is_never_wider_than_its_share() -> None:
    """5 % of 94 frames are 4.7: 4 at most (Park et al. 2020 take the floor)."""
    torch.manual_seed(0)
    config = SpecAugmentConfig(freq_masks=0, time_masks=1, time_share=0.05)
    widths = [int(masked_share(config, [94])[1].any(dim=2).sum()) for _ in range(200)]
    assert sorted(set(widths)) == [0, 1, 2, 3, 4]


def test_time_masks_together_keep_to_their_cap() -> None:
    torch.manual_seed(0)
    config = SpecAugmentConfig(freq_masks=0, time_masks=10, time_share=0.1, max_time_share=0.4)
    shares = [masked_share(config, [100])[1].any(dim=2).float().mean() for _ in range(200)]
    assert 0.3 < max(shares) <= 0.4
    free = SpecAugmentConfig(freq_masks=0, time_masks=10, time_share=0.1)
    assert max(masked_share(free, [100])[1].any(dim=2).float().mean() for _ in range(200)) > 0.4
    assert not SpecAugmentConfig(freq_masks=0, max_time_share=0.0).active


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


@pytest.mark.parametrize(
    "wrong", [{"freq_masks": -1}, {"time_share": 1.5}, {"start_step": -2}, {"max_time_share": -0.1}]
)
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="augment"):
        SpecAugmentConfig(**wrong)  # type: ignore[arg-type]


def test_a_recipe_sets_waveform_augmentation_beside_the_masks() -> None:
    config = load_config([
        "recipe=librispeech/mini", "augment.noise.probability=0.5", "augment.noise.folder=noise",
        "augment.gain.min_db=-3",
    ])  # fmt: skip
    assert (config.augment.noise.probability, config.augment.noise.folder) == (0.5, "noise")
    assert config.augment.gain == GainConfig(0.0, -3.0, 6.0)
    assert config.augment.reverb.probability == 0
    assert config.augment.freq_masks == 2
    with pytest.raises(UsageError, match=r"augment\.noise\.folder names no folder"):
        load_config(["recipe=librispeech/mini", "augment.noise.probability=0.5"])
    with pytest.raises(UsageError, match=r"Did you mean augment\.noise\.max_snr_db"):
        load_config(["recipe=librispeech/mini", "augment.noise.max_snr=5"])
    with pytest.raises(UsageError, match=r"augment\.start_epoch must not be negative"):
        load_config(["recipe=librispeech/mini", "augment.start_epoch=-1"])


def test_vtlp_draws_another_warp_for_each_utterance() -> None:
    torch.manual_seed(0)
    config = SpecAugmentConfig(freq_masks=0, time_masks=0, vtlp=0.1)
    assert config.active
    log_mel = torch.randn(1, 30, 40).repeat(4, 1, 1)
    warped = SpecAugment(config)(log_mel, torch.tensor([30] * 4))
    assert len({round(float(utterance.sum()), 3) for utterance in warped}) == 4
    with pytest.raises(UsageError, match=r"augment\.vtlp"):
        SpecAugmentConfig(vtlp=0.5)
