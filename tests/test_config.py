"""The typed schema: misspelt keys fail and suggest, values are checked, every recipe composes."""

import re
from pathlib import Path

import pytest
import yaml

from asr.bundle import Bundle
from asr.errors import UsageError
from asr.model import AcousticModel, ModelConfig
from asr.tokenizer import CharTokenizer
from asr.training.config import RunConfig, config_root, list_recipes, load_config, to_yaml
from asr.training.lit_module import AsrLitModule
from asr.training.objective import LossConfig
from asr.training.trainer import callbacks, lightning_trainer, loggers

EXPECTED = {
    "librispeech/clean-100",
    "librispeech/clean-460",
    "librispeech/full-960",
    "librispeech/mini",
    "librispeech/released",
    "librispeech/speller",
    "own-data/adapt",
    "own-data/template",
    "synthetic/demo",
}


def test_the_recipes_there_are() -> None:
    assert set(list_recipes()) == EXPECTED


@pytest.mark.parametrize("recipe", sorted(EXPECTED))
def test_a_recipe_composes_and_instantiates(recipe: str, tmp_path: Path) -> None:
    """Everything a run makes of its configuration, but the data."""
    config = load_config([f"recipe={recipe}", "trainer.devices=1", "trainer.strategy=auto"])
    assert config.recipe_name == recipe
    assert config.run_dir == f"runs/{recipe}"
    filled_in_by_the_command = recipe == "own-data/adapt"
    for paths in (config.data.train, config.data.dev, config.data.test):
        assert bool(paths) != filled_in_by_the_command
    tokenizer = CharTokenizer.from_texts(["abc"])
    model = AcousticModel(ModelConfig(tokenizer.vocab_size, config.features, config.encoder))
    module = AsrLitModule(
        Bundle(model, tokenizer), [], config.augment, config.optimizer, config.scheduler
    )
    trainer = lightning_trainer(config, tmp_path)
    assert trainer.max_epochs == config.trainer.max_epochs
    assert len(callbacks(config, tmp_path)) >= 5
    assert len(loggers(config, tmp_path)) == 1 + config.logger.tensorboard
    assert module.model.num_parameters > 500_000


@pytest.mark.parametrize("recipe", sorted(EXPECTED))
def test_a_recipe_is_short_and_carries_its_command(recipe: str) -> None:
    """Only the difference to the defaults, at most 40 lines; the header's command is this recipe."""
    path = config_root() / "recipes" / f"{recipe}.yaml"
    lines = path.read_text("utf-8").splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    assert len(settings) <= 40
    header = "\n".join(line for line in lines if line.startswith("#"))
    command = re.search(r"asr (train recipe=\S+|adapt)", header)
    assert command
    of_your_own = {"own-data/adapt": "adapt", "own-data/template": "train recipe=my-recipe.yaml"}
    assert command[1] == of_your_own.get(recipe, f"train recipe={recipe}")
    assert (path.parent / "README.md").is_file()


def test_a_recipe_repeats_no_default() -> None:
    """What a recipe sets differs from the schema, but where a sentence says why."""
    defaults = yaml.safe_load(to_yaml(RunConfig()))
    for recipe in EXPECTED:
        path = config_root() / "recipes" / f"{recipe}.yaml"
        for group, values in yaml.safe_load(path.read_text("utf-8")).items():
            same = [key for key, value in values.items() if defaults[group][key] == value]
            allowed = {"corpus", "normalizer", "num_layers", "dropout", "freq_width", "lr",
                       "time_share", "sizes"}  # stated for the reader  # fmt: skip
            assert not set(same) - allowed, (recipe, group, same)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.strategy=magic", "trainer: You selected an invalid strategy name"),
        ("trainer.devices=0", "trainer: .*devices"),
    ],
)
def test_what_lightning_refuses_is_a_line_about_the_trainer(
    override: str, message: str, tmp_path: Path
) -> None:
    config = load_config(["recipe=synthetic/demo", "trainer.accelerator=cpu", override])
    with pytest.raises(UsageError, match=message):
        lightning_trainer(config, tmp_path)


