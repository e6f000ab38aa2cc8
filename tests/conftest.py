"""What several test modules share: the real speech, a tiny model, a spoken utterance."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from browser import Browser, find_chromium
from language_bundle import SENTENCES

from asr.bundle import Bundle, Training
from asr.encoder import EncoderConfig
from asr.manifest import Utterance
from asr.model import AcousticModel, ModelConfig
from asr.pronunciation import Lexicon, write_lexicon
from asr.tokenizer import CharTokenizer

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Hear Ctrl-C, and so do programs that tests start, also where pytest was begun in the background
    of a script, which has SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def asr_data() -> Path:
    """The folder of real speech: $ASR_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("ASR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "LibriSpeech").is_dir():
        pytest.skip(f"no real speech at {folder}: set ASR_DATA")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium."""
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


@pytest.fixture
def phone_bundle(tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    """The same with a second head, for phones: the words of `language_bundle` said as they are written,
    but "o" as "a"."""
    words = {word: (tuple(word),) for sentence in SENTENCES for word in sentence.split()}
    lexicon = Lexicon.of({**words, "o": (("a",),)}, Lexicon.of(words).phones)
    write_lexicon(lexicon, tmp_path / "said.txt")
    config = replace(tiny_bundle.model.config, num_phones=len(lexicon.phones))
    torch.manual_seed(1)
    return replace(
        tiny_bundle,
        model=AcousticModel(config).eval(),
        phones=lexicon.phones,
        lexicon=tmp_path / "said.txt",
    )


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Four files of noise, 0.5 to 2 s."""
    random = np.random.default_rng(0)
    made = []
    for number in range(4):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, 0.1 * random.standard_normal(8_000 * (number + 1)), 16_000)
        made.append(Utterance(f"u{number}", path, "ab" * number, (number + 1) / 2))
    return made
