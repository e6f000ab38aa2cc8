"""The typed schema of a run: every key a recipe or the command line can set, with its default.

Composition is Hydra's: conf/train.yaml, then the recipe, then overrides, of which those that choose a
group (``loss=cr-ctc``) come first. A misspelt key fails; the error suggests the key that was probably
meant.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asr.augment import AugmentConfig
from asr.bundle import load_bundle
from asr.encoder import EncoderConfig
from asr.errors import UsageError
from asr.features import FeatureConfig
from asr.tokenizer import TokenizerConfig
from asr.training.engine_config import (
    CallbacksConfig,
    OptimizerConfig,
    SchedulerConfig,
    SpellerConfig,
    TrainerConfig,
)
from asr.training.objective import LossConfig

_YAML = (".yaml", ".yml")


@dataclass
class SyntheticSizes:
    """Utterances to speak for each split of the synthetic corpus."""

    train: int = 2000
    dev: int = 120
    test: int = 300


@dataclass
class DataConfig:
    """Where speech comes from.

    Attributes:
        corpus: librispeech (subsets by name), synthetic (made here), manifests (paths).
        data_dir: where the audio is; for synthetic, where it is put.
        manifest_dir: where manifests of a corpus are written.
        download: for librispeech, fetch the subsets that are missing from data_dir.
        mirror: server to fetch from, like https://openslr.elda.org/resources; null tries OpenSLR's.
        remove_archives: delete an archive once it is unpacked.
        train, dev, test: subset names of the corpus, or paths of manifests; test may be empty.
        sizes: for synthetic, utterances to make in each split.
        normalizer: name of the text normaliser (asr/text.py).
        unknown_characters: development texts with characters not in training: "skip" leaves the
            utterance out of the loss, "error" stops. They are counted and shown either way.
        max_utterance_s: longer training utterances are left out, counted and named.
        speeds: factors of speed perturbation, one drawn for each utterance of an epoch; [1.0] is
            none.
        batch_s: seconds of padded audio in a training batch of one process.
        eval_batch_s: the same for validation.
        cache_dir: decoded waveforms are kept there; null decodes in every epoch.
        num_workers: processes that decode and augment ahead; 0 does it in the training process. Batches
            are the same.
    """

    corpus: str = "manifests"
    data_dir: str = "data"
    manifest_dir: str = "data/manifests"
    download: bool = True
    mirror: str | None = None
    remove_archives: bool = False
    train: list[str] = field(default_factory=list)
    dev: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    sizes: SyntheticSizes = field(default_factory=SyntheticSizes)
    normalizer: str = "asr-en-1"
    unknown_characters: str = "skip"
    max_utterance_s: float = 35.0
    speeds: list[float] = field(default_factory=lambda: [1.0])
    batch_s: float = 120.0
    eval_batch_s: float = 240.0
    cache_dir: str | None = None
    num_workers: int = 0


@dataclass
class LoggerConfig:
    """Logs in the run folder, beside the checkpoints.

    Attributes:
        page: run.html, learning_curve.png, posterior.png and samples.jsonl, drawn from the CSV log.
    """

    csv: bool = True
    tensorboard: bool = True
    page: bool = True


@dataclass
class RunConfig:
    """A whole run.

    Attributes:
        recipe_name: filled in from recipe=.
        run_dir: checkpoints, logs, bundle and report go there.
        resume: go on from run_dir's last checkpoint.
        init_from: a bundle whose weights training starts from (a checkpoint that is resumed goes before
            it). Its front end and encoder are taken whatever the recipe says; keys given on the
            command line go before the bundle's. Its vocabulary is kept, with the characters that the
            training texts have besides; one of pieces that cannot write them all makes way for a new
            one.
    """

    recipe_name: str = "custom"
    run_dir: str = "runs/${recipe_name}"
    seed: int = 1
    resume: bool = False
    init_from: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    speller: SpellerConfig = field(default_factory=SpellerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)

    def __post_init__(self) -> None:
        self.loss.taps(self.encoder.num_layers)
        if self.encoder.conv_kind == "conv2d" and self.features.kind != "logmel":
            raise UsageError(
                "encoder.conv_kind=conv2d looks for shapes in a spectrum, which cepstra are not: set "
                "features.kind=logmel, or encoder.conv_kind=conv1d"
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be 0 to {2**32 - 1}, not {self.seed}")
        if self.loss.consistency_weight and not self.augment.active:
            raise UsageError(
                "loss.consistency_weight needs views that differ: set augment.time_masks, "
                "augment.freq_masks or augment.vtlp"
            )


def config_root() -> Path:
    """The folder that holds conf/ and recipes/: the package in a wheel, the checkout otherwise."""
    package = Path(str(resources.files("asr")))
    return package if (package / "conf").is_dir() else package.parent


def list_recipes() -> list[str]:
    """Names of the recipes that come with asr, as recipe= takes them."""
    folder = config_root() / "recipes"
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def load_config(overrides: Sequence[str]) -> RunConfig:
    """Compose and validate a run from `recipe=NAME` and Hydra overrides.

    `recipe=` takes the name of a recipe that comes with asr, or the path of a .yaml file.

    Raises:
        UsageError: unknown recipe (lists those there are), misspelt key (suggests), bad value.
    """
    recipes = [value.partition("=")[2] for value in overrides if value.startswith("recipe=")]
    if len(recipes) != 1:
        raise UsageError(f"name one recipe: recipe=<corpus>/<name>. {_recipes_there_are()}")
    rest = [value for value in overrides if not value.startswith("recipe=")]
    malformed = [value for value in rest if "=" not in value and not value.startswith("~")]
    if malformed:
        raise UsageError(f"{malformed[0]!r} is no override; write key=value")
    return _compose(_find_recipe(recipes[0]), recipes[0], rest)


def _find_recipe(recipe: str) -> Path:
    """The file of a recipe by its name or path."""
    if recipe.endswith(_YAML):
        path = Path(recipe)
        if not path.is_file():
            raise UsageError(f"no recipe file {recipe}. {_recipes_there_are()}")
        return path
    if recipe not in list_recipes():
        close = difflib.get_close_matches(recipe, list_recipes(), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"no recipe is called {recipe!r}.{hint} {_recipes_there_are()}")
    return config_root() / "recipes" / f"{recipe}.yaml"


def _recipes_there_are() -> str:
    return f"Recipes: {', '.join(list_recipes())}; or the path of a .yaml file"


def _compose(path: Path, recipe: str, overrides: Sequence[str]) -> RunConfig:
    store = ConfigStore.instance()
    GlobalHydra.instance().clear()
    try:
        store.store(name="run_schema", node=_schema())
        settings = OmegaConf.load(path)
        chosen = _chosen_groups(overrides)
        with initialize_config_dir(str(config_root() / "conf"), version_base="1.3"):
            composed = _with_recipe(OmegaConf.merge(settings, chosen), overrides)
            if composed.init_from is not None:
                settings = OmegaConf.merge(settings, _network_of(composed.init_from, overrides))
                composed = _with_recipe(OmegaConf.merge(settings, chosen), overrides)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error.reason})") from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(_explain(error)) from None
    _check_keys(composed)
    composed.recipe_name = path.stem if recipe.endswith(_YAML) else recipe
    return to_run_config(composed)


def _chosen_groups(overrides: Sequence[str]) -> dict[str, Any]:
    """What the groups that overrides choose (`loss=cr-ctc`) have in them, to stand above the recipe."""
    named = (override.partition("=") for override in overrides)
    files = {key: config_root() / "conf" / key / f"{value}.yaml" for key, _, value in named}
    return {key: OmegaConf.load(file) for key, file in files.items() if file.is_file()}


def _check_keys(composed: DictConfig) -> None:
    """Hydra's `+key=value` adds keys that nobody reads."""
    known = set(all_keys())
    for key in _flatten(OmegaConf.to_container(composed)):
        if key not in known:
            raise UsageError(_no_such_key(key))


