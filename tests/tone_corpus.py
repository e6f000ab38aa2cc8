"""A language of tones with manifests: learnable in seconds, for tests of training."""

from pathlib import Path

import numpy as np
import soundfile

from asr.manifest import Utterance, write_manifest

RATE = 16_000
HZ = {"a": 400, "b": 800, "c": 1600, "d": 3200}


def speak(text: str, random: np.random.Generator) -> np.ndarray:
    """A tone of 90 to 150 ms a letter, silence for a space and between letters."""
    parts = []
    for letter in f" {text} ":
        length = int(RATE * random.uniform(0.09, 0.15))
        time_s = np.arange(length) / RATE
        parts.append(np.sin(2 * np.pi * HZ[letter] * time_s) if letter in HZ else np.zeros(length))
        parts.append(np.zeros(int(0.03 * RATE)))
    samples = 0.3 * np.concatenate(parts)
    return samples + 0.003 * random.standard_normal(len(samples))


def write_corpus(folder: Path, train: int = 60, dev: int = 12, seed: int = 0) -> None:
    """FOLDER/train.jsonl and dev.jsonl with their audio."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("dev", dev)):
        utterances = []
        for number in range(count):
            words = ["".join(random.choice([*HZ], random.integers(1, 4))) for _ in range(3)]
            text = " ".join(words)
            samples = speak(text, random)
            path = folder / split / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE)
            utterances.append(
                Utterance(
                    f"{split}-{number}",
                    path,
                    text,
                    len(samples) / RATE,
                    speaker_id=f"s{number % 3}",
                )
            )
        write_manifest(folder / f"{split}.jsonl", utterances)


def overrides(folder: Path, run_dir: Path) -> list[str]:
    """A recipe's worth of settings for the tone language: a few seconds of training."""
    return [
        f"recipe={folder / 'tones.yaml'}",
        f"run_dir={run_dir}",
    ]


def write_recipe(folder: Path) -> None:
    """FOLDER/tones.yaml."""
    (folder / "tones.yaml").write_text(
        f"""\
data:
  corpus: manifests
  train: [{folder / "train.jsonl"}]
  dev: [{folder / "dev.jsonl"}]
  test: [{folder / "dev.jsonl"}]
  speeds: [0.9, 1.0, 1.1]
  batch_s: 15
  cache_dir: {folder / "cache"}
encoder:
  conv_channels: 16
  hidden_size: 24
  num_layers: 2
optimizer:
  lr: 1.0e-2
scheduler:
  warmup_steps: 10
trainer:
  accelerator: cpu
  max_epochs: 3
  threads: 1
  log_every_steps: 1
callbacks:
  checkpoint_every_steps: 2
logger:
  page: false
"""
    )
