"""Lightning's fit, and what a person is told when it ends early."""

import errno
import sys

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only

from asr.errors import AsrError
from asr.training.checkpoints import Checkpoint
from asr.training.datamodule import SpeechDataModule
from asr.training.dataset import lost_worker
from asr.training.interrupt import interrupt_asked
from asr.training.lit_module import AsrLitModule

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def fit(
    trainer: lightning.Trainer,
    module: AsrLitModule,
    data: SpeechDataModule,
    checkpoint: Checkpoint | None,
) -> None:
    """Train, or go on from a checkpoint; what ends it early is said as a person can use it.

    Raises:
        KeyboardInterrupt: Ctrl-C, after its checkpoint was written.
        AsrError: a full disk, too little memory, a lost data process.
    """
    path = checkpoint.path if checkpoint is not None else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    except SystemExit:  # Lightning ends a run that Ctrl-C stopped with exit(1)
        if not trainer.interrupted:
            raise
        raise _stopped(trainer) from None
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and interrupt_asked(trainer):
            # another rank, stopped by the same Ctrl-C, has gone first
            raise _stopped(trainer) from None
        explained = _explained(error, trainer, data)
        if explained is None:
            raise
        raise explained from error


def _stopped(trainer: lightning.Trainer) -> KeyboardInterrupt:
    say(f"stopped; the same command with resume=true goes on from {trainer.default_root_dir}")
    return KeyboardInterrupt()


def _explained(
    error: OSError | RuntimeError, trainer: lightning.Trainer, data: SpeechDataModule
) -> AsrError | None:
    """What a person can do about an error in training; None where that is not known."""
    if isinstance(error, OSError):
        if error.errno not in _DISK_FULL:
            return None
        return AsrError(
            f"the disk of {trainer.default_root_dir} is full ({error.strerror or error}): make room, "
            "then go on with resume=true"
        )
    if lost := lost_worker(error):
        return lost
    # torch.OutOfMemoryError is a RuntimeError; a CPU's has no class of its own
    if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
        return None
    longest_s = max(example.utterance.duration_s for example in data.train_examples)
    return AsrError(
        f"out of memory: lower data.batch_s (now {data.config.batch_s:g} s of audio in a batch), "
        f"data.eval_batch_s ({data.config.eval_batch_s:g}) or data.max_utterance_s (the longest "
        f"utterance has {longest_s:.1f} s), then go on with resume=true"
    )


@rank_zero_only
def say(message: str) -> None:
    """Print a line on stderr, once for all processes."""
    print(message, file=sys.stderr, flush=True)