def test_overrides_come_last() -> None:
    config = load_config(
        ["recipe=librispeech/mini", "trainer.max_epochs=3", "encoder.num_layers=5"]
    )
    assert (config.trainer.max_epochs, config.encoder.num_layers) == (3, 5)
    assert config.data.train == ["train-clean-5"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_epoch=3", "no such key: trainer.max_epoch. Did you mean trainer.max_epochs?"),
        ("optimiser.lr=1", "Did you mean optimizer"),
        ("encoder.layers=3", "no such key: encoder.layers"),
        ("data.lr=1", "Did you mean optimizer.lr?"),
        ("trainer.max_epochs=many", "trainer.max_epochs"),
        ("encoder.subsampling=7", "encoder.subsampling must be one of"),
        ("augment.freq_masks=-1", "augment: counts"),
        ("loss.intermediate_weight=1", "loss.intermediate_weight must be in [0, 1), not 1.0"),
        ("loss.consistency_weight=-0.2", "loss.consistency_weight must be 0 or more"),
        ("loss.consistency_time_masks=0.5", "loss.consistency_time_masks must be 1 or more"),
        ("loss.consistency_share=0", "loss.consistency_share must be in (0, 1]"),
        ("tokenizer.kind=wordpiece", "tokenizer.kind must be char or bpe, not 'wordpiece'"),
        ("tokenizer.vocab_size=1", "tokenizer.vocab_size must be at least 2"),
        ("scheduler.kind=step", "scheduler.kind must be cosine or plateau"),
        ("scheduler.factor=1", "0 < factor < 1"),
        ("scheduler.final_share=2", "0 <= final_share <= 1"),
        ("callbacks.average=mean", "callbacks.average must be one of none, best, last, ema"),
        ("callbacks.ema_decay=1", "callbacks.ema_decay must be in [0, 1)"),
        ("callbacks.average_count=0", "must be at least 1"),
        ("trainer.max_skipped_in_a_row=0", "must be at least 1"),
        ("trainer.max_epochs=-1", "trainer.max_epochs must be at least 1, not -1"),
        ("trainer.validate_every_epochs=0", "trainer.validate_every_epochs must be at least 1"),
        ("trainer.threads=0", "trainer.threads must be at least 1"),
        ("optimizer.lr=-1", "optimizer needs lr > 0"),
        ("optimizer.lr=nan", "optimizer needs lr > 0"),
        ("optimizer.clip_norm=inf", "optimizer needs lr > 0"),
        ("features=null", "bad configuration: "),
        ("seed=1.5", "'1.5' of type 'float' could not be converted to Integer"),
        ("trainer=cpu", "Available options in 'trainer': auto cpu-bf16"),
        ("optimizer.beta1=2", "optimizer.beta1 and optimizer.beta2 must be in [0, 1)"),
        ("seed=-1", "seed must be 0 to 4294967295, not -1"),
        ("features.n_mfcc=0", "features.n_mfcc must be 1 to features.n_mels (40), not 0"),
        (
            "+encoder.hiden_size=3",
            "no such key: encoder.hiden_size. Did you mean encoder.hidden_size?",
        ),
        ("+optimizer.lrr=1", "no such key: optimizer.lrr. Did you mean optimizer.lr?"),
        ("run_dir=a=b", "bad configuration: mismatched input '='"),
        ("trainer.precision=bf16", "trainer.precision must be one of 32-true"),
        ("resume", "'resume' is no override; write key=value"),
    ],
)
def test_a_bad_override_fails_and_says_what_was_meant(override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config(["recipe=librispeech/mini", override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=intermediate", "loss.intermediate_layers=[3]"], "1 to 2 of encoder.num_layers = 3"),
        (["loss=intermediate", "loss.intermediate_layers=[0]"], "0 is not"),
        (["loss=intermediate", "encoder.num_layers=1"], "loss.intermediate_layers must be inner"),
        (
            ["loss=cr-ctc", "augment.time_masks=0", "augment.freq_masks=0", "augment.vtlp=0"],
            "views that differ",
        ),
        (["encoder.conv_kind=conv2d", "features.kind=mfcc"], "features.kind=logmel"),
        (["encoder.conv_kind=conv3d"], "conv1d or conv2d, not 'conv3d'"),
    ],
)
def test_a_loss_that_the_network_cannot_have_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(["recipe=librispeech/mini", *overrides])


def test_the_middle_layer_is_the_one_that_an_intermediate_loss_means() -> None:
    assert LossConfig().taps(4) == ()
    assert LossConfig(intermediate_weight=0.3).taps(4) == (2,)
    assert LossConfig(intermediate_weight=0.3).taps(3) == (1,)
    assert LossConfig(intermediate_weight=0.3, intermediate_layers=[3, 1, 3]).taps(4) == (1, 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "name one recipe.*librispeech/mini"),
        (
            ["recipe=librispeech/mino"],
            "Did you mean librispeech/mini.*Recipes: librispeech/clean-100",
        ),
        (["recipe=nowhere.yaml"], "no recipe file nowhere.yaml"),
        (["recipe=librispeech/mini", "recipe=synthetic/demo"], "name one recipe"),
    ],
)
def test_an_unknown_recipe_lists_those_there_are(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(overrides)


def test_a_recipe_of_ones_own_by_path(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    template = (config_root() / "recipes/own-data/template.yaml").read_text("utf-8")
    recipe.write_text(template.replace("max_epochs: 60", "max_epochs: 7"))
    config = load_config([f"recipe={recipe}"])
    assert (config.recipe_name, config.run_dir) == ("mine", "runs/mine")
    assert config.trainer.max_epochs == 7


def test_a_recipe_here_has_the_name_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    monkeypatch.chdir(tmp_path)
    for path in ("mine.yaml", "./mine.yaml", str(tmp_path / "mine.yaml")):
        assert load_config([f"recipe={path}"]).run_dir == "runs/mine"


def test_a_misspelt_key_in_a_recipe_fails_too(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("augment:\n  freq_mask: 3\n")
    with pytest.raises(UsageError, match=r"augment.freq_mask.*Did you mean augment.freq_masks"):
        load_config([f"recipe={recipe}"])
    recipe.write_text("augment: [\n")
    with pytest.raises(UsageError, match=r"mine\.yaml is no YAML"):
        load_config([f"recipe={recipe}"])


def test_the_written_configuration_is_the_run() -> None:
    config = load_config(["recipe=synthetic/demo"])
    assert yaml.safe_load(to_yaml(config))["encoder"]["hidden_size"] == config.encoder.hidden_size
    assert isinstance(config, RunConfig)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("features=logmel", ("logmel", "auto", "32-true")),
        ("loss=cr-ctc", ("mfcc", "auto", "32-true")),
        ("trainer=cpu-bf16", ("mfcc", "cpu", "bf16-mixed")),
        ("trainer=ddp", ("mfcc", "gpu", "bf16-mixed")),
    ],
)
def test_groups_choose_several_keys_at_once(choice: str, expected: tuple[str, str, str]) -> None:
    config = load_config(["recipe=librispeech/clean-100", choice])
    trainer = config.trainer
    assert (config.features.kind, trainer.accelerator, trainer.precision) == expected
    assert trainer.max_epochs == load_config(["recipe=librispeech/clean-100"]).trainer.max_epochs


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], (0.3, 0.2, 2.0)),  # as the recipe has it
        (["loss=ctc"], (0.0, 0.0, 2.0)),
        (["loss=cr-ctc"], (0.0, 0.2, 2.5)),
        (["loss=intermediate"], (0.3, 0.0, 2.0)),
        (["loss.intermediate_weight=0.1", "loss=cr-ctc"], (0.1, 0.2, 2.5)),
    ],
)
def test_a_group_on_the_command_line_stands_above_the_recipe(
    overrides: list[str], expected: tuple[float, float, float]
) -> None:
    loss = load_config(["recipe=librispeech/mini", *overrides]).loss
    assert (
        loss.intermediate_weight, loss.consistency_weight, loss.consistency_time_masks
    ) == expected  # fmt: skip


def test_every_file_of_every_group_composes() -> None:
    for path in (config_root() / "conf").glob("*/*.yaml"):
        load_config(["recipe=librispeech/clean-100", f"{path.parent.name}={path.stem}"])
    with pytest.raises(UsageError, match="features.*fbank"):
        load_config(["recipe=librispeech/mini", "features=fbank"])
