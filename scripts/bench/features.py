"""MFCC of asr against librosa.feature.mfcc with matched parameters: audio-seconds per second.

python scripts/bench/features.py [--threads 2] [--rounds 5]
"""

import argparse
import time

import librosa
import numpy as np
import torch

from asr.features import FeatureConfig, FrontEnd

UTTERANCES, SECONDS = 32, 10


def main() -> None:
    """Print the table; both take the same 32 utterances of 10 s, librosa one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = FeatureConfig(floor_db=None, normalize=False)
    front_end = FrontEnd(config)
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((UTTERANCES, 16_000 * SECONDS))
    waveforms = waveforms.astype(np.float32)
    lengths = torch.full((UTTERANCES,), 16_000 * SECONDS)
    times: dict[str, list[float]] = {"asr": [], "librosa": []}
    for _ in range(options.rounds):
        started = time.perf_counter()
        features, _ = front_end(torch.from_numpy(waveforms), lengths)
        times["asr"].append(time.perf_counter() - started)
        started = time.perf_counter()
        cepstra = [
            librosa.feature.mfcc(
                y=waveform, sr=config.sample_rate, n_mfcc=config.n_mfcc, n_mels=config.n_mels,
                n_fft=config.n_fft, win_length=config.win_length, hop_length=config.hop_length,
                center=False, htk=True, fmin=config.min_hz, fmax=config.max_hz,
            )
            for waveform in waveforms
        ]  # fmt: skip
        times["librosa"].append(time.perf_counter() - started)
    assert features.shape[1] == cepstra[0].shape[1]
    rate = {name: UTTERANCES * SECONDS / min(values) for name, values in times.items()}
    print("| asr audio s/s | librosa audio s/s | ratio |\n|---|---|---|")
    print(f"| {rate['asr']:.0f} | {rate['librosa']:.0f} | {rate['asr'] / rate['librosa']:.1f} |")


if __name__ == "__main__":
    main()
