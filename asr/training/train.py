"""`asr train`: recipe -> manifests -> checkpoints -> bundle -> WER report, in one command."""

import logging
import pickle
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from asr.bundle import Bundle, Training, save_bundle
from asr.errors import AsrError, UsageError
from asr.evaluate import Evaluation, evaluate
from asr.model import AcousticModel, ModelConfig
from asr.training.callbacks import EpochLine, Throughput, ValidateLastEpoch
from asr.training.config import RunConfig, load_config, to_yaml
from asr.training.datamodule import Manifests, SpeechDataModule
from asr.training.dataset import lost_worker
from asr.training.lit_module import AsrLitModule, position_of
from asr.training.prepare import prepare
from asr.training.run_watch import RunWatch, refresh_run_page
from asr.transcribe import load_model

CONFIG_FILE = "config.yaml"
CHECKPOINT_FOLDER = "checkpoints"
BUNDLE_FOLDER = "bundle"
LAST_CHECKPOINT = "last.ckpt"
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a cache needs none
    ".*smaller than the logging interval.*",
    ".*your dataloader is not resumable.*",  # BucketSampler.resume_at does it
    ".*exists and is not empty.*",
    ".*isinstance.treespec, LeafSpec.*",
)


@dataclass(frozen=True)
class TrainedModel:
    """What a run leaves behind."""

    bundle_path: Path
    evaluations: tuple[Evaluation, ...]


def train(overrides: Sequence[str]) -> TrainedModel:
    """Run a recipe: `overrides` as on the command line, `recipe=<corpus>/<name>` among them."""
    return run(load_config(overrides))


def run(config: RunConfig) -> TrainedModel:
    """Prepare the data, train (or go on), write the bundle of the best checkpoint, evaluate it."""
    _quieten_lightning()
    run_dir = Path(config.run_dir)
    _check_run_dir(run_dir, config)
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    manifests = prepare(config.data)
    module, data = _build(config, manifests)
    _start_run_dir(run_dir, config, data)
    trainer = lightning_trainer(config, run_dir)
    checkpoint = _checkpoint_to_resume(run_dir) if config.resume else None
    if checkpoint is not None:
        data.resume_at(*checkpoint.position)
        _say(
            f"resuming {checkpoint.path}: epoch {checkpoint.position[0] + 1}, "
            f"{checkpoint.position[1]} batches done"
        )
    _fit(trainer, module, data, checkpoint)
    if not trainer.is_global_zero:
        return TrainedModel(run_dir / BUNDLE_FOLDER, ())
    return _finish(config, run_dir, trainer, module, data, manifests)


def _fit(
    trainer: lightning.Trainer,
    module: AsrLitModule,
    data: SpeechDataModule,
    checkpoint: "_Checkpoint | None",
) -> None:
    path = checkpoint.path if checkpoint is not None else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    except SystemExit:  # Lightning ends a run that Ctrl-C stopped with exit(1)
        if not trainer.interrupted:
            raise
        _say(f"stopped; the same command with resume=true goes on from {trainer.default_root_dir}")
        raise KeyboardInterrupt from None
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU's has no class of its own
        if lost := lost_worker(error):
            raise lost from error
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        longest_s = max(example.utterance.duration_s for example in data.train_examples)
        raise AsrError(
            f"out of memory: lower data.batch_s (now {data.config.batch_s:g} s of audio in a batch), "
            f"data.eval_batch_s ({data.config.eval_batch_s:g}) or data.max_utterance_s (the longest "
            f"utterance has {longest_s:.1f} s), then go on with resume=true"
        ) from error


