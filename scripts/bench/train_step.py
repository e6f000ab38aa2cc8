"""A training step of asr against the same network on PackedSequence and torch's bidirectional nn.LSTM,
the loop of deepspeech.pytorch and SpeechBrain.

Both have the same weights, batch, front end, convolutions, CTC loss, clipping and AdamW; only the LSTM
layers differ. Outputs are compared first. Steps alternate in one process; the best of several counts.

    python scripts/bench/train_step.py [--threads 2] [--rounds 5] [--batch-s 120] [--hidden 256]
"""

import argparse
import copy
import time

import torch
from torch import Tensor, nn

from asr.bilstm import BiLSTM
from asr.ctc import ctc_losses
from asr.encoder import EncoderConfig
from asr.model import AcousticModel, ModelConfig

RATE = 16_000
VOCAB_SIZE = 28
LETTERS_PER_S = 14  # of read speech


class PackedBiLSTM(nn.Module):
    """A bidirectional layer as torch has it, with the weights of asr's; takes the place of `BiLSTM`."""

    def __init__(self, dense: BiLSTM) -> None:
        super().__init__()
        forward, backward = dense.forward_lstm, dense.backward_lstm
        self.lstm = nn.LSTM(
            forward.input_size, forward.hidden_size, batch_first=True, bidirectional=True
        )
        weights = forward.state_dict() | {
            f"{name}_reverse": weight for name, weight in backward.state_dict().items()
        }
        self.lstm.load_state_dict(weights)

    def forward(self, inputs: Tensor, reversal: Tensor) -> Tensor:
        """(B, T', D) -> (B, T', 2H); the first column of the reversal index is length - 1."""
        lengths = reversal[:, 0].cpu() + 1
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs, lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=inputs.shape[1]
        )
        return outputs


def packed_copy(model: AcousticModel) -> AcousticModel:
    """The same network with every BiLSTM on PackedSequence."""
    packed = copy.deepcopy(model)
    for module in list(packed.modules()):
        for name, child in module.named_children():
            if isinstance(child, BiLSTM):
                setattr(module, name, PackedBiLSTM(child))
    return packed


class Loop:
    """One model with its optimizer."""

    def __init__(self, model: AcousticModel, precision: str, batch: tuple[Tensor, ...]) -> None:
        self.model = model.train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        self.is_bf16 = precision == "bf16"
        self.batch = batch
        self.best_s = float("inf")

    def step(self) -> None:
        """Forward, loss, backward, clipping, update; keeps the best time."""
        waveforms, lengths, targets, target_lengths = self.batch
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16):
            output = self.model(waveforms, lengths)
        losses = ctc_losses(output.log_probs, output.output_lengths, targets, target_lengths)
        self.optimizer.zero_grad()
        (losses.sum() / target_lengths.sum()).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.best_s = min(self.best_s, time.perf_counter() - started)


def make_batch(batch_s: float, longest_s: float) -> tuple[Tensor, ...]:
    """Noise of lengths within 5 % of each other, as in a bucket, with as many letters as speech has."""
    count = max(1, int(batch_s / longest_s))
    lengths = torch.linspace(longest_s, 0.95 * longest_s, count).mul(RATE).long()
    waveforms = torch.randn(count, int(lengths[0])) * 0.1
    for waveform, length in zip(waveforms, lengths.tolist(), strict=True):
        waveform[length:] = 0
    target_lengths = (lengths / RATE * LETTERS_PER_S).long()
    targets = torch.randint(1, VOCAB_SIZE, (count, int(target_lengths.max())))
    return waveforms, lengths, targets, target_lengths


def largest_difference(a: AcousticModel, b: AcousticModel, batch: tuple[Tensor, ...]) -> float:
    """Between the log-probabilities of valid frames."""
    with torch.no_grad():
        one, two = (model.eval()(batch[0], batch[1]) for model in (a, b))
    frames = torch.arange(one.log_probs.shape[1]) < one.output_lengths[:, None]
    return float((one.log_probs - two.log_probs)[frames].abs().max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-s", type=float, default=120.0)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    encoder = EncoderConfig(hidden_size=options.hidden, num_layers=options.layers)
    model = AcousticModel(ModelConfig(VOCAB_SIZE, encoder=encoder))
    print(
        f"{options.layers} x {options.hidden}, {model.num_parameters / 1e6:.2f} M parameters, "
        f"batches of {options.batch_s:g} s, {options.threads} threads, torch {torch.__version__}, "
        f"best of {options.rounds}\n"
    )
    print(
        "| precision | utterances | packed, audio s/s | asr, audio s/s | ratio | outputs differ by |"
    )
    print("|---|---|---|---|---|---|")
    for precision in ("float32", "bf16"):
        for longest_s in (4.0, 14.0):
            batch = make_batch(options.batch_s, longest_s)
            packed = packed_copy(model)
            difference = largest_difference(model, packed, batch)
            ours = Loop(copy.deepcopy(model), precision, batch)
            theirs = Loop(packed, precision, batch)
            for _ in range(options.rounds):
                ours.step()
                theirs.step()
            audio_s = float(batch[1].sum()) / RATE
            print(
                f"| {precision} | {len(batch[1])} x {longest_s:g} s | {audio_s / theirs.best_s:.0f} | "
                f"{audio_s / ours.best_s:.0f} | {theirs.best_s / ours.best_s:.1f} | {difference:.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
