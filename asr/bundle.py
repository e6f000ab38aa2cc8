"""A trained model as a folder: config.json, tokens.json, model.safetensors, README.md (model card),
lm.ngram where a language model was added (`asr tune --write`), rnnlm.safetensors where a neural one was,
lexicon.txt.xz where the model writes phones too, pieces.json where a speller writes pieces of words, and
network-2.safetensors and so on where there are networks that hear along (`asr export --with`).

A bundle carries constructor arguments, never class paths and never pickles: loading a stranger's
bundle runs no code of theirs.
"""

import dataclasses
import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.card import card_sections, model_card
from asr.confidence import Calibration
from asr.ensemble import check_shares, check_together
from asr.errors import AsrError
from asr.model import AcousticModel, ModelConfig
from asr.network_file import (
    BundleError,
    check_hash,
    file_hash,
    front_and_encoder,
    load_network,
    network_config,
    network_files,
    save_network,
)
from asr.pronunciation import Phones, read_lexicon, write_lexicon
from asr.quantize import STORED
from asr.text import DEFAULT_NORMALIZER, get_normalizer
from asr.tokenizer import TOKENIZERS, BpeTokenizer, CharTokenizer, Tokenizer
from asr.warp import check_views

FORMAT_VERSION = 1
_FILES = CONFIG_FILE, TOKENS_FILE, CARD_FILE, LM_FILE, RNNLM_FILE, LEXICON_FILE, PIECES_FILE = (
    "config.json",
    "tokens.json",
    "README.md",
    "lm.ngram",
    "rnnlm.safetensors",
    "lexicon.txt.xz",
    "pieces.json",
)
DEFAULT_MODEL = "default"
DEFAULT_SHARE = 0.5  # of a neural language model in the language model's score
SHIPPED = Path(__file__).parent / "pretrained"  # the bundle that comes with asr
_DECODERS = ("greedy", "beam")


@dataclass(frozen=True)
class Training:
    """Where a model comes from; free text and figures for the model card.

    Attributes:
        dev_wer: word error rate on the development set, a fraction; None where not measured.
    """

    recipe: str = ""
    data: str = ""
    hours: float = 0.0
    epochs: int = 0
    steps: int = 0
    seed: int = 0
    dev_wer: float | None = None
    dev_set: str = ""
    created: str = ""


@dataclass(frozen=True)
class Decoding:
    """How to decode with a language model where the user does not say; found by `asr tune`.

    Attributes:
        lm_weight: weight of the language model's ln P.
        word_bonus: ln, added for each word.
        beam_size: prefixes kept in each frame.
        acoustic_scale: what the network's log-probabilities are multiplied by first.
        rnnlm_share: of the neural language model in the score of a second pass, where there is one.
        views: how often the network hears the speech (`asr.warp`).
    """

    lm_weight: float
    word_bonus: float
    beam_size: int
    acoustic_scale: float = 1.0
    rnnlm_share: float = DEFAULT_SHARE
    views: int = 1

    def __post_init__(self) -> None:
        check_views(self.views)


@dataclass(frozen=True)
class Bundle:
    """A model with all that is needed to use it; `model_id` is a hash of its configuration and tokens.

    Attributes:
        decoding: defaults of decoding with a language model; None where not tuned.
        language_model: path of the compiled language model that belongs to it, if one does.
        rnnlm: path of the neural language model for a second pass, if it has one.
        greedy_calibration, beam_calibration: of word confidences, found by `asr tune`; None where
            not measured.
        weights: how they are stored: "float32", or rounded to "float16", "int8" or "int7".
        phones: what the model's second head writes; empty where it has none.
        lexicon: path of the file that says how words are said in these phones.
        pieces: what the model's speller writes; None where it has none.
        others: networks that write the same tokens and phones; they hear along wherever phones are read.
        shares: of each network in the mean of their phones, as a ratio; empty: all alike.
        sections: of the model card, after what `model_card` writes, from the first "## " on: licences,
            measurements.
    """

    model: AcousticModel
    tokenizer: Tokenizer
    normalizer: str = DEFAULT_NORMALIZER
    training: Training = field(default_factory=Training)
    model_id: str = ""
    decoding: Decoding | None = None
    language_model: Path | None = None
    greedy_calibration: Calibration | None = None
    beam_calibration: Calibration | None = None
    weights: str = "float32"
    sections: str = ""
    phones: Phones = ()
    lexicon: Path | None = None
    rnnlm: Path | None = None
    others: tuple[AcousticModel, ...] = ()
    shares: tuple[float, ...] = ()
    pieces: BpeTokenizer | None = None

    def __post_init__(self) -> None:
        if self.shares:
            check_shares(self.shares, len(self.networks))

    @property
    def written(self) -> Tokenizer:
        """Of what is written where no search reads phones: the speller's pieces, or the tokens."""
        return self.tokenizer if self.pieces is None else self.pieces

    @property
    def networks(self) -> tuple[AcousticModel, ...]:
        """All of them, the first one first."""
        return (self.model, *self.others)

    @property
    def num_parameters(self) -> int:
        """Of all networks."""
        return sum(model.num_parameters for model in self.networks)


