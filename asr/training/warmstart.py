"""init_from: training that starts from the weights of a bundle, with its vocabulary or a new one."""

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from asr.bundle import LEXICON_FILE, SHIPPED, Bundle
from asr.encoder import EncoderConfig
from asr.errors import UsageError
from asr.merge import same_size
from asr.model import SPELLER, AcousticModel, ModelConfig
from asr.pronunciation import Lexicon, Phones
from asr.tokenizer import BpeTokenizer, CharTokenizer, Tokenizer
from asr.training.config import RunConfig
from asr.training.datamodule import SpeechDataModule

_HEAD, _PHONE_HEAD = "head.", "phone_head."


def check_same_network(config: RunConfig, start: Bundle) -> None:
    """Refuse a front end or an encoder that the bundle's weights do not fit; dropout may differ.

    Raises:
        UsageError: names every key that differs, with both values.
    """
    theirs = start.model.config
    pairs = {
        "features": (asdict(theirs.features), asdict(config.features)),
        "encoder": (asdict(theirs.encoder), asdict(config.encoder)),
    }
    differences = [
        f"{group}.{name}: {old[name]} in the bundle, {new[name]} in this run"
        for group, (old, new) in pairs.items()
        for name in new
        if old[name] != new[name] and not name.endswith("dropout")
    ]
    if differences:
        raise UsageError(
            f"init_from={config.init_from}: its network is another one than this run's\n  "
            + "\n  ".join(differences)
            + "\nleave these keys out, and the bundle's values hold; or train without init_from"
        )


def take_weights(
    model: AcousticModel, tokenizer: Tokenizer, start: Bundle, phones: Phones = ()
) -> str:
    """Copy the bundle's weights into `model`; of the head, the rows of tokens that both have, and
    the head for phones and the speller where both have the same.

    Returns:
        What was done, for the screen.
    """
    old_ids = {token: token_id for token_id, token in enumerate(start.tokenizer.tokens)}
    kept = [(new, old_ids[token]) for new, token in enumerate(tokenizer.tokens) if token in old_ids]
    rows, old_rows = torch.tensor(kept).unbind(dim=1)
    source = start.model.state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.startswith(_PHONE_HEAD):
                if phones == start.phones:
                    tensor.copy_(source[name])
            elif name.startswith(SPELLER):
                if keeps_speller(model.config, start):
                    tensor.copy_(source[name])
            elif name.startswith(_HEAD):
                tensor[rows] = source[name][old_rows]
            else:
                tensor.copy_(source[name])
    if tokenizer.tokens == start.tokenizer.tokens:
        left_out = start.model.speller is not None and model.speller is None
        without = " but its speller, which reads other phones or none" if left_out else ""
        return f"all weights of model {start.model_id}{without}"
    new = [token for token in tokenizer.tokens if token not in old_ids]
    gone = [token for token in start.tokenizer.tokens if token not in tokenizer.tokens]
    return (
        f"weights of model {start.model_id} with a new output layer: {len(kept)} tokens kept, "
        f"new: {_listed(new)}; gone: {_listed(gone)}"
    )


def lexicon_path(config: RunConfig, start: Bundle | None) -> Path:
    """Where a run's lexicon is: its own, its start's, or the one that comes with asr."""
    if config.loss.lexicon is not None:
        return Path(config.loss.lexicon)
    if start is not None and start.lexicon is not None:
        return start.lexicon
    return SHIPPED / LEXICON_FILE


def with_phones_of(start: Bundle | None, lexicon: Lexicon) -> Lexicon:
    """The lexicon in the phones of the bundle that training starts from, where it needs no others."""
    if start is None or not set(start.phones).issuperset(lexicon.phones):
        return lexicon
    return Lexicon.of(lexicon.words, start.phones)


class SpellerKept(NamedTuple):
    """The size of a speller, and what it writes; all of nothing where there is none."""

    size: EncoderConfig | None = None
    num_pieces: int = 0
    pieces: BpeTokenizer | None = None


def keeps_speller(config: ModelConfig, start: Bundle) -> bool:
    """Whether a network's speller has the same weights as that of the bundle, and as many pieces."""
    theirs = start.model.config
    return config.num_pieces == theirs.num_pieces and same_size(config.speller, theirs.speller)


def speller_to_keep(start: Bundle | None, phones: Phones) -> SpellerKept:
    """The bundle's speller, where it reads these phones."""
    if start is None or start.phones != phones or start.pieces is None:
        return SpellerKept()
    return SpellerKept(start.model.config.speller, start.pieces.vocab_size, start.pieces)


def vocabulary_to_keep(start: Bundle, data: SpeechDataModule) -> Tokenizer | None:
    """The bundle's vocabulary, with the characters of the training texts that it lacks.

    None, for one of the texts alone, where it is of another kind than is wanted, or of pieces that
    cannot write every text.
    """
    if type(start.tokenizer) is not type(data.tokenizer):
        return None
    missing = start.tokenizer.unknown_characters(example.text for example in data.train_examples)
    if not missing:
        return start.tokenizer
    if not isinstance(start.tokenizer, CharTokenizer):
        return None
    return CharTokenizer((*start.tokenizer.tokens, *sorted(missing)))


def _listed(tokens: list[str]) -> str:
    return " ".join(map(repr, tokens)) or "none"
