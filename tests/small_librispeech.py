"""Archives in LibriSpeech's exact form, a few seconds of tones each, for a local server."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from misbehaving_server import Hosted
from tone_corpus import HZ, RATE, speak

from asr.corpora.fingerprint import Fingerprint
from asr.corpora.openslr import RESOURCES

TABLES = ("BOOKS.TXT", "CHAPTERS.TXT", "LICENSE.TXT", "README.TXT", "SPEAKERS.TXT")
_SPEAKERS = ((84, "F"), (174, "M"))


def host(
    monkeypatch: pytest.MonkeyPatch, subset: str, utterances: int, seed: int = 0
) -> dict[str, Hosted]:
    """What a server has of `subset`, by path, with its length and MD5 in our table."""
    data = archive_of(subset, utterances, seed)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    resource = RESOURCES[subset]
    small = replace(resource, fingerprint=Fingerprint(len(data), md5), num_utterances=utterances)
    monkeypatch.setitem(RESOURCES, subset, small)
    return {f"/resources/{resource.number}/{resource.file_name}": Hosted(data)}


def archive_of(subset: str, utterances: int, seed: int = 0) -> bytes:
    """SUBSET.tar.gz: tables, then LibriSpeech/SUBSET/SPEAKER/CHAPTER/ with FLAC and .trans.txt."""
    random = np.random.default_rng(seed)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in TABLES:
            text = f"; {name}\n"
            if name == "SPEAKERS.TXT":
                text += "".join(f"{n} | {sex} | {subset} | 25.0 | A B\n" for n, sex in _SPEAKERS)
            _add(tar, f"LibriSpeech/{name}", text.encode())
        for index, (speaker, _) in enumerate(_SPEAKERS):
            chapter = f"{speaker}-{1000 + speaker}"
            folder = f"LibriSpeech/{subset}/{chapter.replace('-', '/')}"
            lines = []
            for number in range(index, utterances, len(_SPEAKERS)):
                words = ["".join(random.choice([*HZ], random.integers(1, 4))) for _ in range(3)]
                name = f"{chapter}-{number:04d}"
                flac = io.BytesIO()
                soundfile.write(flac, speak(" ".join(words), random), RATE, format="FLAC")
                _add(tar, f"{folder}/{name}.flac", flac.getvalue())
                lines.append(f"{name} {' '.join(words).upper()}\n")
            _add(tar, f"{folder}/{chapter}.trans.txt", "".join(lines).encode())
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_recipe(path: Path, mirror: str, data_dir: Path) -> None:
    """A recipe for what `host` gives: a few seconds of training."""
    path.write_text(
        f"""\
data:
  corpus: librispeech
  data_dir: {data_dir}
  manifest_dir: {data_dir / "manifests"}
  mirror: {mirror}
  train: [train-clean-5]
  dev: [dev-clean-2]
  test: [dev-clean-2]
encoder:
  conv_channels: 8
  hidden_size: 8
  num_layers: 1
trainer:
  accelerator: cpu
  max_epochs: 1
  threads: 1
"""
    )