def save_bundle(bundle: Bundle, path: Path | str) -> Path:
    """Write `bundle` to the folder `path`, or nothing.

    Of a bundle that is there already the files are replaced; others in that folder stay.

    Raises:
        BundleError: something else is there, or the disk does not take it.
    """
    path = Path(path)
    if path.exists() and not _can_be_replaced(path):
        raise BundleError(f"{path} exists and is no bundle; choose another folder")
    try:
        _save(bundle, path.resolve())
    except OSError as error:
        raise BundleError(f"cannot write the model {path}: {error.strerror or error}") from error
    return path


def _save(bundle: Bundle, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        hashes = [
            save_network(model, file, bundle.weights)
            for file, model in zip(network_files(staging), bundle.networks, strict=False)
        ]
        _write_tokens(bundle.tokenizer, staging / TOKENS_FILE)
        config = _config(bundle, hashes)
        if bundle.pieces is not None:
            _write_tokens(bundle.pieces, staging / PIECES_FILE)
            config["pieces_sha256"] = file_hash(staging / PIECES_FILE)
        if bundle.language_model is not None:
            shutil.copyfile(bundle.language_model, staging / LM_FILE)
            config["lm_sha256"] = file_hash(staging / LM_FILE)
        if bundle.rnnlm is not None:
            shutil.copyfile(bundle.rnnlm, staging / RNNLM_FILE)
            config["rnnlm_sha256"] = file_hash(staging / RNNLM_FILE)
        if bundle.lexicon is not None:
            write_lexicon(read_lexicon(bundle.lexicon, bundle.phones), staging / LEXICON_FILE)
            config["phones"] = list(bundle.phones)
            config["lexicon_sha256"] = file_hash(staging / LEXICON_FILE)
        (staging / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        (staging / CARD_FILE).write_text(model_card(bundle) + bundle.sections, "utf-8")
        staging.chmod(0o755)
        for file in staging.iterdir():
            file.chmod(0o644)
        if path.exists():
            _replace_files(path, staging)
        else:
            staging.replace(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_tokens(tokenizer: Tokenizer, path: Path) -> None:
    path.write_text(json.dumps(tokenizer.tokens, ensure_ascii=False, indent=0) + "\n", "utf-8")


def _replace_files(path: Path, staging: Path) -> None:
    """Put a bundle's files in the place of an older one's."""
    others = itertools.takewhile(Path.exists, itertools.islice(network_files(path), 1, None))
    for old in [*(path / name for name in _FILES), *others]:
        if not (staging / old.name).exists():
            old.unlink(missing_ok=True)
    for new in staging.iterdir():
        new.replace(path / new.name)


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder with a bundle's configuration in it, be it a damaged one."""
    return (path / CONFIG_FILE).is_file()


def _can_be_replaced(path: Path) -> bool:
    """Whether `path` is a bundle and no folder of others, many of which have a config.json."""
    if not (path / TOKENS_FILE).is_file():
        return False
    try:
        return "format_version" in _read_json(path / CONFIG_FILE)
    except (BundleError, TypeError):
        return False


def bundle_folder(model: Path | str) -> Path:
    """The folder of a model: "default" is the one that comes with asr (./default a folder so named)."""
    return SHIPPED if str(model) == DEFAULT_MODEL else Path(model)


def load_bundle(path: Path | str) -> Bundle:
    """Load a bundle, or "default", with its model in evaluation mode, on the CPU.

    Raises:
        BundleError: no such folder, a missing or damaged file, a newer format.
    """
    path = bundle_folder(path)
    if not path.is_dir():
        raise BundleError(f"no model at {path}: a model is the folder that `asr train` writes")
    config = _read_json(path / CONFIG_FILE)
    version = config.get("format_version") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path / CONFIG_FILE}: format_version is {version!r}, this asr reads {FORMAT_VERSION}"
        )
    try:
        kind = TOKENIZERS[config.get("tokenizer", CharTokenizer.kind)]
        tokenizer = kind(tuple(_read_json(path / TOKENS_FILE)))
        phones = tuple(map(str, config.get("phones", ())))
        pieces = _pieces(path, config) if "speller" in config else None
        num_pieces = pieces.vocab_size if pieces else 0
        first = network_config(config, tokenizer.vocab_size, len(phones), num_pieces)
        others = config.get("others", ())
        networks = [first, *(_other_config(first, values) for values in others)]
        hashes = [str(config["model_sha256"]), *(str(values["sha256"]) for values in others)]
        get_normalizer(config["normalizer"])
        training = Training(**config["training"])
        decoding = _decoding(config.get("decoding"))
        greedy, beam = (_calibration(config.get(f"{name}_calibration")) for name in _DECODERS)
        shares = tuple(map(float, config.get("shares", ())))
        if shares:
            check_shares(shares, len(networks))
        weights = config.get("weights", "float32")
        if weights not in STORED:
            raise ValueError(f"weights are stored as {', '.join(STORED)}, not {weights!r}")
    except BundleError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, AsrError) as error:
        raise BundleError(f"{path}: {CONFIG_FILE} or {TOKENS_FILE} is damaged: {error}") from error
    model, *heard_along = map(load_network, network_files(path), networks, hashes)
    model_id = hashlib.sha256(
        (path / CONFIG_FILE).read_bytes() + (path / TOKENS_FILE).read_bytes()
    ).hexdigest()[:16]
    return Bundle(
        model, tokenizer, config["normalizer"], training, model_id, decoding,
        _checked(path / LM_FILE, config.get("lm_sha256")), greedy, beam,
        weights, card_sections(path / CARD_FILE),
        phones, _checked(path / LEXICON_FILE, config.get("lexicon_sha256")),
        _checked(path / RNNLM_FILE, config.get("rnnlm_sha256")), tuple(heard_along), shares, pieces,
    )  # fmt: skip


