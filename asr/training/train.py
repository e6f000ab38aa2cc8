"""`asr train`: recipe -> manifests -> checkpoints -> bundle -> WER report, in one command."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from asr.bundle import Bundle, Training, load_bundle, save_bundle
from asr.errors import AsrError, UsageError
from asr.evaluate import Evaluation, evaluate, report_names
from asr.manifest import read_manifest, set_name
from asr.merge import with_speller_of
from asr.model import AcousticModel, ModelConfig
from asr.pronunciation import read_lexicon
from asr.run_state import read_settings
from asr.tokenizer import Tokenizer
from asr.training.allocator import keep_freed_memory
from asr.training.averaging import Chosen, State, choose_weights, dev_wer, scored_checkpoints
from asr.training.checkpoints import Checkpoint, checkpoint_to_resume
from asr.training.config import RunConfig, load_config, to_yaml
from asr.training.datamodule import Manifests, SpeechDataModule
from asr.training.fitting import fit, say
from asr.training.hardware import check_hardware, slow_precision
from asr.training.lit_module import AsrLitModule
from asr.training.prepare import prepare
from asr.training.run_watch import refresh_run_page
from asr.training.trainer import lightning_trainer
from asr.training.warmstart import (
    check_same_network,
    lexicon_path,
    speller_to_keep,
    take_weights,
    vocabulary_to_keep,
    with_phones_of,
)
from asr.transcribe import load_model
from asr.whole_file import write_atomically

CONFIG_FILE = "config.yaml"
BUNDLE_FOLDER = "bundle"
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a cache needs none
    ".*smaller than the logging interval.*",
    ".*your dataloader is not resumable.*",  # BucketSampler.resume_at does it
    ".*exists and is not empty.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*bucket view strides.*",  # of one convolution's few weights, in oneDNN's layout
    ".*sync_dist=True.*",  # validation figures are the same on every process already
)


@dataclass(frozen=True)
class TrainedModel:
    """What a run leaves behind.

    Attributes:
        evaluations: of the test sets, in the first of several processes.
        is_first: whether this process is the first.
    """

    bundle_path: Path
    evaluations: tuple[Evaluation, ...]
    is_first: bool = True


def train(overrides: Sequence[str]) -> TrainedModel:
    """Run a recipe: `overrides` as on the command line, `recipe=<corpus>/<name>` among them."""
    return run(load_config(overrides))


def run(config: RunConfig) -> TrainedModel:
    """Prepare the data, train (or go on), write the bundle of the best checkpoint, evaluate it."""
    _quieten_lightning()
    run_dir = Path(config.run_dir)
    check_hardware(config.trainer)
    _check_run_dir(run_dir, config)
    keep_freed_memory()
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    if note := slow_precision(config.trainer):
        say(note)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    start = _start_from(config)
    manifests = prepare(config.data)
    for manifest in manifests["test"]:
        read_manifest(manifest)  # one that is not there or broken is no news for after the training
    module, data = _build(config, manifests, start)
    checkpoint = checkpoint_to_resume(run_dir, say) if config.resume else None
    if checkpoint is not None:
        _check_goes_on(checkpoint, config, module)
    _start_run_dir(run_dir, config, data)
    if checkpoint is not None:
        data.resume_at(*checkpoint.position, checkpoint.epoch_batches)
        say(
            f"resuming {checkpoint.path}: epoch {checkpoint.position[0] + 1}, "
            f"{checkpoint.position[1]} batches done"
        )
    elif start is not None:
        done = take_weights(module.bundle.model, data.tokenizer, start, module.bundle.phones)
        left_out = len(start.others) > len(module.bundle.others)
        without = ", not the networks that hear along" if left_out else ""
        say(f"starting from {config.init_from}: {done}{without}")
    trainer = lightning_trainer(config, run_dir, checkpoint.step if checkpoint else 0)
    fit(trainer, module, data, checkpoint)
    if not trainer.is_global_zero:
        return TrainedModel(run_dir / BUNDLE_FOLDER, (), is_first=False)
    return _finish(config, run_dir, trainer, module, data, manifests)


def _start_from(config: RunConfig) -> Bundle | None:
    """The bundle of init_from, if there is one; refused where its network is another one."""
    if config.init_from is None:
        return None
    start = load_bundle(config.init_from)
    check_same_network(config, start)
    if start.normalizer != config.data.normalizer:
        say(
            f"{config.init_from} was trained on texts of the normaliser {start.normalizer}, this run "
            f"has data.normalizer={config.data.normalizer}"
        )
    speller = config.speller
    if speller.init_from is not None:
        start = with_speller_of(speller.init_from, start, speller.network)
    return start


def _check_goes_on(checkpoint: Checkpoint, config: RunConfig, module: AsrLitModule) -> None:
    """Refuse settings that a checkpoint cannot go on with, before anything is written."""
    checkpoint.check_fits(module.state_dict(), module.vocabulary.tokens)
    epoch = checkpoint.position[0] + 1
    if epoch > config.trainer.max_epochs:
        raise UsageError(
            f"{checkpoint.path} is of epoch {epoch}, trainer.max_epochs is {config.trainer.max_epochs}"
        )
    for key, there, here in (
        ("optimizer.kind", checkpoint.optimizer, config.optimizer.kind),
        ("scheduler.kind", checkpoint.schedule, config.scheduler.kind),
    ):
        if there != here:
            raise UsageError(
                f"{checkpoint.path} was trained with {key}={there}, not {here}: go on with that, "
                "or begin in another run_dir with init_from="
            )
    if checkpoint.averaged and config.callbacks.average != "ema":
        raise UsageError(
            f"{checkpoint.path} holds a moving average: go on with callbacks.average=ema, as this run "
            "was started"
        )


def _build(
    config: RunConfig, manifests: dict[str, tuple[Path, ...]], start: Bundle | None
) -> tuple[AsrLitModule, SpeechDataModule]:
    """The modules of a run; the vocabulary comes from the training texts, or from `start`."""
    if config.speller.texts:
        from asr.training.speller import speller_modules  # numba, which other trainings do without

        return speller_modules(config, Manifests(manifests["train"], manifests["dev"]), start)
    wanted = lexicon_path(config, start) if config.loss.phone_weight else None
    lexicon = None if wanted is None else with_phones_of(start, read_lexicon(wanted))

    def read(tokenizer: Tokenizer | None = None) -> SpeechDataModule:
        return SpeechDataModule(
            Manifests(manifests["train"], manifests["dev"]),
            config.data,
            ModelConfig(vocab_size=1, features=config.features, encoder=config.encoder),
            config.seed,
            tokenizer,
            tokenizer_config=config.tokenizer,
            augment=config.augment,
            lexicon=lexicon,
        )

    data = read()
    tokenizer = None if start is None else vocabulary_to_keep(start, data)
    if tokenizer is not None:
        data = read(tokenizer)
    phones = lexicon.phones if lexicon else ()
    speller = speller_to_keep(start, phones)
    model_config = ModelConfig(
        data.tokenizer.vocab_size, config.features, config.encoder, len(phones),
        speller.size, speller.num_pieces,
    )  # fmt: skip
    origin = f"; started from model {start.model_id}" if start is not None else ""
    bundle = Bundle(
        AcousticModel(model_config),
        data.tokenizer,
        config.data.normalizer,
        Training(data=", ".join(map(set_name, config.data.train)) + origin),
        phones=phones,
        lexicon=wanted,
        pieces=speller.pieces,
    )
    module = AsrLitModule(
        bundle, data.dev_examples, config.augment, config.optimizer, config.scheduler, config.loss,
        config.seed, data.phone_trigram() if config.loss.phone_crf else None,
    )  # fmt: skip
    say(
        f"model: {bundle.model.num_parameters / 1e6:.2f} M parameters, "
        f"{data.tokenizer.vocab_size} tokens; training on {len(data.train_examples)} utterances, "
        f"{data.train_hours:.2f} h"
    )
    return module, data


def _check_run_dir(run_dir: Path, config: RunConfig) -> None:
    """Refuse a run folder that holds another run; nothing is written yet."""
    config_file = run_dir / CONFIG_FILE
    if not config_file.is_file() or _rank():  # rank 0 has written it for the others
        return
    if not config.resume:
        raise UsageError(
            f"{run_dir} holds a run already: go on with resume=true, or choose another run_dir=..."
        )
    theirs = read_settings(config_file).get("recipe_name")  # none if it is damaged
    if theirs not in (None, config.recipe_name):
        raise UsageError(f"{run_dir} belongs to the recipe {theirs}, not to {config.recipe_name}")


def _start_run_dir(run_dir: Path, config: RunConfig, data: SpeechDataModule) -> None:
    """Write what is known before training: the configuration and what was left out."""
    if _rank():
        return
    lines = []
    for note in data.notes:
        say(note)
    for left_out in data.left_out:
        say(str(left_out))
        lines += [f"{name}\t{left_out.reason}\n" for name in left_out.utterance_ids]
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / "left_out.txt", lines)
        write_atomically(run_dir / CONFIG_FILE, [to_yaml(config)])
    except OSError as error:
        raise AsrError(f"cannot write to run_dir {run_dir}: {error.strerror or error}") from None


def _finish(
    config: RunConfig,
    run_dir: Path,
    trainer: lightning.Trainer,
    module: AsrLitModule,
    data: SpeechDataModule,
    manifests: dict[str, tuple[Path, ...]],
) -> TrainedModel:
    chosen = _choose_weights(config, trainer, module, data)
    if chosen.how:
        say(chosen.how)
    module.load_state_dict(chosen.state)
    training = Training(
        recipe=config.recipe_name,
        data=module.bundle.training.data,
        hours=round(data.train_hours, 3),
        epochs=chosen.epochs,
        steps=chosen.steps,
        seed=config.seed,
        dev_wer=chosen.dev_wer,
        dev_set=", ".join(map(set_name, config.data.dev)),
        created=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    module.bundle.model.eval()
    bundle = replace(module.bundle, training=training)
    bundle_path = save_bundle(bundle, run_dir / BUNDLE_FOLDER)
    evaluations: tuple[Evaluation, ...] = ()
    if tests := manifests["test"]:
        recognizer = load_model(bundle_path, device=str(trainer.strategy.root_device))
        evaluations = tuple(
            evaluate(manifest, recognizer, run_dir / "report" / name)
            for manifest, name in zip(tests, report_names(tests), strict=True)
        )
    if config.logger.page:
        refresh_run_page(run_dir)
    return TrainedModel(bundle_path, evaluations)


def _choose_weights(
    config: RunConfig, trainer: lightning.Trainer, module: AsrLitModule, data: SpeechDataModule
) -> Chosen:
    def measure(state: State) -> float:
        module.load_state_dict(state)
        return dev_wer(module.bundle, data.dev_examples, str(trainer.strategy.root_device))

    by_monitor = {
        callback.monitor: callback
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
    }
    recent = by_monitor.get("step")
    return choose_weights(
        config.callbacks,
        scored_checkpoints(by_monitor["val/wer"]),
        [one.path for one in scored_checkpoints(recent)] if recent else [],
        measure,
    )


def _quieten_lightning() -> None:
    """Keep Lightning's tips and its advice on choices that are made here on purpose off the screen."""
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _rank() -> int:
    """Of this process, known before the trainer is; Lightning reads it from the environment."""
    return int(getattr(rank_zero_only, "rank", None) or 0)