def _build(
    config: RunConfig, manifests: dict[str, tuple[Path, ...]]
) -> tuple[AsrLitModule, SpeechDataModule]:
    """The modules of a run; the vocabulary comes from the training texts."""
    data = SpeechDataModule(
        Manifests(manifests["train"], manifests["dev"]),
        config.data,
        ModelConfig(vocab_size=1, features=config.features, encoder=config.encoder),
        config.seed,
        tokenizer_config=config.tokenizer,
        augment=config.augment,
    )
    model_config = ModelConfig(data.tokenizer.vocab_size, config.features, config.encoder)
    bundle = Bundle(AcousticModel(model_config), data.tokenizer, config.data.normalizer)
    module = AsrLitModule(
        bundle, data.dev_examples, config.augment, config.optimizer, config.scheduler, config.loss
    )
    _say(
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
    if f"recipe_name: {config.recipe_name}\n" not in config_file.read_text("utf-8"):
        raise UsageError(f"{run_dir} belongs to another recipe than {config.recipe_name}")


def _start_run_dir(run_dir: Path, config: RunConfig, data: SpeechDataModule) -> None:
    """Write what is known before training: the configuration and what was left out."""
    if _rank():
        return
    lines = []
    for note in data.notes:
        _say(note)
    for left_out in data.left_out:
        _say(str(left_out))
        lines += [f"{name}\t{left_out.reason}\n" for name in left_out.utterance_ids]
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / CONFIG_FILE).write_text(to_yaml(config), "utf-8")
        (run_dir / "left_out.txt").write_text("".join(lines), "utf-8")
    except OSError as error:
        raise AsrError(f"cannot write to run_dir {run_dir}: {error.strerror}") from None


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint that can be read; position is (epoch, batches done in it)."""

    path: Path
    position: tuple[int, int]


def _checkpoint_to_resume(run_dir: Path) -> _Checkpoint | None:
    """The newest readable checkpoint; a damaged one is named and passed over."""
    paths = (run_dir / CHECKPOINT_FOLDER).glob("*.ckpt")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return _Checkpoint(path, position_of(checkpoint))
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            _say(f"checkpoint {path} is damaged ({reason}): trying the one before it")
    _say(f"nothing to resume in {run_dir}: starting from the beginning")
    return None


def lightning_trainer(config: RunConfig, run_dir: Path) -> lightning.Trainer:
    """Lightning's Trainer as a recipe wants it."""
    trainer = config.trainer
    return lightning.Trainer(
        max_epochs=trainer.max_epochs,
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy=trainer.strategy,
        precision=trainer.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=trainer.accumulate_batches,
        gradient_clip_val=config.optimizer.clip_norm,
        check_val_every_n_epoch=trainer.validate_every_epochs,
        log_every_n_steps=trainer.log_every_steps,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        callbacks=callbacks(config, run_dir),
        logger=loggers(config, run_dir),
        default_root_dir=run_dir,
    )


def callbacks(config: RunConfig, run_dir: Path) -> list[Callback]:
    """Checkpoints (the best by validation WER, and the last), figures, early stopping."""
    folder = run_dir / CHECKPOINT_FOLDER
    best = ModelCheckpoint(
        dirpath=folder,
        filename="epoch={epoch:03d}-wer={val/wer:.4f}",
        auto_insert_metric_name=False,
        monitor="val/wer",
        save_top_k=config.callbacks.keep_best,
    )
    last = ModelCheckpoint(
        dirpath=folder,
        filename=LAST_CHECKPOINT.removesuffix(".ckpt"),
        every_n_train_steps=config.callbacks.checkpoint_every_steps,
        enable_version_counter=False,
    )
    chosen: list[Callback] = [
        best,
        last,
        ValidateLastEpoch(),
        Throughput(config.features.sample_rate),
        EpochLine(),
    ]
    if config.logger.csv or config.logger.tensorboard:
        chosen.append(LearningRateMonitor("step"))
    if config.logger.page:
        chosen.insert(0, RunWatch(run_dir))  # Throughput starts its clock again after the drawing
    if config.callbacks.patience is not None:
        chosen.append(EarlyStopping("val/wer", patience=config.callbacks.patience))
    return chosen


def loggers(config: RunConfig, run_dir: Path) -> list[Logger]:
    """Logs below run_dir/logs."""
    chosen: list[Logger] = []
    if config.logger.csv:
        chosen.append(CSVLogger(run_dir, name="logs/csv"))
    if config.logger.tensorboard:
        chosen.append(TensorBoardLogger(run_dir, name="logs", version="tensorboard"))
    return chosen


def _finish(
    config: RunConfig,
    run_dir: Path,
    trainer: lightning.Trainer,
    module: AsrLitModule,
    data: SpeechDataModule,
    manifests: dict[str, tuple[Path, ...]],
) -> TrainedModel:
    best = trainer.checkpoint_callbacks[0]
    assert isinstance(best, ModelCheckpoint)
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    training = Training(
        recipe=config.recipe_name,
        data=", ".join(config.data.train),
        hours=round(data.train_hours, 3),
        epochs=int(state["epoch"]) + 1,
        steps=int(state["global_step"]),
        seed=config.seed,
        dev_wer=None if best.best_model_score is None else float(best.best_model_score),
        dev_set=", ".join(config.data.dev),
        created=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    module.bundle.model.eval()
    bundle = Bundle(module.bundle.model, data.tokenizer, config.data.normalizer, training)
    bundle_path = save_bundle(bundle, run_dir / BUNDLE_FOLDER)
    recognizer = load_model(bundle_path, device=str(trainer.strategy.root_device))
    evaluations = tuple(
        evaluate(manifest, recognizer, run_dir / "report" / manifest.stem)
        for manifest in manifests["test"]
    )
    if config.logger.page:
        refresh_run_page(run_dir)
    return TrainedModel(bundle_path, evaluations)


def _quieten_lightning() -> None:
    """Keep Lightning's tips and its advice on choices that are made here on purpose off the screen."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _rank() -> int:
    """Of this process, known before the trainer is; Lightning reads it from the environment."""
    return int(getattr(rank_zero_only, "rank", None) or 0)


@rank_zero_only
def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