def _config(bundle: Bundle, hashes: Sequence[str]) -> dict[str, Any]:
    """What config.json says, with the hashes of all networks' weights."""
    config = {
        "format_version": FORMAT_VERSION,
        **front_and_encoder(bundle.model.config),
        "tokenizer": bundle.tokenizer.kind,
        "normalizer": bundle.normalizer,
        "training": dataclasses.asdict(bundle.training),
        "weights": bundle.weights,
        "model_sha256": hashes[0],
    }
    if bundle.model.config.speller is not None:
        config["speller"] = dataclasses.asdict(bundle.model.config.speller)
    if bundle.decoding is not None:
        config["decoding"] = dataclasses.asdict(bundle.decoding)
    for name in _DECODERS:
        calibration = getattr(bundle, f"{name}_calibration")
        if calibration is not None:
            config[f"{name}_calibration"] = dataclasses.asdict(calibration)
    if bundle.others:
        config["others"] = [
            {**front_and_encoder(other.config), "sha256": its_hash}
            for other, its_hash in zip(bundle.others, hashes[1:], strict=True)
        ]
    if bundle.shares:
        config["shares"] = list(bundle.shares)
    return config


def _other_config(first: ModelConfig, values: dict[str, Any]) -> ModelConfig:
    """The configuration of a network that hears along."""
    other = network_config(values, first.vocab_size, first.num_phones)
    check_together(first, other)
    return other


def _pieces(path: Path, config: dict[str, Any]) -> BpeTokenizer:
    """What a speller writes; BundleError or AsrError where it is not there or damaged."""
    if "pieces_sha256" not in config:
        raise BundleError(
            f"{path}: its speller writes letters, as an earlier asr's did: train it anew"
        )
    check_hash(path / PIECES_FILE, str(config["pieces_sha256"]))
    return BpeTokenizer(tuple(map(str, _read_json(path / PIECES_FILE))))


def _decoding(values: dict[str, Any] | None) -> Decoding | None:
    if values is None:
        return None
    return Decoding(
        float(values["lm_weight"]),
        float(values["word_bonus"]),
        int(values["beam_size"]),
        float(values.get("acoustic_scale", 1.0)),
        float(values.get("rnnlm_share", DEFAULT_SHARE)),
        int(values.get("views", 1)),
    )


def _calibration(values: dict[str, Any] | None) -> Calibration | None:
    if values is None:
        return None
    return Calibration(
        float(values["slope"]), float(values["length_slope"]), float(values["offset"])
    )


def _checked(path: Path, expected_hash: str | None) -> Path | None:
    if expected_hash is None:
        return None
    check_hash(path, expected_hash)
    return path


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise BundleError(f"{path} is missing: {path.parent} is no bundle, or not all of one")
    try:
        return json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is damaged: {error}") from None
