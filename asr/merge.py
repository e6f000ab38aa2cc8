"""A bundle from parts of several: weights averaged, another's speller."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from asr.bundle import Bundle, load_bundle
from asr.encoder import EncoderConfig
from asr.errors import UsageError
from asr.model import SPELLER, ModelConfig, network_of


def averaged(bundle: Bundle, paths: Sequence[Path | str]) -> Bundle:
    """The bundle with the mean of its network's weights and those of other bundles, all alike.

    Of one training at several times, or of trainings that began with the same weights, the mean makes
    fewer errors than each (Wortsman et al. 2022, "Model soups", arXiv 2203.05482); networks that have
    learnt apart have no mean worth anything. Spellers are averaged as well where all have one of the
    same size that writes the same pieces; else it stays the bundle's own.

    Raises:
        BundleError: not a usable bundle.
        UsageError: another network, other phones or other tokens.
    """
    others = [load_bundle(path) for path in paths]
    for path, other in zip(paths, others, strict=True):
        if _identity(other) != _identity(bundle):
            raise UsageError(
                f"{path} cannot be averaged with: its network has another form, or writes other phones "
                "or tokens"
            )
    sources = [other.model.state_dict() for other in others]
    keep_speller = any(not _spells_alike(other, bundle) for other in others)
    weights = {
        name: tensor
        if keep_speller and name.startswith(SPELLER)
        else _mean([tensor, *(source[name] for source in sources)])
        for name, tensor in bundle.model.state_dict().items()
    }
    listed = ", ".join(other.model_id for other in others)
    data = f"{bundle.training.data}; averaged with model {listed}"
    return replace(
        bundle,
        model=network_of(bundle.model.config, weights),
        training=replace(bundle.training, data=data, dev_wer=None),
    )


def with_speller_of(path: Path | str, bundle: Bundle, size: EncoderConfig | None = None) -> Bundle:
    """The bundle with the speller of the one at `path`, which reads the same phones; it spells what
    another network hears as it is.

    Args:
        size: that it must have, but for dropout; None: any.

    Raises:
        BundleError: not a usable bundle.
        UsageError: there is no speller, or one of another size or for other phones.
    """
    other = load_bundle(path)
    theirs = other.model.config.speller
    if theirs is None:
        raise UsageError(f"{path} has no speller")
    if size is not None and not same_size(theirs, size):
        raise UsageError(f"the speller of {path} has another size than is wanted: {theirs}")
    if other.phones != bundle.phones:
        raise UsageError(f"the speller of {path} reads other phones than the network writes")
    weights = {
        **{
            name: t for name, t in bundle.model.state_dict().items() if not name.startswith(SPELLER)
        },
        **{name: t for name, t in other.model.state_dict().items() if name.startswith(SPELLER)},
    }
    config = replace(bundle.model.config, speller=theirs, num_pieces=other.model.config.num_pieces)
    data = f"{bundle.training.data}; speller of model {other.model_id}"
    return replace(
        bundle,
        model=network_of(config, weights),
        training=replace(bundle.training, data=data, dev_wer=None),
        pieces=other.pieces,
    )


def same_size(one: EncoderConfig | None, other: EncoderConfig | None) -> bool:
    """Whether both have the same weights: dropout may differ, and None is none."""
    return one is not None and other is not None and _undropped(one) == _undropped(other)


def _spells_alike(one: Bundle, other: Bundle) -> bool:
    """Whether both have spellers whose weights mean the same."""
    sizes = one.model.config.speller, other.model.config.speller
    return same_size(*sizes) and one.pieces == other.pieces


def _undropped(config: EncoderConfig) -> EncoderConfig:
    return replace(config, dropout=0.0, recurrent_dropout=0.0)


def _identity(bundle: Bundle) -> tuple[ModelConfig, tuple[str, ...], tuple[str, ...]]:
    """All that makes weights mean the same."""
    config = bundle.model.config
    network = replace(config, speller=None, num_pieces=0, encoder=_undropped(config.encoder))
    return network, tuple(bundle.phones), tuple(bundle.tokenizer.tokens)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    return sum(tensors[1:], first) / len(tensors) if first.is_floating_point() else first
