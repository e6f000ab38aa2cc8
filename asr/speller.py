"""The speller: a second, small stack of bidirectional LSTM layers that reads what the network hears, the
probabilities of its phones, and writes pieces of words.

It is trained on far more text than there is speech (`asr.training.speller`), so that greedy decoding
spells words that no recording of the training set has. Others have let networks learn from text as if it
had been heard: embedded (Thomas et al. 2022, arXiv 2202.13155) or as synthetic spectrograms (Bataev
et al. 2023, arXiv 2302.14036); here it is what the network's phones would be.
"""

import torch
from torch import Tensor, nn

from asr.encoder import BiLSTMEncoder, EncoderConfig


class Speller(nn.Module):
    """Phones' log-probabilities (B, T', P) -> those of pieces (B, T'', V), T'' = ceil(T' / subsampling).

    A step stands for as many frames as its encoder reads at once: pieces are longer than phones.
    """

    def __init__(self, num_phones: int, num_pieces: int, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = BiLSTMEncoder(num_phones, config)
        self.linear = nn.Linear(config.output_size, num_pieces)

    def forward(self, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spell a padded batch.

        Args:
            phones: (B, T', P) natural log-probabilities.
            lengths: (B,) valid frames.

        Returns:
            (B, T'', V) natural log-probabilities, float32 in every precision mode, and (B,) valid steps.
        """
        outputs, steps, _ = self.encoder(phones.exp(), lengths)
        log_probs: Tensor = self.linear(outputs).float()
        del outputs
        if torch.is_grad_enabled():
            return log_probs.log_softmax(dim=-1), steps
        for row in log_probs:  # in place: so many pieces are most of the memory of greedy decoding
            row.copy_(row.log_softmax(dim=-1))
        return log_probs, steps
