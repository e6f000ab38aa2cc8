"""scripts/model_card.py on a small model and small sets: what the card says is what was measured."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY
from language_bundle import write_language_model

from asr.bundle import Bundle, Decoding, save_bundle
from asr.export import export_bundle
from asr.manifest import Utterance, write_manifest

SETS = {
    "dev-clean.jsonl": [{"gender": "F"}, {"gender": "M"}],
    "speechocean762/test.jsonl": [{"age": "8", "gender": "m"}, {"age": "31", "gender": "f"}],
    "kathleen/test.jsonl": [{}, {}],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    folder = tmp_path / "data"
    for name, extras in SETS.items():
        utterances = []
        for number, extra in enumerate(extras * 3):
            path = folder / name.removesuffix(".jsonl") / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * random.standard_normal(16_000), 16_000)
            utterances.append(
                Utterance(
                    f"u{number}", path, "a quick fox", 1.0, speaker_id=f"s{number}", extra=extra
                )
            )
        write_manifest(folder / name, utterances)
    clip = folder / "noise/test/rain.flac"
    clip.parent.mkdir(parents=True)
    soundfile.write(clip, 0.1 * random.standard_normal(8_000), 16_000)
    return folder


def test_the_card_says_what_the_reports_say(
    data: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    import model_card

    saved = save_bundle(replace(tiny_bundle, decoding=Decoding(0.5, 1.0, 8)), tmp_path / "saved")
    lm = write_language_model(tmp_path / "lm.ngram")
    model = export_bundle(saved, tmp_path / "model", weights="float16", lm=lm)
    out = tmp_path / "out"
    model_card.main(["--model", str(model), "--data", str(data), "-o", str(out)])
    card = (model / "README.md").read_text()
    assert card.startswith("# Speech recognizer, recipe test/tiny")
    rows = dict(re.findall(r"^\| (.+?) \| (\d+ \| .+) \|$", card, flags=re.MULTILINE))
    assert len(rows) == 3 + 4 + 2 + 2 + 6  # sets, noise, gender, age, speakers
    fourth = "dev-clean, every fourth utterance, noise at 0 dB"
    for name in (fourth, "dev-clean, women", "speechocean762, children"):
        assert name in rows
    reports = {
        decoder: json.loads((out / "dev-clean-11-speakers" / decoder / "report.json").read_text())
        for decoder in ("greedy", "beam")
    }
    cells = rows["dev-clean, 11 speakers"].split(" | ")
    assert cells[0] == "18"
    for cell, report in zip(cells[1:], reports.values(), strict=True):
        assert cell.split(" ")[0] == f"{100 * report['wer']:.2f}"
    assert rows["dev-clean, women"].startswith("9 | ")


def test_noise_has_the_ratio_that_the_set_is_named_by(
    data: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    import model_card

    from asr.transcribe import Recognizer

    clean = model_card.TestSet("clean", data / "dev-clean.jsonl")
    noisy = model_card.noisy_sets(
        clean, data / "noise/test", tmp_path / "out", Recognizer(tiny_bundle)
    )
    for test_set, snr_db, every in zip(noisy, (20, 10, 5, 0), (1, 1, 4, 4), strict=True):
        assert ("every fourth" in test_set.name) == (every == 4)
        for before, after in zip(clean.utterances()[::every], test_set.utterances(), strict=True):
            speech, mixed = (soundfile.read(one.audio_path)[0] for one in (before, after))
            ratio = np.mean(speech**2) / np.mean((mixed - speech) ** 2)
            assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.05)
            assert after.text == before.text
