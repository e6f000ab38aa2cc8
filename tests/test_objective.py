"""The training objective against its parts, on small tensors, and in a training step."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asr.augment import SpecAugmentConfig
from asr.bundle import Bundle
from asr.ctc import ctc_losses
from asr.errors import UsageError
from asr.model import AcousticModel, ModelOutput
from asr.training.config import OptimizerConfig, SchedulerConfig
from asr.training.dataset import Batch
from asr.training.lit_module import AsrLitModule
from asr.training.objective import LossConfig, Targets, objective
from asr.training.phone_crf import phone_trigram

TARGETS, TARGET_LENGTHS = torch.tensor([[1, 2, 3], [2, 2, 0]]), torch.tensor([3, 2])
PHONES, PHONE_LENGTHS = torch.tensor([[3, 1], [0, 0]]), torch.tensor([2, 0])  # the second: unknown
WANTED = Targets(TARGETS, TARGET_LENGTHS, PHONES, PHONE_LENGTHS)


def random_log_probs(seed: int) -> torch.Tensor:
    """(2, 9, 4)."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(2, 9, 4, generator=generator)).log_softmax(-1)


def ctc(log_probs: torch.Tensor) -> torch.Tensor:
    """Of two utterances of 9 and 6 frames, per token."""
    losses = ctc_losses(log_probs, torch.tensor([9, 6]), TARGETS, TARGET_LENGTHS)
    return losses.sum() / 5


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Of two views, per token, frame by frame."""
    total = torch.zeros(())
    for utterance, length in enumerate((9, 6)):
        for p, q in ((first, second), (second, first)):
            frames = p[utterance, :length], q[utterance, :length]
            total += 0.5 * (frames[0].exp() * (frames[0] - frames[1])).sum()
    return total / 5


def test_without_options_it_is_ctc_per_token() -> None:
    output = ModelOutput(random_log_probs(0), torch.tensor([9, 6]))
    found = objective(output, WANTED, LossConfig())
    torch.testing.assert_close(found.loss, ctc(random_log_probs(0)))
    assert found.parts() == {}


def test_intermediate_losses_take_their_share() -> None:
    inner = (random_log_probs(1), random_log_probs(2))
    output = ModelOutput(random_log_probs(0), torch.tensor([9, 6]), inner)
    config = LossConfig(intermediate_weight=0.3)
    found = objective(output, WANTED, config)
    mean = (ctc(inner[0]) + ctc(inner[1])) / 2
    torch.testing.assert_close(found.loss, 0.7 * ctc(output.log_probs) + 0.3 * mean)
    assert found.parts().keys() == {"ctc_loss", "intermediate_loss"}
    torch.testing.assert_close(found.parts()["intermediate_loss"], mean)


def test_phones_take_their_share_of_every_term() -> None:
    """An utterance whose phones are not known has no loss for them."""

    def phone_ctc(log_probs: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor([9]), PHONE_LENGTHS[:1]
        return ctc_losses(log_probs[:1], lengths[0], PHONES[:1], lengths[1]).sum() / 5

    views, inner, phones, inner_phones = (
        [random_log_probs(seed), random_log_probs(seed + 1)] for seed in (0, 2, 4, 6)
    )
    output = ModelOutput(
        torch.cat(views), torch.tensor([9, 6, 9, 6]), (torch.cat(inner),),
        torch.cat(phones), (torch.cat(inner_phones),),
    )  # fmt: skip
    config = LossConfig(
        intermediate_weight=0.3, consistency_weight=0.2, phone_weight=0.4, lexicon="lexicon.txt"
    )
    found = objective(output, WANTED, config)

    def mean(of: Any, pair: list[torch.Tensor]) -> torch.Tensor:
        return (of(pair[0]) + of(pair[1])) / 2

    tokens = 0.7 * mean(ctc, views) + 0.3 * mean(ctc, inner) + 0.2 * divergence(*views)
    of_phones = 0.7 * mean(phone_ctc, phones) + 0.3 * mean(phone_ctc, inner_phones)
    of_phones = of_phones + 0.2 * divergence(*phones)
    torch.testing.assert_close(found.loss, 0.6 * tokens + 0.4 * of_phones)
    torch.testing.assert_close(found.parts()["phone_loss"], mean(phone_ctc, phones))
    with pytest.raises(UsageError, match="needs phones"):
        LossConfig(phone_crf=0.5)
    with pytest.raises(UsageError, match="in \\[0, 1\\], not 1.5"):
        LossConfig(phone_weight=0.4, lexicon="lexicon.txt", phone_crf=1.5)


def test_two_views_share_the_ctc_loss_and_agree() -> None:
    """Everything at once: the mean of the views' losses, the inner layers', the divergence."""
    views, inner = [random_log_probs(0), random_log_probs(1)], [random_log_probs(2)] * 2
    output = ModelOutput(torch.cat(views), torch.tensor([9, 6, 9, 6]), (torch.cat(inner),))
    config = LossConfig(intermediate_weight=0.3, consistency_weight=0.2)
    found = objective(output, WANTED, config)
    expected = (
        0.7 * (ctc(views[0]) + ctc(views[1])) / 2
        + 0.3 * ctc(inner[0])
        + 0.2 * divergence(views[0], views[1])
    )
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.parts()["consistency_loss"], divergence(*views))
    assert not any(part.requires_grad for part in found.parts().values())


class RecordingModule(AsrLitModule):
    """What a step logs, in the first of ten epochs until another is set."""

    step = 0
    position = SimpleNamespace(current_epoch=0, max_epochs=10)

    @property
    def trainer(self) -> Any:
        return self.position

    @property
    def current_epoch(self) -> int:  # type: ignore[override]
        return int(self.position.current_epoch)

    @property
    def global_step(self) -> int:  # type: ignore[override]
        return self.step

    def log(self, name: str, value: Any, **_: object) -> None:  # type: ignore[override]
        self.logged = {**getattr(self, "logged", {}), name: float(torch.as_tensor(value).detach())}


def module(bundle: Bundle, loss: LossConfig, **augment: Any) -> RecordingModule:
    return RecordingModule(
        bundle, [], SpecAugmentConfig(**augment), OptimizerConfig(), SchedulerConfig(), loss
    )


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    waveforms = torch.randn(2, 16_000, generator=generator)
    return Batch(
        waveforms, torch.tensor([16_000, 12_000]), TARGETS, TARGET_LENGTHS, torch.arange(2),
        PHONES, PHONE_LENGTHS,
    )  # fmt: skip


def test_a_step_with_consistency_sees_two_views_once_masks_are_on(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    forward = AcousticModel.forward

    def recorded(self: AcousticModel, *args: Any, views: int, **named: Any) -> ModelOutput:
        seen.append((views, args[2].config.time_masks if args[2] else 0))
        return forward(self, *args, views=views, **named)

    monkeypatch.setattr(AcousticModel, "forward", recorded)
    config = LossConfig(consistency_weight=0.2, consistency_share=0.7)
    stepping = module(tiny_bundle, config, start_step=5, time_masks=3)
    plain = stepping.training_step(batch(), 0)
    assert stepping.logged["train/loss"] == pytest.approx(plain.item())
    assert "train/consistency_loss" not in stepping.logged
    stepping.step = 5
    loss = stepping.training_step(batch(), 0)
    assert seen == [(1, 0), (2, 8)]  # 3 x 2.5, rounded
    logged = stepping.logged
    assert logged["train/consistency_loss"] > 1e-4
    assert loss.item() == pytest.approx(
        logged["train/ctc_loss"] + 0.2 * logged["train/consistency_loss"], rel=1e-5
    )
    for epoch in (6, 7):  # seven of ten epochs have two views
        stepping.position = SimpleNamespace(current_epoch=epoch, max_epochs=10)
        stepping.training_step(batch(), 0)
    assert seen[2:] == [(2, 8), (1, 3)]


def test_a_step_weighs_phones_against_others_once_masks_are_on(phone_bundle: Bundle) -> None:
    config = LossConfig(phone_weight=0.5, lexicon="lexicon.txt", phone_crf=0.9)
    num_phones = len(phone_bundle.phones)
    trigram = phone_trigram([PHONES[0].tolist()] * 9, num_phones)
    losses = []
    for step, given in ((4, trigram), (5, trigram), (5, None)):
        stepping = RecordingModule(
            phone_bundle, [], SpecAugmentConfig(start_step=5, time_masks=0, freq_masks=0),
            OptimizerConfig(), SchedulerConfig(), config, 0, given,
        )  # fmt: skip
        assert "trigram" not in stepping.state_dict()
        stepping.step = step
        torch.manual_seed(0)
        stepping.training_step(batch(), 0)
        losses.append(stepping.logged["train/phone_loss"])
    assert losses[0] == pytest.approx(losses[2])
    assert losses[1] < losses[0] - 0.1  # a trigram that knows the answer leaves little to learn


def test_a_step_with_an_intermediate_loss_trains_the_layer_and_the_head(
    tiny_bundle: Bundle,
) -> None:
    """With nearly all of the weight on the first layer, the second gets next to no gradient."""
    gradients = []
    for weight in (0.0, 0.999):
        tiny_bundle.model.zero_grad()
        stepping = module(tiny_bundle, LossConfig(intermediate_weight=weight), time_masks=0)
        torch.manual_seed(0)
        stepping.training_step(batch(), 0).backward()
        layers = tiny_bundle.model.encoder.layers
        gradients.append(
            [float(layer.lstm.forward_lstm.weight_ih_l0.grad.norm()) for layer in layers]
        )
        assert float(tiny_bundle.model.head.linear.weight.grad.norm()) > 0
    assert gradients[1][1] < 0.01 * gradients[0][1]
    assert gradients[1][0] > 0.1 * gradients[0][0]
    assert stepping.logged["train/intermediate_loss"] > 0
