"""What a batch draws, and validation of recordings longer than a window."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from asr.augment import SpecAugmentConfig
from asr.bundle import Bundle
from asr.evaluate import score_texts, transcribe_all
from asr.manifest import Utterance
from asr.training.averaging import dev_wer
from asr.training.dataset import Batch, Example
from asr.training.engine_config import OptimizerConfig, SchedulerConfig
from asr.training.lit_module import AsrLitModule
from asr.transcribe import Recognizer, pad


class Placed(AsrLitModule):
    """A module in a run, without one."""

    place = (0, 0)
    global_rank = property(lambda self: self.place[0])  # type: ignore[assignment]
    current_epoch = property(lambda self: self.place[1])  # type: ignore[assignment]


def lit_module(bundle: Bundle, seed: int = 0) -> Placed:
    return Placed(bundle, [], SpecAugmentConfig(), OptimizerConfig(), SchedulerConfig(), seed=seed)


def test_each_rank_epoch_and_batch_draws_its_own(tiny_bundle: Bundle) -> None:
    batch: Any = None

    def drawn(seed: int, rank: int, epoch: int, batch_idx: int) -> float:
        module = lit_module(tiny_bundle, seed)
        module.place = (rank, epoch)
        module.on_train_batch_start(batch, batch_idx)
        return float(torch.rand(1))

    first = drawn(1, 0, 0, 0)
    assert drawn(1, 0, 0, 0) == first
    others = [drawn(2, 0, 0, 0), drawn(1, 1, 0, 0), drawn(1, 0, 1, 0), drawn(1, 0, 0, 1)]
    assert len({first, *others}) == 5


def test_validation_cuts_long_recordings_as_evaluate_does(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network sees no more than a window at once; the others of the batch have a loss."""
    random = np.random.default_rng(0)
    waveforms = [
        0.1 * random.standard_normal(round(seconds * 16_000)).astype(np.float32)
        for seconds in (2.0, 80.0, 3.0)
    ]
    padded, lengths = pad(waveforms)
    targets = torch.tensor([[1, 2], [1, 2], [2, 0]])
    no_phones = torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, dtype=torch.long)
    batch = Batch(
        padded, lengths, targets, torch.tensor([2, 2, 1]), torch.tensor([4, 7, 9]), *no_phones
    )
    expected = [one.text for one in transcribe_all(Recognizer(tiny_bundle), waveforms)]
    seen_s = []
    forward = type(tiny_bundle.model).forward

    def watched(self: Any, waveforms: torch.Tensor, *rest: Any, **more: Any) -> Any:
        seen_s.append(waveforms.shape[1] / 16_000)
        return forward(self, waveforms, *rest, **more)

    monkeypatch.setattr(type(tiny_bundle.model), "forward", watched)
    module = lit_module(tiny_bundle)
    with torch.no_grad():
        module.validation_step(batch, 0)
    assert module._validated.hypotheses == dict(zip((4, 7, 9), expected, strict=True))
    assert any(text for text in expected)
    assert module._validated.tokens == 3
    assert module._validated.loss > 0
    assert max(seen_s) <= 36.0


def test_validation_counts_the_words_that_evaluate_counts(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network spells lone and outer apostrophes; the normaliser takes them off before scoring."""
    utterance = Utterance("u", Path("u.flac"), "It's a dog.", 1.0)
    example = Example(utterance, "it's a dog", (1,))
    spelt = "' it's 'a dog'"
    assert score_texts({"u": utterance.text}, {"u": spelt}, tiny_bundle.normalizer).counts.hits == 3

    module = lit_module(tiny_bundle)
    module.dev_examples = [example]
    module._trainer = SimpleNamespace(world_size=1, lr_scheduler_configs=[])  # type: ignore[assignment]
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    module._validated.hypotheses[0] = spelt
    module.on_validation_epoch_end()
    assert module.dev_score is not None
    assert module.dev_score.wer == 0

    transcripts = {"u": SimpleNamespace(text=spelt)}
    monkeypatch.setattr("asr.training.averaging.for_each_waveform", lambda *_: (transcripts, ()))
    assert dev_wer(tiny_bundle, [example], "cpu") == 0
