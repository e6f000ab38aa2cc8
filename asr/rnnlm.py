"""A neural language model that rescores what a beam search found: an LSTM over BPE pieces
(Mikolov et al. 2010), its output layer tied to its embeddings (Press & Wolf 2017, arXiv 1608.05859).

The model is one file, NAME.safetensors: weights, and in its header as JSON the pieces and sizes. Loading
one runs no code from it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from asr.decoding.ngram import LanguageModelError
from asr.quantize import save_weights, unpack_weights
from asr.tokenizer import BLANK, BpeTokenizer

FORMAT = "asr-rnnlm-1"
BOUNDARY_ID = 0  # begins and ends a sentence; what a recognizer's vocabulary has as its blank
_HEADER = "asr"
_SENTENCES_TOGETHER = 64


@dataclass(frozen=True)
class RnnLmConfig:
    """Size of the model.

    Attributes:
        vocab_size: V, pieces and the boundary.
        embedding_size: E, of inputs and of the last layer's projected outputs.
        hidden_size: LSTM cells a layer.
    """

    vocab_size: int
    embedding_size: int = 256
    hidden_size: int = 640
    num_layers: int = 1


class RnnLm(nn.Module):
    """Pieces (T, B) -> logits of the pieces that follow."""

    def __init__(self, config: RnnLmConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm = nn.LSTM(config.embedding_size, config.hidden_size, config.num_layers)
        self.projection = nn.Linear(config.hidden_size, config.embedding_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(
        self, pieces: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, B) -> outputs (T, B, E), which `logits` takes, and the state after the last piece."""
        hidden, state = self.lstm(self.embedding(pieces), state)
        return self.projection(hidden), state

    def logits(self, outputs: Tensor) -> Tensor:
        """(..., E) -> (..., V), not normalised."""
        return nn.functional.linear(outputs, self.embedding.weight, self.bias)


@dataclass(frozen=True)
class Rescorer:
    """A trained model, ready to score sentences.

    Attributes:
        network: in evaluation mode, on the CPU.
        tokenizer: its pieces, the boundary in place of the blank.
        normalizer: of the texts that it learnt from.
    """

    network: RnnLm
    tokenizer: BpeTokenizer
    normalizer: str

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def score(self, sentences: Sequence[Sequence[str]]) -> list[float]:
        """ln P of each sentence of words, its end included.

        Sentences that begin alike share their beginnings: each is computed once.
        """
        return score_encoded(self.network, [self.encode(words) for words in sentences])

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> float:
        """Per word and end of sentence, as `asr lm info` gives it of an n-gram model."""
        events = sum(len(words) + 1 for words in sentences)
        total = torch.tensor(self.score(sentences), dtype=torch.float64).sum()
        return float(torch.exp(-total / max(1, events)))

    def unknown_characters(self, text: str) -> Counter[str]:
        """Characters that the model cannot write, with how often they occur; scores leave them out."""
        return self.tokenizer.unknown_characters([text])

    def encode(self, words: Sequence[str]) -> list[int]:
        """Pieces of words; characters that the model cannot write are left out."""
        text = " ".join(words)
        for char in self.unknown_characters(text):
            text = text.replace(char, "")
        return self.tokenizer.encode(text)


@torch.inference_mode()
def score_encoded(network: RnnLm, sentences: Sequence[Sequence[int]]) -> list[float]:
    """ln P of each sentence of pieces, its end included."""
    found: list[float] = []
    for first in range(0, len(sentences), _SENTENCES_TOGETHER):
        part = sentences[first : first + _SENTENCES_TOGETHER]
        beginnings = Beginnings(network)
        ends = beginnings.extended([0] * len(part), [(*pieces, BOUNDARY_ID) for pieces in part])
        found += [beginnings.log_probs[end] for end in ends]
    return found


