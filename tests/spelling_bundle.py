"""A bundle whose network has a speller, small and untrained."""

from dataclasses import replace

import torch

from asr.bundle import Bundle
from asr.encoder import EncoderConfig
from asr.model import AcousticModel
from asr.tokenizer import BLANK, BpeTokenizer

SPELLER = EncoderConfig(conv_channels=8, hidden_size=8, num_layers=2, dropout=0.0)
PIECES = BpeTokenizer((BLANK, "▁a", "b", "▁ab", "▁", "a", "c", "▁c"))


def with_speller(bundle: Bundle, seed: int = 2) -> Bundle:
    """The bundle with a speller that has learnt nothing."""
    torch.manual_seed(seed)
    config = replace(bundle.model.config, speller=SPELLER, num_pieces=PIECES.vocab_size)
    model = AcousticModel(config).eval()
    model.load_state_dict(bundle.model.state_dict(), strict=False)
    return replace(bundle, model=model, pieces=PIECES)
