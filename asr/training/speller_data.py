"""Batches for the speller: texts as networks would hear them, and speech as they hear it."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from asr.augment import SpecAugment
from asr.bundle import Bundle
from asr.ensemble import together
from asr.merge import same_size
from asr.pronunciation import Lexicon
from asr.tokenizer import BpeTokenizer, Tokenizer
from asr.training.config import RunConfig
from asr.training.datamodule import Manifests, SpeechDataModule
from asr.training.dataset import BatchLoader, batch_loader, padded_ids
from asr.training.engine_config import SpellerConfig
from asr.training.hearing import Hearing, kept_or_heard
from asr.training.posterior_bank import Heard, PosteriorBank, Posteriors
from asr.training.sampler import BatchKey, ResumableSampler
from asr.training.word_stream import BOUNDARY, WordStream, read_words, sayable

_USUAL = 0.6  # share of the first pronunciation of a word that has several
_FEWEST_WORDS = 2


class SpellerBatch(NamedTuple):
    """A padded batch of what the speller reads and should write.

    Shapes: phones (B, T', P) natural log-probabilities, lengths (B,) frames, targets (B, U) int64,
    target_lengths (B,).
    """

    phones: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor


_Row = tuple[Posteriors, Sequence[int]]  # what is heard, and the token ids of it


class SpellerBatches(Dataset[SpellerBatch]):
    """Batch n of an epoch, indexed by a BatchKey of n and the epoch, and drawn from both and the seed.

    Args:
        spoken: (posteriors, token ids) of real speech.
        stream: words to be read.
        bank: what is heard of phones.
        tokenizer: of the words.
        max_frames: of a padded batch; a longer row makes a batch of its own.
    """

    def __init__(
        self,
        spoken: Sequence[_Row],
        stream: WordStream,
        bank: PosteriorBank,
        tokenizer: Tokenizer,
        config: SpellerConfig,
        max_frames: int,
        seed: tuple[int, ...],
    ) -> None:
        self.spoken = sorted(spoken, key=lambda row: len(row[0]))
        self.stream, self.bank, self.tokenizer = stream, bank, tokenizer
        self.config, self.max_frames, self.seed = config, max_frames, seed

    def __getitem__(self, key: BatchKey) -> SpellerBatch:
        random = np.random.default_rng((*self.seed, key.epoch, key.indices[0]))
        if self.spoken and random.random() < self.config.spoken:
            return _collated(self._spoken(random))
        return _collated(self._read(random))

    def _spoken(self, random: np.random.Generator) -> list[_Row]:
        """Neighbours by length, as many as fit."""
        first = int(random.integers(len(self.spoken)))
        end = first + 1
        while end < len(self.spoken) and self._fits(end + 1 - first, len(self.spoken[end][0])):
            end += 1
        return list(self.spoken[first:end])

    def _read(self, random: np.random.Generator) -> list[_Row]:
        """Rows of one number of words, as many as fit: stretches, or words one by one."""
        num_words = int(random.integers(_FEWEST_WORDS, self.config.max_words + 1))
        one_by_one = random.random() < self.config.single_words
        chosen = self.stream.one_by_one if one_by_one else self.stream.stretch
        rows: list[_Row] = []
        longest = 0
        while True:
            row = self.read(chosen(num_words, random), random)
            longest = max(longest, len(row[0]))
            if rows and not self._fits(len(rows) + 1, longest):
                return rows
            rows.append(row)

    def read(self, places: NDArray[np.int32], random: np.random.Generator) -> _Row:
        """Words by their places in `stream.words`, as they might be heard, and their token ids."""
        stream = self.stream
        chosen = places.tolist()
        phone_ids = []
        for place in chosen:
            sounds = stream.sounds[place]
            usual = len(sounds) == 1 or random.random() < _USUAL
            phone_ids += [BOUNDARY, sounds[0 if usual else int(random.integers(len(sounds)))]]
        heard = self.bank.put_together(np.concatenate(phone_ids[1:]), random, self.config.go_on)
        return heard, self.tokenizer.encode(" ".join(stream.words[place] for place in chosen))

    def _fits(self, rows: int, num_frames: int) -> bool:
        return rows * num_frames <= self.max_frames


class BatchNumbers(ResumableSampler):
    """0 to count - 1 in each epoch."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __len__(self) -> int:
        return self.count

    def own_batches(self, epoch: int) -> list[list[int]]:
        """A number each."""
        return [[number] for number in range(self.count)]


class SpellerDataModule(SpeechDataModule):
    """Texts to be spelt, and what the networks of `bundle` hear of the training speech together.

    Each process listens to its share of the speech, `speller.passes` times with other speeds, noise and
    masks, before its first step, and keeps what is heard in the run's folder until the last epoch is
    done. Validation is that of speech.

    Args:
        bundle: networks that write phones.
        lexicon: of its phones.

    Attributes:
        pieces: that the speller is to write: those of the bundle's speller, where it has one of the size
            wanted, else learnt from the texts and the transcripts of the speech.
    """

    def __init__(
        self, config: RunConfig, manifests: Manifests, bundle: Bundle, lexicon: Lexicon
    ) -> None:
        super().__init__(
            manifests, config.data, bundle.model.config, config.seed, bundle.tokenizer,
            augment=config.augment, lexicon=lexicon,
        )  # fmt: skip
        self.bundle, self.lexicon, self.run_config = bundle, lexicon, config
        self.stream = read_words(
            [Path(path) for path in config.speller.texts], config.data.normalizer, lexicon,
            bundle.tokenizer,
        )  # fmt: skip
        begins = same_size(bundle.model.config.speller, config.speller.network)
        self.pieces = bundle.pieces if begins and bundle.pieces else self._learnt_pieces()

    def _learnt_pieces(self) -> BpeTokenizer:
        spoken = (example.text for example in self.train_examples)
        return BpeTokenizer.from_texts(
            itertools.chain(self.stream.lines(), spoken), self.run_config.speller.vocab_size,
            "speller.vocab_size",
        )  # fmt: skip

    def train_dataloader(self) -> BatchLoader:
        """Listens, then gives the batches of this process."""
        config, rank = self.run_config.speller, self._rank_of_world()[0]
        heard = [
            (posteriors, self.train_examples[place])
            for place, posteriors in kept_or_heard(self._kept_at, self._made_by(), self._heard)
        ]
        bank = PosteriorBank(
            (Heard(posteriors, example.phone_ids) for posteriors, example in heard),
            len(self.lexicon.phones),
        )
        stream = sayable(self.stream, bank)
        spoken = [
            (posteriors, self.pieces.encode(example.text))
            for posteriors, example in heard
            if can_write(self.pieces, example.text)
        ]
        max_frames = round(self.config.batch_s / self.bundle.model.config.output_frame_s)
        batches = SpellerBatches(
            spoken, stream, bank, self.pieces, config, max_frames, (self.seed, rank)
        )
        numbers = BatchNumbers(config.batches)
        numbers.resume_at(*self._resume_at)
        self._say_if_other_batches(config.batches)
        if rank == 0:
            message = (
                f"speller: {len(stream.places):,} words to spell; heard in {len(bank.phones):,} phones "
                f"of {bank.num_utterances:,} utterances"
            )
            print(message, file=sys.stderr, flush=True)
        return batch_loader(batches, numbers, self.config.num_workers, self.seed)

    def teardown(self, stage: str) -> None:
        """Once the last epoch is done, what was heard is needed no more."""
        assert self.trainer is not None
        if self.trainer.current_epoch >= (self.trainer.max_epochs or 0):
            self._kept_at.unlink(missing_ok=True)

    @property
    def _kept_at(self) -> Path:
        return Path(self.run_config.run_dir) / f"heard-{self._rank_of_world()[0] + 1}.npz"

    def _made_by(self) -> str:
        """All that is heard depends on."""
        assert self.trainer is not None
        run, data = self.run_config, self.run_config.data
        settings = {
            "networks": self.bundle.model_id,
            "utterances": [example.utterance.utterance_id for example in self.train_examples],
            "speeds": data.speeds,
            "batch_s": data.batch_s,
            "augment": asdict(run.augment),
            "passes": run.speller.passes,
            "seed": self.seed,
            "processes": self.trainer.world_size,
            "precision": self.trainer.precision,
        }
        return json.dumps(settings)

    def _heard(self) -> Iterator[Hearing]:
        """What the networks make of this process's share of the training speech."""
        assert self.trainer is not None
        device, augment = self.trainer.strategy.root_device, self.run_config.augment
        networks = [network.to(device) for network in self.bundle.networks]
        masks = [
            SpecAugment(augment, network.front_end.config) if augment.active else None
            for network in networks
        ]
        sampler = self.train_sampler()
        loader = self._speech_loader(sampler)
        for number in range(self.run_config.speller.passes):
            sampler.set_epoch(number)
            torch.manual_seed(self.seed + number)
            for batch in loader:
                waveforms, lengths = batch.waveforms.to(device), batch.waveform_lengths.to(device)
                seed = int(torch.randint(2**62, ()))
                outputs = []
                with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
                    for network, mask in zip(networks, masks, strict=True):
                        torch.manual_seed(seed)  # the same masks and warps for all
                        outputs.append(network(waveforms, lengths, mask, spell=False))
                    output = together(outputs, self.bundle.shares)
                assert output.phones is not None
                probabilities = output.phones.exp().half().cpu().numpy()
                num_frames = output.output_lengths.tolist()
                for row, place in enumerate(batch.indices.tolist()):
                    yield Hearing(place, probabilities[row, : num_frames[row]].copy())


def can_write(pieces: BpeTokenizer, text: str) -> bool:
    """Whether there is a text, and pieces for all its characters."""
    return bool(text) and not pieces.unknown_characters([text])


def _collated(rows: Sequence[_Row]) -> SpellerBatch:
    lengths = torch.tensor([len(posteriors) for posteriors, _ in rows])
    frames = [torch.from_numpy(posteriors.astype(np.float32)) for posteriors, _ in rows]
    phones = pad_sequence(frames, batch_first=True)
    targets, target_lengths = padded_ids([tuple(token_ids) for _, token_ids in rows])
    return SpellerBatch(phones.log(), lengths, targets, target_lengths)
