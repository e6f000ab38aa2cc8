"""Copies of bundles: weights rounded, a language model put in or left out."""

import tempfile
from dataclasses import replace
from pathlib import Path

from asr.bundle import LM_FILE, Bundle, load_bundle, save_bundle


def export_bundle(
    model: Path | str,
    out: Path | str,
    *,
    weights: str | None = None,
    lm: Path | str | None = None,
    without_lm: bool = False,
) -> Path:
    """Write a copy of a bundle to the folder `out`.

    Args:
        model: its folder, or "default".
        weights: "float32", "float16" or "int8"; None: as they are stored.
        lm: compiled language model, ARPA file, or a folder with one, that replaces the bundle's.
        without_lm: leave the language model and its tuned values out.

    Returns:
        `out`.

    Raises:
        BundleError: not a usable bundle, or `out` is there and is none.
        LanguageModelError: not a usable language model.
    """
    bundle = load_bundle(model)
    if weights is not None:
        bundle = replace(bundle, weights=weights)
    if without_lm:
        bundle = replace(bundle, language_model=None, decoding=None, beam_calibration=None)
    return save_with_language_model(bundle, out, lm)


def save_with_language_model(bundle: Bundle, out: Path | str, lm: Path | str | None) -> Path:
    """Write `bundle` to `out`, with `lm`, compiled, for its language model where one is given."""
    from asr.decoding.arpa import load_ngram

    if lm is None:
        return save_bundle(bundle, out)
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        compiled = Path(folder) / LM_FILE
        load_ngram(lm).save(compiled)
        return save_bundle(replace(bundle, language_model=compiled), out)
