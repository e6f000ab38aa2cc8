"""What several test modules share: the real speech, a tiny model, a spoken utterance."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import Browser, find_chromium

from asr.bundle import Bundle, Training
from asr.encoder import EncoderConfig
from asr.model import AcousticModel, ModelConfig
from asr.tokenizer import CharTokenizer

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def asr_data() -> Path:
    """The folder of real speech: $ASR_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("ASR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "LibriSpeech").is_dir():
        pytest.skip(f"no real speech at {folder}: set ASR_DATA")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser, for tests of pages."""
    command = find_chromium()
    if command is None:
        pytest.skip("chromium is not installed")
    opened = Browser(command, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def tiny_bundle() -> Bundle:
    """An untrained model of a few thousand parameters, the same in every test."""
    tokenizer = CharTokenizer.from_texts(["the quick brown fox jumps over a lazy dog's"])
    torch.manual_seed(0)
    encoder = EncoderConfig(conv_channels=8, hidden_size=8, num_layers=2)
    model = AcousticModel(ModelConfig(tokenizer.vocab_size, encoder=encoder)).eval()
    return Bundle(model, tokenizer, training=Training(recipe="test/tiny", data="nothing"))
