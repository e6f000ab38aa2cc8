"""Copies of bundles: weights rounded or averaged, networks or a language model put in or left out."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.bundle import LM_FILE, RNNLM_FILE, Bundle, load_bundle, save_bundle
from asr.ensemble import check_together, without_speller
from asr.errors import UsageError
from asr.merge import averaged, with_speller_of

_COPIED = "## From the card of the model that this is a copy of,"


def export_bundle(
    model: Path | str,
    out: Path | str,
    *,
    weights: str | None = None,
    lm: Path | str | None = None,
    without_lm: bool = False,
    lexicon: Path | str | None = None,
    rnnlm: Path | str | None = None,
    others: Sequence[Path | str] = (),
    alone: bool = False,
    shares: Sequence[float] = (),
    average: Sequence[Path | str] = (),
    speller: Path | str | None = None,
) -> Path:
    """Write a copy of a bundle to the folder `out`, with the sections of its model card.

    Args:
        model: its folder, or "default".
        weights: "float32", "float16", "int8" or "int7", of the networks and the neural language model;
            None: as they are stored.
        lm: language model, compiled or ARPA, or a folder with one, that replaces the bundle's; packed.
        without_lm: leave the language models and their tuned values out.
        lexicon: file that replaces the bundle's: how words are said in the phones that it writes.
        rnnlm: neural language model that replaces the bundle's.
        others: bundles whose networks are to hear along, besides those that do.
        alone: leave out the networks that hear along; before `others` are added.
        shares: of each network in the mean that a search reads, as a ratio; empty: as they are, or all
            alike where networks are left out or added.
        average: bundles whose weights are averaged with those of its first network (`asr.merge`).
        speller: bundle whose speller replaces its own.

    Returns:
        `out`.

    Raises:
        BundleError: not a usable bundle, or `out` is there and is none.
        LanguageModelError: a language model that cannot be used, or not with this bundle.
        UsageError: a lexicon for a model that writes no phones, networks or a speller that do not go
            together, shares of another number of networks.
    """
    from asr.rnnlm import load_rescorer, save_rescorer

    bundle = load_bundle(model)
    if average:
        bundle = averaged(bundle, average)
    if speller is not None:
        bundle = with_speller_of(speller, bundle)
    if lexicon is not None:
        if not bundle.phones:
            raise UsageError(f"{model} writes no phones: it has no use for a lexicon")
        bundle = replace(bundle, lexicon=Path(lexicon))
    if weights is not None:
        bundle = replace(bundle, weights=weights)
    if without_lm:
        bundle = replace(
            bundle, language_model=None, rnnlm=None, decoding=None, beam_calibration=None
        )
    if alone:
        bundle = replace(bundle, others=(), shares=())
    for other in others:
        bundle = _with_networks_of(other, bundle)
    if shares:
        bundle = replace(bundle, shares=tuple(shares))
    if lexicon is not None or lm is not None or rnnlm is not None:
        _check_fits(bundle, lm, rnnlm)
    neural = rnnlm or bundle.rnnlm
    if weights is None or neural is None:
        return save_with_language_model(bundle, out, lm, rnnlm)
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        rounded = Path(folder) / RNNLM_FILE
        save_rescorer(load_rescorer(neural), rounded, weights)
        return save_with_language_model(bundle, out, lm, rounded)


def _with_networks_of(path: Path | str, bundle: Bundle) -> Bundle:
    """The bundle with all networks of the one at `path`, for their phones."""
    added = load_bundle(path)
    try:
        check_together(bundle.model.config, added.model.config)
        if (bundle.phones, bundle.tokenizer.tokens) != (added.phones, added.tokenizer.tokens):
            raise UsageError("the networks write different phones or tokens")
    except UsageError as error:
        raise UsageError(f"{path} cannot hear along: {error}") from None
    others = (*bundle.others, without_speller(added.model), *added.others)
    return replace(bundle, others=others, shares=())


def _check_fits(bundle: Bundle, lm: Path | str | None, rnnlm: Path | str | None) -> None:
    """LanguageModelError where a search with this bundle could not use its language models."""
    from asr.binding import bind_language_model, bind_rescorer

    ngrams, neural = lm or bundle.language_model, rnnlm or bundle.rnnlm
    if ngrams is None:
        return
    language_model, _ = bind_language_model(bundle, ngrams)
    if neural is not None:
        bind_rescorer(bundle, neural, language_model)


def save_with_language_model(
    bundle: Bundle, out: Path | str, lm: Path | str | None, rnnlm: Path | str | None = None
) -> Path:
    """Write `bundle` to `out`, with `lm` and `rnnlm` for its language models where they are given.

    The n-grams are packed: a third of the compiled form's space, for probabilities of eight bits.
    """
    from asr.decoding.arpa import find_ngram, load_ngram
    from asr.decoding.packed import is_packed, save_packed
    from asr.lm_close import close_under_suffixes
    from asr.rnnlm import find_rnnlm, load_rescorer

    bundle = replace(bundle, sections=_of_a_copy(bundle))
    if rnnlm is not None:
        load_rescorer(rnnlm)  # usable, or LanguageModelError
        bundle = replace(bundle, rnnlm=find_rnnlm(rnnlm))
    if lm is None:
        return save_bundle(bundle, out)
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        packed = find_ngram(lm)
        if not is_packed(packed):
            model, packed = load_ngram(packed), Path(folder) / LM_FILE
            save_packed(close_under_suffixes(model), packed)
        return save_bundle(replace(bundle, language_model=packed), out)


def _of_a_copy(bundle: Bundle) -> str:
    """The sections of a model's card in the card of its copy, which they were not written for."""
    if not bundle.sections or _COPIED in bundle.sections:
        return bundle.sections
    return f"\n{_COPIED} {bundle.model_id}.\n{bundle.sections}"
