"""Training of the neural language model: sentences, each from its beginning, those of a batch as long.

Deterministic for a seed and a number of threads. A checkpoint is written every few minutes, and the same
call again goes on from it.
"""

import copy
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.bfloat16 import check_bfloat16
from asr.errors import AsrError, UsageError
from asr.quantize import STORED
from asr.rnnlm import BOUNDARY_ID, Rescorer, RnnLm, RnnLmConfig, save_rescorer
from asr.tokenizer import BpeTokenizer
from asr.whole_file import written_whole

PRECISIONS = ("float32", "bfloat16")
MODEL_FILE, CHECKPOINT_FILE = "rnnlm.safetensors", "checkpoint.pt"
Report = Callable[["Progress"], None]
_NO_TARGET = -100
_WARMUP_STEPS = 300
_MAX_NORM = 1.0
_SORTED_BATCHES = 100  # sentences of about so many batches are sorted by length together


@dataclass(frozen=True)
class RnnLmOptions:
    """How to train.

    Attributes:
        vocab_size: V, BPE pieces and the boundary of sentences.
        batch_pieces: pieces in a batch, padding included.
        max_pieces: longer sentences are cut into parts of so many.
        lr: the highest learning rate of AdamW, after a warm-up; a cosine brings it to 0.
        precision: what matrices are multiplied in: "float32", or "bfloat16".
        weights: how the model is stored: "float32", "float16", "int8" or "int7".
    """

    vocab_size: int = 2001
    embedding_size: int = 256
    hidden_size: int = 640
    num_layers: int = 1
    epochs: int = 2
    batch_pieces: int = 4096
    max_pieces: int = 128
    lr: float = 4e-3
    seed: int = 1
    precision: str = "float32"
    weights: str = "int8"

    def __post_init__(self) -> None:
        sizes = (self.embedding_size, self.hidden_size, self.num_layers, self.epochs)
        if min(*sizes, self.batch_pieces, self.max_pieces - 1) < 1 or not 0 < self.lr < math.inf:
            raise UsageError("sizes, epochs and the learning rate must be above 0")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}")
        if self.precision == "bfloat16":
            check_bfloat16("precision bfloat16", "float32")
        if self.weights not in STORED:
            raise UsageError(f"weights are stored as {', '.join(STORED)}, not {self.weights!r}")


@dataclass(frozen=True)
class Progress:
    """Where a training is.

    Attributes:
        loss: nats a piece since the last report.
        left_s: seconds that it will still take.
    """

    step: int
    num_steps: int
    loss: float
    left_s: float


@dataclass(frozen=True)
class _Pieces:
    """A corpus: sentence i is pieces[starts[i] : starts[i + 1]]."""

    pieces: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


