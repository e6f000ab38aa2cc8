"""How often the 95 % interval holds the true WER: simulated test sets whose true WER is known.

Each speaker has a rate of their own (Beta(6, 34), mean 15 %) and 200 to 600 words; a test set draws
speakers anew. Shown for this project's interval, for the plain percentile interval over speakers,
and for resampling utterances (20 a speaker), as most tools do.

    python scripts/bench/interval_coverage.py           # about two minutes
"""

import argparse

import numpy as np

from asr.significance import expanded_percentiles, resampled_rates

TRUTH = 6 / 40
UTTERANCES = 20


def cover(speakers: int, trials: int, samples: int) -> tuple[float, float, float]:
    """Shares of the trials in which each of the three intervals holds the truth."""
    generator = np.random.default_rng(speakers)
    held = np.zeros(3)
    for trial in range(trials):
        rates = np.repeat(generator.beta(6, 34, speakers), UTTERANCES)
        words = generator.integers(10, 31, speakers * UTTERANCES)
        errors = generator.binomial(words, rates)
        by_speaker = [one.reshape(speakers, UTTERANCES).sum(axis=1) for one in (errors, words)]
        over_speakers = resampled_rates(*by_speaker, samples=samples, seed=trial)
        over_utterances = resampled_rates(errors, words, samples=samples, seed=trial)
        intervals = (
            expanded_percentiles(over_speakers, speakers),
            tuple(np.quantile(over_speakers, [0.025, 0.975])),
            tuple(np.quantile(over_utterances, [0.025, 0.975])),
        )
        held += [low <= TRUTH <= high for low, high in intervals]
    return tuple(held / trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"{arguments.trials:,} test sets a row, {arguments.samples:,} samples each\n")
    print(
        "| speakers | asr | plain percentiles over speakers | over utterances |\n|---|---|---|---|"
    )
    for speakers in (5, 10, 20, 40):
        shares = cover(speakers, arguments.trials, arguments.samples)
        print(f"| {speakers} | " + " | ".join(f"{100 * one:.1f} %" for one in shares) + " |")


if __name__ == "__main__":
    main()
