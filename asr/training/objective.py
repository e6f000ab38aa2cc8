"""What a training step minimises: CTC, and where the recipe says so, CTC of inner layers (Lee & Watanabe
2021, arXiv 2102.03216), the consistency of two views (CR-CTC: Yao et al. 2024, arXiv 2410.05101) and the
right phones' lead over all others (CTC-CRF: Xiang & Ou 2019, doi 10.1109/ICASSP.2019.8682256).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.ctc import consistency_losses, ctc_losses
from asr.errors import UsageError
from asr.model import ModelOutput
from asr.training.phone_crf import log_partitions, sequence_log_probs


@dataclass
class LossConfig:
    """What training adds to the CTC loss; the network that comes out has the same form either way.

    Attributes:
        intermediate_weight: w of intermediate CTC (Lee & Watanabe 2021, arXiv 2102.03216, who take
            0.3): the loss is 1 - w of the output's and w of the mean of inner layers'; 0: none.
        intermediate_layers: those layers, from 1; empty: the middle one.
        consistency_weight: alpha of CR-CTC (Yao et al. 2024, arXiv 2410.05101, who take 0.2): two views
            of each utterance, masked by SpecAugment independently, learn from each other. From
            augment.start_step on a step costs twice the work and memory; 0: none.
        consistency_time_masks: with CR-CTC, SpecAugment draws this many times its time masks.
        phone_weight: p of a second head that writes the phones of `lexicon`: each CTC loss, the inner
            layers' too, is 1 - p of the tokens' and p of the phones', and the consistency likewise; a
            language model can then be decoded with over phones. 0: no such head.
        lexicon: file with a word and its phones a line (`asr lexicon` writes one); of several
            pronunciations the first is trained on. None: that of init_from, or of the model that comes
            with asr (80,000 English words).
        phone_crf: c of CTC-CRF (Xiang & Ou 2019, doi 10.1109/ICASSP.2019.8682256) for the output's
            phones, from augment.start_step on: 1 - c of CTC and c of minus the logarithm of the right
            phones' share in all that a trigram of the training texts' phones allows (theirs is 10/11).
            It makes a network for decoding with a language model. 0: CTC alone.
        consistency_share: share of trainer.max_epochs with CR-CTC; the epochs after it see one view,
            with SpecAugment's own number of masks: half the work, and closer to clean speech.
    """

    intermediate_weight: float = 0.0
    intermediate_layers: list[int] = field(default_factory=list)
    consistency_weight: float = 0.0
    consistency_time_masks: float = 2.5
    consistency_share: float = 1.0
    phone_weight: float = 0.0
    lexicon: str | None = None
    phone_crf: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.intermediate_weight < 1:
            raise UsageError(
                f"loss.intermediate_weight must be in [0, 1), not {self.intermediate_weight}"
            )
        if not 0 <= self.consistency_weight < math.inf:
            raise UsageError(
                f"loss.consistency_weight must be 0 or more, not {self.consistency_weight}"
            )
        if not 1 <= self.consistency_time_masks < math.inf:
            raise UsageError(
                f"loss.consistency_time_masks must be 1 or more, not {self.consistency_time_masks}"
            )
        if not 0 < self.consistency_share <= 1:
            raise UsageError(
                f"loss.consistency_share must be in (0, 1], not {self.consistency_share}"
            )
        if not 0 <= self.phone_weight < 1:
            raise UsageError(f"loss.phone_weight must be in [0, 1), not {self.phone_weight}")
        if not 0 <= self.phone_crf <= 1:
            raise UsageError(f"loss.phone_crf must be in [0, 1], not {self.phone_crf}")
        if self.phone_crf and not self.phone_weight:
            raise UsageError(
                "loss.phone_crf needs phones: set loss.phone_weight, or loss.phone_crf=0"
            )

    def is_consistent(self, epoch: int, max_epochs: int) -> bool:
        """Whether epoch (the first is 0) of a training of max_epochs has CR-CTC's two views."""
        return self.consistency_weight > 0 and epoch < self.consistency_share * max_epochs

    def taps(self, num_layers: int) -> tuple[int, ...]:
        """The inner layers of an encoder of `num_layers` that have a loss.

        Raises:
            UsageError: the encoder has no such inner layer.
        """
        if not self.intermediate_weight:
            return ()
        layers = self.intermediate_layers or [num_layers // 2]
        wrong = [layer for layer in layers if not 1 <= layer < num_layers]
        if wrong:
            raise UsageError(
                f"loss.intermediate_layers must be inner layers, 1 to {num_layers - 1} of "
                f"encoder.num_layers = {num_layers}; {wrong[0]} is not"
            )
        return tuple(sorted(set(layers)))


@dataclass(frozen=True)
class Targets:
    """What a batch of B utterances should be written as.

    Shapes: tokens (B, U), token_lengths (B,), phones (B, U'), phone_lengths (B,); 0 where the phones
    of an utterance are not known.
    """

    tokens: Tensor
    token_lengths: Tensor
    phones: Tensor
    phone_lengths: Tensor


@dataclass(frozen=True)
class Objective:
    """Scalars in nats per target token.

    Attributes:
        loss: what is minimised.
        ctc: of the tokens that the network writes.
        phones: CTC of its phones, or with phone_crf the mixture; None without them.
        intermediate: mean CTC of the inner layers; None without them.
        consistency: divergence of the two views, mean over both directions; None of one view.
    """

    loss: Tensor
    ctc: Tensor
    phones: Tensor | None = None
    intermediate: Tensor | None = None
    consistency: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """What the loss is made of, by name, without gradients; empty where it is CTC alone."""
        extra = {
            "phone_loss": self.phones,
            "intermediate_loss": self.intermediate,
            "consistency_loss": self.consistency,
        }
        there = {name: part.detach() for name, part in extra.items() if part is not None}
        return {"ctc_loss": self.ctc.detach(), **there} if there else {}


def objective(
    output: ModelOutput, targets: Targets, config: LossConfig, trigram: Tensor | None = None
) -> Objective:
    """The objective of a batch of B utterances; the CTC losses of several views are averaged.

        (1 - intermediate_weight) CTC + intermediate_weight mean(CTC of inner layers)
            + consistency_weight consistency

    where with phones each term is (1 - phone_weight) of the tokens' and phone_weight of the phones',
    all of them per token.

    Args:
        output: of B utterances, or of two views of them (2B).
        trigram: of the phones, from `phone_trigram`, where config.phone_crf applies; None: it does not.
    """
    views = output.log_probs.shape[0] // targets.tokens.shape[0]
    num_tokens = targets.token_lengths.sum()

    def losses_of(log_probs: Tensor, wanted: Tensor, lengths: Tensor) -> Tensor:
        return ctc_losses(
            log_probs, output.output_lengths, wanted.repeat(views, 1), lengths.repeat(views)
        )

    def per_token(losses: Tensor, lengths: Tensor) -> Tensor:
        return losses[lengths.repeat(views) > 0].sum() / views / num_tokens

    def token_ctc(log_probs: Tensor) -> Tensor:
        losses = losses_of(log_probs, targets.tokens, targets.token_lengths)
        return per_token(losses, targets.token_lengths)

    def phone_ctc(log_probs: Tensor, trigram: Tensor | None = None) -> Tensor:
        losses = losses_of(log_probs, targets.phones, targets.phone_lengths)
        if trigram is not None:
            said = sequence_log_probs(trigram, targets.phones, targets.phone_lengths)
            others = log_partitions(log_probs, output.output_lengths, trigram) - said.repeat(views)
            possible = losses.detach() > 0  # 0 where no path spells the phones
            losses = losses + config.phone_crf * others * possible
        return per_token(losses, targets.phone_lengths)

    def mixed(of_tokens: Tensor, of_phones: Tensor | None) -> Tensor:
        if of_phones is None:
            return of_tokens
        return (1 - config.phone_weight) * of_tokens + config.phone_weight * of_phones

    ctc = token_ctc(output.log_probs)
    phones = phone_ctc(output.phones, trigram) if output.phones is not None else None
    loss = mixed(ctc, phones)
    intermediate = consistency = None
    if output.intermediate:
        intermediate = torch.stack([token_ctc(inner) for inner in output.intermediate]).mean()
        if output.phones is not None:
            inner = [phone_ctc(inner) for inner in output.intermediate_phones]
            intermediate = mixed(intermediate, torch.stack(inner).mean())
        share = config.intermediate_weight
        loss = (1 - share) * loss + share * intermediate
    if views == 2:
        consistency = consistency_losses(output.log_probs, output.output_lengths).sum() / num_tokens
        if output.phones is not None:
            of_phones = consistency_losses(output.phones, output.output_lengths).sum() / num_tokens
            consistency = mixed(consistency, of_phones)
        loss = loss + config.consistency_weight * consistency
    return Objective(loss, ctc, phones, intermediate, consistency)