def _with_recipe(settings: DictConfig | ListConfig, overrides: Sequence[str]) -> DictConfig:
    ConfigStore.instance().store(group="recipe", name="chosen", node=settings, package="_global_")
    composed = compose("train", overrides=["+recipe=chosen", *overrides])
    assert isinstance(composed, DictConfig)
    return composed


def _network_of(bundle: str, overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Front end, encoder and kind of tokens of a bundle, but for groups that an override chooses."""
    start = load_bundle(bundle)
    config = start.model.config
    network = {
        "features": asdict(config.features),
        "encoder": asdict(config.encoder),
        "tokenizer": {"kind": start.tokenizer.kind},
    }
    whole = {override.partition("=")[0] for override in overrides}
    return {group: values for group, values in network.items() if group not in whole}


def _schema() -> DictConfig:
    """RunConfig as OmegaConf's typed tree; frozen dataclasses in it must be open to overrides."""
    schema = OmegaConf.structured(RunConfig)
    assert isinstance(schema, DictConfig)
    _open_to_overrides(schema)
    return schema


def _open_to_overrides(tree: DictConfig) -> None:
    OmegaConf.set_readonly(tree, None)
    for key in tree:
        node = tree._get_node(key)
        if isinstance(node, DictConfig):
            _open_to_overrides(node)


def to_run_config(config: DictConfig) -> RunConfig:
    """Resolve interpolations and build the dataclasses; their own checks run here."""
    try:
        run = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UsageError(_explain(error)) from None
    assert isinstance(run, RunConfig)
    return run


def quoted(path: Path | str) -> str:
    """A path as the value of an override, in Hydra's grammar."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def to_yaml(config: RunConfig) -> str:
    """The whole configuration, as written into the run folder."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def all_keys() -> list[str]:
    """Every key of the schema with dots, for suggestions."""
    return list(_flatten(OmegaConf.to_container(OmegaConf.structured(RunConfig))))


def _flatten(tree: Any, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")


def _explain(error: Exception) -> str:
    """One line of a Hydra or OmegaConf error, with the key that was probably meant."""
    chain = list(_causes(error))
    text = "\n".join(str(cause) for cause in chain)
    match = re.search(r"Key '([^']+)' (?:is )?not in|[Cc]ould not override '([^']+)'", text)
    full_key = re.search(r"full_key: (\S+)", text) or re.search(r"override '([^']+)'", text)
    wrong = full_key[1] if full_key else (match[1] or match[2] if match else "")
    if match is None:
        said = [str(cause).strip() for cause in chain if cause.args and cause.args[0]]
        plain = [one for one in said if "$VALUE" not in one]  # OmegaConf's own cause is a template
        lines = plain[-1].splitlines() if plain else [type(error).__name__]
        if "Could not find" in lines[0]:
            lines = [" ".join("\n".join(lines).split())]  # and what there is
        return f"bad configuration: {lines[0]}" + (f" (key {wrong})" if wrong else "")
    return _no_such_key(wrong)


def _no_such_key(wrong: str) -> str:
    close = _closest_key(wrong)
    return f"no such key: {wrong}." + (f" Did you mean {close}?" if close else "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _closest_key(wrong: str) -> str | None:
    """The schema's key most like `wrong`; a right last part in the wrong group counts too."""
    keys = all_keys()
    same_name = [key for key in keys if key.split(".")[-1] == wrong.split(".")[-1]]
    close = same_name or difflib.get_close_matches(wrong, keys, n=1, cutoff=0.6)
    return close[0] if close else None