class Beginnings:
    """Beginnings of sentences, each computed once however many sentences begin so; 0 is the empty one.

    Attributes:
        log_probs: ln P of each.
    """

    def __init__(self, network: RnnLm) -> None:
        config = network.config
        self.log_probs = [0.0]
        self._network = network
        self._parents, self._pieces, self._rows = [-1], [BOUNDARY_ID], [-1]
        self._longer: dict[tuple[int, int], int] = {}
        # of the beginnings that were gone on from: what the network has after them
        self._states = torch.empty(2, config.num_layers, 0, config.hidden_size)
        self._outputs = torch.empty(0, config.embedding_size)
        self._norms = torch.empty(0)
        self._num_rows = 0

    @torch.inference_mode()
    def extended(self, beginnings: Sequence[int], pieces: Sequence[Sequence[int]]) -> list[int]:
        """What each beginning becomes with the pieces that are put after it."""
        ends = list(beginnings)
        for place in range(max(map(len, pieces), default=0)):
            growing = [number for number, own in enumerate(pieces) if len(own) > place]
            steps = [(ends[number], pieces[number][place]) for number in growing]
            self._add([step for step in dict.fromkeys(steps) if step not in self._longer])
            for number, step in zip(growing, steps, strict=True):
                ends[number] = self._longer[step]
        return ends

    def _add(self, steps: Sequence[tuple[int, int]]) -> None:
        """New beginnings: old ones, and a piece more."""
        if not steps:
            return
        parents, pieces = zip(*steps, strict=True)
        self._run([one for one in dict.fromkeys(parents) if self._rows[one] < 0])
        rows = torch.tensor([self._rows[parent] for parent in parents])
        columns = torch.tensor(pieces)
        weights, bias = self._network.embedding.weight[columns], self._network.bias[columns]
        scores = (self._outputs[rows] * weights).sum(1) + bias - self._norms[rows]
        for step, score in zip(steps, scores.tolist(), strict=True):
            self._longer[step] = len(self.log_probs)
            self.log_probs.append(self.log_probs[step[0]] + score)
            self._parents.append(step[0])
            self._pieces.append(step[1])
            self._rows.append(-1)

    def _run(self, beginnings: Sequence[int]) -> None:
        """The network after the last piece of each; it has been run after all but that."""
        if not beginnings:
            return
        state = None
        if beginnings != [0]:
            rows = torch.tensor([self._rows[self._parents[one]] for one in beginnings])
            state = tuple(self._states[:, :, rows])
        pieces = torch.tensor([[self._pieces[one] for one in beginnings]])
        outputs, state = self._network(pieces, state)
        self._make_room(self._num_rows + len(beginnings))
        added = slice(self._num_rows, self._num_rows + len(beginnings))
        self._states[:, :, added] = torch.stack(state)
        self._outputs[added] = outputs[0]
        self._norms[added] = self._network.logits(outputs[0]).logsumexp(1)
        for row, one in enumerate(beginnings, start=self._num_rows):
            self._rows[one] = row
        self._num_rows += len(beginnings)

    def _make_room(self, num_rows: int) -> None:
        """Room for so many rows, and for as many again: they come little by little."""
        there = len(self._norms)
        if num_rows <= there:
            return
        more = 2 * num_rows - there
        states, outputs, norms = self._states, self._outputs, self._norms
        self._states = torch.cat(
            [states, states.new_empty(*states.shape[:2], more, states.shape[3])], 2
        )
        self._outputs = torch.cat([outputs, outputs.new_empty(more, outputs.shape[1])])
        self._norms = torch.cat([norms, norms.new_empty(more)])


def save_rescorer(rescorer: Rescorer, path: Path, weights: str = "int8") -> None:
    """Write a model; `weights` as `pack_weights` names them."""
    header = {
        "format": FORMAT,
        "config": asdict(rescorer.network.config),
        "pieces": rescorer.tokenizer.tokens[1:],
        "normalizer": rescorer.normalizer,
    }
    described = {_HEADER: json.dumps(header, ensure_ascii=False)}
    save_weights(rescorer.network, path, weights, described)


def find_rnnlm(path: Path | str) -> Path:
    """The file of a neural language model: itself, or the one in a folder. Raises LanguageModelError."""
    path = Path(path)
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise LanguageModelError(f"{path} holds {len(found)} .safetensors files; name one")
    return found[0]


def load_rescorer(path: Path | str) -> Rescorer:
    """Read a model that `asr lm train-rnn` wrote, or the one in a folder.

    Raises:
        LanguageModelError: not such a model, or damaged.
    """
    path = find_rnnlm(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise LanguageModelError(f"{path} is no neural language model (`asr lm train-rnn`)")
        tokenizer = BpeTokenizer((BLANK, *map(str, header["pieces"])))
        if tokenizer.vocab_size != header["config"]["vocab_size"]:
            raise ValueError(f"{tokenizer.vocab_size} pieces do not fit its network")
        network = RnnLm(RnnLmConfig(**header["config"]))
        network.load_state_dict(unpack_weights(safetensors.torch.load_file(path)))
        return Rescorer(network.eval(), tokenizer, str(header["normalizer"]))
    except OSError as error:
        raise LanguageModelError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LanguageModelError(
            f"{path} is damaged, or no neural language model: {error}"
        ) from None
