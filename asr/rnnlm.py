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
from asr.quantize import pack_weights, unpack_weights
from asr.tokenizer import BLANK, BpeTokenizer

FORMAT = "asr-rnnlm-1"
BOUNDARY_ID = 0  # begins and ends a sentence; what a recognizer's vocabulary has as its blank
_HEADER = "asr"
_MOST_LOGITS = 1 << 24  # computed at a time while scoring: 64 MiB


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
        return score_encoded(self.network, [self._encode(words) for words in sentences])

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> float:
        """Per word and end of sentence, as `asr lm info` gives it of an n-gram model."""
        events = sum(len(words) + 1 for words in sentences)
        total = torch.tensor(self.score(sentences), dtype=torch.float64).sum()
        return float(torch.exp(-total / max(1, events)))

    def unknown_characters(self, text: str) -> Counter[str]:
        """Characters that the model cannot write, with how often they occur; scores leave them out."""
        return self.tokenizer.unknown_characters([text])

    def _encode(self, words: Sequence[str]) -> list[int]:
        text = " ".join(words)
        for char in self.unknown_characters(text):
            text = text.replace(char, "")
        return self.tokenizer.encode(text)


@torch.inference_mode()
def score_encoded(network: RnnLm, sentences: Sequence[Sequence[int]]) -> list[float]:
    """ln P of each sentence of pieces, its end included."""
    totals = [0.0] * len(sentences)
    places = [0] * len(sentences)  # of each sentence's beginning among those of its length
    pieces, state = [BOUNDARY_ID], None  # the last piece of each beginning, and what it left
    for length in range(1 + max(map(len, sentences), default=-1)):
        outputs, state = network(torch.tensor([pieces]), state)
        alive = [number for number, own in enumerate(sentences) if len(own) >= length]
        targets = [(*sentences[number], BOUNDARY_ID)[length] for number in alive]
        found = _log_probs(network, outputs[0], [places[number] for number in alive], targets)
        longer: dict[tuple[int, int], int] = {}  # beginnings: where they were, and one piece more
        for number, target, log_prob in zip(alive, targets, found, strict=True):
            totals[number] += log_prob
            if length < len(sentences[number]):
                places[number] = longer.setdefault((places[number], target), len(longer))
        parents = torch.tensor([parent for parent, _ in longer], dtype=torch.int64)
        pieces = [piece for _, piece in longer]
        state = (state[0][:, parents], state[1][:, parents])
    return totals


def _log_probs(
    network: RnnLm, outputs: Tensor, places: Sequence[int], targets: Sequence[int]
) -> list[float]:
    """ln P of `targets[i]` after the beginning whose output is `outputs[places[i]]`."""
    rows, columns = torch.tensor(places), torch.tensor(targets)
    step = max(1, _MOST_LOGITS // network.config.vocab_size)
    parts = [outputs[first : first + step] for first in range(0, len(outputs), step)]
    norms = torch.cat([network.logits(part).logsumexp(1) for part in parts])
    weights, bias = network.embedding.weight[columns], network.bias[columns]
    found: list[float] = ((outputs[rows] * weights).sum(1) + bias - norms[rows]).tolist()
    return found


def save_rescorer(rescorer: Rescorer, path: Path, weights: str = "int8") -> None:
    """Write a model; `weights` as `pack_weights` names them."""
    header = {
        "format": FORMAT,
        "config": asdict(rescorer.network.config),
        "pieces": rescorer.tokenizer.tokens[1:],
        "normalizer": rescorer.normalizer,
    }
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in rescorer.network.state_dict().items()
    }
    safetensors.torch.save_file(
        pack_weights(tensors, weights), path, {_HEADER: json.dumps(header, ensure_ascii=False)}
    )


def load_rescorer(path: Path | str) -> Rescorer:
    """Read a model that `asr lm train-rnn` wrote.

    Raises:
        LanguageModelError: not such a model, or damaged.
    """
    path = Path(path)
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
