"""Training a speller (`asr.speller`) for a network that is trained already, and stays as it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from asr.bundle import Bundle, Training, load_bundle
from asr.ctc import blank_share, ctc_losses
from asr.errors import UsageError
from asr.manifest import set_name
from asr.model import AcousticModel, ModelOutput
from asr.pronunciation import read_lexicon
from asr.tokenizer import BpeTokenizer
from asr.training.config import RunConfig
from asr.training.datamodule import Manifests
from asr.training.dataset import Batch, Example, padded_ids
from asr.training.lit_module import AsrLitModule
from asr.training.objective import LossConfig
from asr.training.speller_data import SpellerBatch, SpellerDataModule, can_write
from asr.training.warmstart import lexicon_path


class SpellerLitModule(AsrLitModule):
    """Trains a bundle's speller with CTC, and nothing else of it; validates the whole by speech."""

    def __init__(self, bundle: Bundle, config: RunConfig, dev_examples: Sequence[Example]) -> None:
        super().__init__(
            bundle, dev_examples, config.augment, config.optimizer, config.scheduler,
            seed=config.seed,
        )  # fmt: skip
        assert self.model.speller is not None
        self.model.requires_grad_(False)
        self.model.speller.requires_grad_(True)

    def training_step(self, batch: SpellerBatch, batch_idx: int) -> Tensor:  # type: ignore[override]
        """CTC in nats per piece."""
        assert self.model.speller is not None
        log_probs, steps = self.model.speller(batch.phones, batch.lengths)
        losses = ctc_losses(log_probs, steps, batch.targets, batch.target_lengths)
        loss = losses.sum() / batch.target_lengths.sum()
        blanks = blank_share(log_probs.detach(), steps)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.lengths))
        self.log("train/blank_share", blanks, batch_size=len(batch.lengths))
        return loss

    @property
    def vocabulary(self) -> BpeTokenizer:
        """The speller's pieces."""
        assert self.bundle.pieces is not None
        return self.bundle.pieces

    def dev_loss(self, output: ModelOutput, batch: Batch) -> tuple[float, int]:
        """CTC loss of a batch's pieces, summed, and how many these are; of texts that they can write."""
        assert output.spelling is not None
        assert output.spelling_lengths is not None
        texts = [self.dev_examples[index].text for index in batch.indices.tolist()]
        rows = [row for row, text in enumerate(texts) if can_write(self.vocabulary, text)]
        if not rows:
            return 0.0, 0
        targets, lengths = padded_ids([tuple(self.vocabulary.encode(texts[row])) for row in rows])
        losses = ctc_losses(
            output.spelling[rows], output.spelling_lengths[rows],
            targets.to(output.spelling.device), lengths.to(output.spelling.device),
        )  # fmt: skip
        return float(losses.sum()), int(lengths.sum())


def speller_modules(
    config: RunConfig, manifests: Manifests, start: Bundle | None
) -> tuple[SpellerLitModule, SpellerDataModule]:
    """Module and data of a run that trains a speller for `start`, whose weights are not in it yet.

    Raises:
        UsageError: no network that writes phones to start from, a loss of speech.
    """
    if start is None or not start.phones:
        raise UsageError(
            "speller.texts needs init_from: a model that writes phones, trained with "
            "loss.phone_weight"
        )
    if replace(config.loss, lexicon=None) != LossConfig():
        raise UsageError("a speller is trained with CTC alone: of loss, only lexicon is used")
    chosen = lexicon_path(config, start)
    lexicon = read_lexicon(chosen, start.phones)
    learnt = ", ".join(Path(text).name for text in config.speller.texts)
    if config.speller.init_from is not None:
        learnt += f", begun as that of model {load_bundle(config.speller.init_from).model_id}"
    data = SpellerDataModule(config, manifests, start, lexicon)
    network = replace(
        start.model.config, speller=config.speller.network, num_pieces=data.pieces.vocab_size
    )
    bundle = Bundle(
        AcousticModel(network),
        start.tokenizer,
        start.normalizer,
        Training(
            data=f"{', '.join(map(set_name, config.data.train))}; speller by {learnt}; network of "
            f"model {start.model_id}"
        ),
        decoding=start.decoding,  # of a search, which reads no speller
        beam_calibration=start.beam_calibration,
        phones=start.phones,
        lexicon=chosen,
        pieces=data.pieces,
        others=start.others,
        shares=start.shares,
    )
    return SpellerLitModule(bundle, config, data.dev_examples), data
