"""The speller: a second, small stack of bidirectional LSTM layers that reads what the network hears, the
probabilities of its phones, and writes tokens.

It is trained on far more text than there is speech (`asr.training.speller`), so that greedy decoding
spells words that no recording of the training set has. Others have let networks learn from text as if it
had been heard: embedded (Thomas et al. 2022, arXiv 2202.13155) or as synthetic spectrograms (Bataev
et al. 2023, arXiv 2302.14036); here it is what the network's phones would be.
"""

from torch import Tensor, nn

from asr.encoder import BiLSTMEncoder, EncoderConfig


class Speller(nn.Module):
    """Phones' log-probabilities (B, T', P) -> tokens' log-probabilities (B, T', V).

    One step of its LSTMs stands for config.subsampling frames and writes as many, so that tokens come
    at the frames of the phones.
    """

    def __init__(self, num_phones: int, vocab_size: int, config: EncoderConfig) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.encoder = BiLSTMEncoder(num_phones, config)
        self.linear = nn.Linear(config.output_size, config.subsampling * vocab_size)

    def forward(self, phones: Tensor, lengths: Tensor) -> Tensor:
        """Spell a padded batch.

        Args:
            phones: (B, T', P) natural log-probabilities.
            lengths: (B,) valid frames.

        Returns:
            (B, T', V) natural log-probabilities, float32 in every precision mode.
        """
        outputs, _, _ = self.encoder(phones.exp(), lengths)
        logits: Tensor = self.linear(outputs)
        frames = logits.reshape(len(logits), -1, self.vocab_size)[:, : phones.shape[1]]
        return frames.float().log_softmax(dim=-1)
