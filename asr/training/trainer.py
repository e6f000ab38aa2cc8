"""Lightning's Trainer with its callbacks and loggers, as a recipe wants them."""

import sys
from pathlib import Path

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from asr.errors import UsageError
from asr.training.averaging import MovingAverage
from asr.training.callbacks import (
    EpochLine,
    StopWithoutProgress,
    Throughput,
    ValidateLastEpoch,
)
from asr.training.checkpoints import (
    CHECKPOINT_FOLDER,
    BestCheckpoints,
    LastCheckpoint,
    WholeFiles,
    recent_checkpoints,
)
from asr.training.config import RunConfig
from asr.training.engine_config import CallbacksConfig
from asr.training.hardware import accelerator
from asr.training.health import BlankPlateau, SkipBadSteps
from asr.training.interrupt import InterruptBetweenBatches
from asr.training.logs import MetricsCsv
from asr.training.run_watch import RunWatch


def lightning_trainer(config: RunConfig, run_dir: Path, first_step: int = 0) -> lightning.Trainer:
    """Lightning's Trainer as a recipe wants it; `first_step`: steps done before this run.

    Raises:
        UsageError: what `trainer` asks for does not go together.
    """
    try:
        return _lightning_trainer(config, run_dir, first_step)
    except (MisconfigurationException, ValueError) as error:
        raise UsageError(f"trainer: {' '.join(str(error).split())}") from error


def _lightning_trainer(config: RunConfig, run_dir: Path, first_step: int) -> lightning.Trainer:
    trainer = config.trainer
    return lightning.Trainer(
        max_epochs=trainer.max_epochs,
        accelerator=accelerator(trainer),
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
        logger=loggers(config, run_dir, first_step),
        plugins=[WholeFiles()],
        default_root_dir=run_dir,
    )


def callbacks(config: RunConfig, run_dir: Path) -> list[Callback]:
    """Checkpoints (the best by validation WER, and the last), figures, early stopping."""
    folder = run_dir / CHECKPOINT_FOLDER
    settings = config.callbacks
    interrupt = InterruptBetweenBatches()
    chosen: list[Callback] = [
        BestCheckpoints(folder, _kept_best(settings)),
        LastCheckpoint(folder, settings.checkpoint_every_steps, interrupt),
        ValidateLastEpoch(),
        *([] if config.speller.texts else _of_speech(config, run_dir)),
        BlankPlateau(config),
        EpochLine(),
        interrupt,
    ]
    if config.logger.page:
        chosen.insert(0, RunWatch(run_dir))  # Throughput starts its clock again after the drawing
    if settings.average == "last":
        chosen.append(recent_checkpoints(folder, settings.average_count))
    if settings.average == "ema":
        chosen.append(MovingAverage(settings.ema_decay))
    if config.logger.csv or config.logger.tensorboard:
        chosen.append(LearningRateMonitor("step"))
    if settings.patience is not None:
        chosen.append(StopWithoutProgress(settings.patience))
    return chosen


def _of_speech(config: RunConfig, run_dir: Path) -> list[Callback]:
    """Those that look at the waveforms of a batch; a speller's have none."""
    return [
        Throughput(config.features.sample_rate),
        SkipBadSteps(run_dir, config.trainer.max_skipped_in_a_row),
    ]


def _kept_best(settings: CallbacksConfig) -> int:
    """As many as are wanted, and as the average needs; -1 keeps all."""
    if settings.average != "best" or settings.keep_best < 0:
        return settings.keep_best
    return max(settings.keep_best, settings.average_count)


def loggers(config: RunConfig, run_dir: Path, first_step: int = 0) -> list[Logger]:
    """Logs below run_dir/logs; what is logged there from `first_step` on is done again."""
    chosen: list[Logger] = []
    if config.logger.csv:
        chosen.append(MetricsCsv(run_dir / "logs/csv/metrics.csv", first_step))
    if config.logger.tensorboard:
        chosen.append(
            TensorBoardLogger(
                run_dir, name="logs", version="tensorboard", purge_step=first_step or None
            )
        )
    return chosen