def train_rescorer(
    sentences: Sequence[str],
    normalizer: str,
    options: RnnLmOptions,
    out: Path,
    report: Report | None = None,
    *,
    start: Rescorer | None = None,
    checkpoint_seconds: float = 300.0,
) -> Rescorer:
    """Train a model, and write it to `out`/rnnlm.safetensors.

    Args:
        sentences: already normalised.
        report: told every 100 steps.
        start: a model to go on from: its pieces, sizes and weights, in place of those of `options`.
            Characters that it cannot write are left out of the sentences.

    Raises:
        UsageError: options that cannot be, or a checkpoint in `out` of other options or texts.
        AsrError: the disk does not take a checkpoint or the model.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    rescorer = copy.deepcopy(start) if start else _new(sentences, normalizer, options)
    rescorer.network.train()
    corpus = _encode(sentences, rescorer.tokenizer, options.max_pieces)
    training = _Training(rescorer, corpus, options, out / CHECKPOINT_FILE)
    training.run(report, checkpoint_seconds)
    rescorer.network.eval()
    with written_whole(out / MODEL_FILE) as partial:
        save_rescorer(rescorer, partial, options.weights)
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return rescorer


def _new(sentences: Sequence[str], normalizer: str, options: RnnLmOptions) -> Rescorer:
    """A model that has learnt the pieces of its words and nothing else."""
    tokenizer = BpeTokenizer.from_texts(sentences, options.vocab_size, "--vocab-size")
    config = RnnLmConfig(
        tokenizer.vocab_size, options.embedding_size, options.hidden_size, options.num_layers
    )
    return Rescorer(RnnLm(config), tokenizer, normalizer)


class _Training:
    """The loop, from a checkpoint where there is one."""

    def __init__(
        self,
        rescorer: Rescorer,
        corpus: _Pieces,
        options: RnnLmOptions,
        checkpoint: Path,
    ) -> None:
        self.network, self.corpus, self.options = rescorer.network, corpus, options
        self.checkpoint = checkpoint
        self.optimizer = torch.optim.AdamW(self.network.parameters(), options.lr, weight_decay=0.0)
        self.batches = [
            batch
            for epoch in range(options.epochs)
            for batch in batches(corpus.lengths, options, epoch)
        ]
        self.num_steps = len(self.batches)
        self.step = 0
        texts = hashlib.sha256(corpus.pieces.tobytes() + corpus.starts.tobytes()).hexdigest()
        weights = hashlib.sha256(safetensors.torch.save(self.network.state_dict())).hexdigest()
        self.identity = json.dumps([asdict(options), rescorer.tokenizer.tokens, texts, weights])

    def run(self, report: Report | None, checkpoint_seconds: float) -> None:
        self._resume()
        began = saved = time.monotonic()
        begun_at = self.step
        losses: list[Tensor] = []
        for batch in self.batches[self.step :]:
            self._set_rate()
            losses.append(self._learn(batch))
            self.step += 1
            now = time.monotonic()
            if report and (self.step % 100 == 0 or self.step == self.num_steps):
                mean = float(torch.stack(losses).mean())
                left = self.num_steps - self.step
                left_s = left * (now - began) / (self.step - begun_at)
                report(Progress(self.step, self.num_steps, mean, left_s))
                losses.clear()
            if now - saved > checkpoint_seconds:
                self._save()
                saved = now

    def _set_rate(self) -> None:
        warm = min(1.0, (self.step + 1) / min(_WARMUP_STEPS, self.num_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.num_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * warm * cosine

    def _learn(self, batch: NDArray[np.int64]) -> Tensor:
        inputs, targets = padded(self.corpus.pieces, self.corpus.starts, batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            outputs, _ = self.network(inputs)
            wanted = targets != _NO_TARGET
            logits = self.network.logits(outputs[wanted])
        loss = nn.functional.cross_entropy(logits.float(), targets[wanted])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)
        self.optimizer.step()
        return loss.detach()

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        content = io.BytesIO()
        torch.save(state, content)  # into a file it has no error of its own for a full disk
        with written_whole(self.checkpoint) as partial:
            partial.write_bytes(content.getbuffer())

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True)
        except Exception as error:
            raise AsrError(
                f"{self.checkpoint} is damaged: remove it to begin again ({error})"
            ) from None
        if state["identity"] != self.identity:
            raise UsageError(
                f"{self.checkpoint} is of a training with other options or texts, or from another "
                "model: remove it, or choose another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def batches(
    lengths: NDArray[np.int64], options: RnnLmOptions, epoch: int
) -> list[NDArray[np.int64]]:
    """Numbers of the sentences of each batch of an epoch; those of a batch are about as long."""
    rng = np.random.default_rng([options.seed, epoch])
    order = rng.permutation(len(lengths))
    mean = float(lengths.mean()) + 1
    pool = max(1, int(_SORTED_BATCHES * options.batch_pieces / mean))
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(order), pool):
        part = order[first : first + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        start = 0
        while start < len(part):
            size = 1
            while (
                start + size < len(part)
                and (size + 1) * (lengths[part[start + size]] + 1) <= options.batch_pieces
            ):
                size += 1
            found.append(part[start : start + size])
            start += size
    rng.shuffle(found)
    return found


def padded(
    pieces: NDArray[np.int32], starts: NDArray[np.int64], batch: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """(T, B) inputs from the boundary on, and targets up to it, -100 where a sentence is over."""
    longest = int((starts[batch + 1] - starts[batch]).max())
    inputs = np.zeros((longest + 1, len(batch)), np.int64)
    targets = np.full((longest + 1, len(batch)), _NO_TARGET, np.int64)
    for column, number in enumerate(batch):
        sentence = pieces[starts[number] : starts[number + 1]]
        inputs[1 : 1 + len(sentence), column] = sentence
        targets[: len(sentence), column] = sentence
        targets[len(sentence), column] = BOUNDARY_ID
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def _encode(sentences: Sequence[str], tokenizer: BpeTokenizer, max_pieces: int) -> _Pieces:
    left_out = str.maketrans("", "", "".join(tokenizer.unknown_characters(sentences)))

    def parts() -> Iterator[list[int]]:
        for sentence in sentences:
            encoded = tokenizer.encode(sentence.translate(left_out) if left_out else sentence)
            for first in range(0, len(encoded), max_pieces):
                yield encoded[first : first + max_pieces]

    found = list(parts())
    starts = np.cumsum([0, *map(len, found)])
    pieces = np.fromiter((piece for part in found for piece in part), np.int32, int(starts[-1]))
    return _Pieces(pieces, starts)
