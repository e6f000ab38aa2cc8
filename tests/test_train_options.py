"""Whole runs on a language of tones with the options of encoder, loss and tokenizer."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe

from asr.bundle import load_bundle
from asr.evaluate import evaluate
from asr.lm import LmOptions, train_language_model
from asr.lm_text import number_words
from asr.manifest import read_manifest
from asr.pronunciation import Lexicon, write_lexicon
from asr.tokenizer import BpeTokenizer
from asr.training.lit_module import AsrLitModule
from asr.training.train import train
from asr.transcribe import load_model

OPTIONS = [
    "encoder.recurrent_dropout=0.2", "encoder.projection_size=32", "loss=cr-ctc",
    "loss.intermediate_weight=0.3", "augment.start_step=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, train=40, dev=8)
    write_recipe(folder)
    return folder


def logged(run_dir: Path, name: str) -> dict[int, str]:
    """Training step -> value, as written in the CSV log."""
    with (run_dir / "logs/csv/metrics.csv").open() as file:
        return {int(row["step"]): row[name] for row in csv.DictReader(file) if row.get(name)}


def test_with_every_option_a_run_that_broke_off_goes_on_with_the_same_losses(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recurrent dropout, both views' masks and all parts of the loss follow from the random state."""
    whole_dir, broken_dir = corpus / "runs/whole", corpus / "runs/broken"
    train([*overrides(corpus, whole_dir), *OPTIONS])
    whole = logged(whole_dir, "train/loss")
    assert min(logged(whole_dir, "train/consistency_loss")) == 3
    assert min(logged(whole_dir, "train/intermediate_loss")) == 0
    step = AsrLitModule.training_step

    def breaks_off(self: AsrLitModule, *args: object) -> torch.Tensor:
        if self.global_step == 7:
            raise ZeroDivisionError
        return step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(AsrLitModule, "training_step", breaks_off)
    with pytest.raises(ZeroDivisionError):
        train([*overrides(corpus, broken_dir), *OPTIONS])
    monkeypatch.undo()
    train([*overrides(corpus, broken_dir), *OPTIONS, "resume=true"])
    assert logged(broken_dir, "train/loss") == whole
    config = load_bundle(broken_dir / "bundle").model.config.encoder
    assert (config.recurrent_dropout, config.projection_size) == (0.2, 32)


def test_a_model_that_writes_phones_too_and_is_decoded_over_them(
    corpus: Path, tmp_path: Path
) -> None:
    run_dir, texts = corpus / "runs/phones", []
    for split in ("train", "dev"):
        texts += [one.text for one in read_manifest(corpus / f"{split}.jsonl")]
    words = {word: (tuple(word.upper()),) for text in texts for word in text.split()}
    write_lexicon(Lexicon.of(words), tmp_path / "lexicon.txt")
    train([
        *overrides(corpus, run_dir), "loss.phone_weight=0.5", f"loss.lexicon={tmp_path / 'lexicon.txt'}",
        "data.batch_s=6", "trainer.max_epochs=12", "trainer.validate_every_epochs=12",
        "encoder.dropout=0", "augment.time_masks=0", "augment.freq_masks=0", "loss=intermediate",
        "loss.phone_crf=0.5", "augment.start_step=40",
    ])  # fmt: skip
    losses = logged(run_dir, "train/phone_loss")
    assert float(losses[max(losses)]) < float(losses[0]) / 2
    corpus_of_words = number_words(text.split() for text in texts)
    train_language_model(corpus_of_words, LmOptions(2)).save(tmp_path / "lm.ngram")
    recognizer = load_model(run_dir / "bundle", device="cpu", lm=tmp_path / "lm.ngram")
    assert recognizer.decoder.over_phones
    score = evaluate(corpus / "dev.jsonl", recognizer, tmp_path / "report").score
    greedy = load_model(run_dir / "bundle", device="cpu").bundle.training.dev_wer
    assert greedy is not None
    assert score.wer < min(0.6, greedy)


def test_a_model_of_bpe_pieces_from_training_to_its_transcripts(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = corpus / "runs/bpe"
    train([
        *overrides(corpus, run_dir), "tokenizer.kind=bpe", "tokenizer.vocab_size=7", "data.batch_s=6",
        "trainer.max_epochs=12", "trainer.validate_every_epochs=12", "encoder.dropout=0",
        "augment.time_masks=0", "augment.freq_masks=0", "callbacks.checkpoint_every_steps=1000",
    ])  # fmt: skip
    monkeypatch.setitem(sys.modules, "sentencepiece", None)  # needed to train, not to use
    recognizer = load_model(run_dir / "bundle", device="cpu")
    tokenizer = recognizer.bundle.tokenizer
    assert isinstance(tokenizer, BpeTokenizer)
    assert tokenizer.vocab_size == 7
    assert any(len(token) > 1 for token in tokenizer.tokens[1:])
    score = evaluate(corpus / "dev.jsonl", recognizer, tmp_path).score
    assert score.wer == pytest.approx(recognizer.bundle.training.dev_wer, abs=1e-6)
    assert score.wer < 0.8  # 1 is what a model of blanks has
