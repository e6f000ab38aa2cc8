"""The losses of a training step on a CPU, forwards and backwards: CTC against torch's, and the sum over
all phone sequences that CTC-CRF needs against the same recursion in torch's operations, as on a GPU.

Both get the same log-probabilities, of utterances of about 12 s at 30 ms a frame. Results of CTC are
first compared with torch's in float64. Calls alternate in one process; the best of several counts.

    python scripts/bench/losses.py [--threads 1] [--rounds 7] [--batch 10]
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from asr.ctc import ctc_losses
from asr.training.phone_crf import _compiled, _recursions, phone_trigram

FRAMES, LETTERS, PHONES = 400, 170, 130
NUM_LETTERS, NUM_PHONES = 29, 45
Losses = Callable[..., Tensor]


def torch_ctc(
    log_probs: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
) -> Tensor:
    """Torch's, with the arguments of `ctc_losses`."""
    return torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, lengths, target_lengths,
        reduction="none", zero_infinity=True,
    )  # fmt: skip


def results(losses_of: Losses, logits: Tensor, *said: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (B,) and the gradient of their sum (B, T', V)."""
    given = logits.detach().requires_grad_()
    losses = losses_of(given.log_softmax(-1), *said)
    (gradient,) = torch.autograd.grad(losses.sum(), given)
    return losses.detach(), gradient


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(
    name: str, rounds: int, ours: Callable[[], object], theirs: Callable[[], object]
) -> None:
    """Prints the ratio of the best times."""
    best = {ours: float("inf"), theirs: float("inf")}
    for _ in range(rounds):
        for run in best:
            best[run] = min(best[run], seconds(run))
    ratio = best[theirs] / best[ours]
    print(
        f"{name:<16}{1e3 * best[ours]:8.1f} ms, torch {1e3 * best[theirs]:8.1f} ms: {ratio:.1f} x"
    )


def main() -> None:
    """Compare results, then times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=10, help="utterances")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(FRAMES * 3 // 4, FRAMES + 1, (options.batch,), generator=generator)
    for name, size, num_targets in (
        ("letters", NUM_LETTERS, LETTERS),
        ("phones", NUM_PHONES, PHONES),
    ):
        logits = 3 * torch.randn(options.batch, FRAMES, size, generator=generator)
        targets = torch.randint(1, size, (options.batch, num_targets), generator=generator)
        said = (lengths, targets, lengths * num_targets // FRAMES)
        runs = {
            losses_of: partial(results, losses_of, logits, *said)
            for losses_of in (ctc_losses, torch_ctc)
        }
        exact, gradient = results(torch_ctc, logits.double(), *said)
        for losses_of, run in runs.items():
            losses, found = run()
            errors = (losses - exact).abs().max(), (found - gradient).abs().max()
            print(
                f"{name}, {losses_of.__name__}: within {errors[0]:.1e} nats, gradient {errors[1]:.1e}"
            )
        compare(f"CTC, {name}", options.rounds, *runs.values())
    sequences = torch.randint(1, NUM_PHONES, (1000, 60), generator=generator).tolist()
    trigram = phone_trigram(sequences, NUM_PHONES)
    log_probs = logits.log_softmax(-1)
    compare(
        "CTC-CRF's sum", options.rounds,
        lambda: _compiled(log_probs, lengths, trigram, wanted=True),
        lambda: _recursions(log_probs, lengths, trigram, wanted=True),
    )  # fmt: skip


if __name__ == "__main__":
    main()
