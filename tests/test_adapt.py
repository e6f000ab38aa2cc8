"""`asr adapt`, in a language of tones: recordings of a higher voice than training had."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import tone_corpus
from language_bundle import write_language_model, write_noise_manifest
from numpy.typing import NDArray
from tone_corpus import HZ, RATE, overrides, speak, write_recipe

from asr.bundle import Bundle, Decoding, load_bundle, save_bundle
from asr.cli import main
from asr.errors import AsrError, UsageError
from asr.evaluate import evaluate
from asr.inputs import work_list
from asr.lm import LmOptions, train_language_model
from asr.lm_text import number_words
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import AcousticModel
from asr.tokenizer import BLANK, BpeTokenizer
from asr.training import adapt as adapt_module
from asr.training.adapt import Options, adapt
from asr.training.config import RunConfig, load_config
from asr.training.train import TrainedModel, train
from asr.transcribe import Recognizer, load_model

WORDS = ("ab", "cda", "dd", "bac", "ca", "adb", "bcd", "abda")
QUICK = (
    *("trainer=auto", "trainer.accelerator=cpu", "trainer.threads=1", "data.batch_s=15"),
    *(
        "loss.consistency_weight=0",
        "augment.time_masks=0",
        "augment.freq_masks=0",
        "augment.vtlp=0",
    ),
)
LISTENER = partial(load_model, device="cpu")


def write_tones(folder: Path, split: str, count: int, seed: int, pitch: float = 1.0) -> None:
    random = np.random.default_rng(seed)
    utterances = []
    with patch.dict(tone_corpus.HZ, {letter: hz * pitch for letter, hz in HZ.items()}):
        for number in range(count):
            text = " ".join(random.choice(WORDS, 4))
            samples: NDArray[np.float64] = speak(text, random)
            path = folder / split / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE)
            utterances.append(Utterance(f"{split}-{number}", path, text, len(samples) / RATE))
    write_manifest(folder / f"{split}.jsonl", utterances)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model, its language model, and recordings of a higher voice."""
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder, "train", 80, 0)
    write_tones(folder, "dev", 12, 1)
    write_tones(folder, "higher", 40, 2, 1.15)
    write_tones(folder, "more", 20, 3, 1.15)
    write_recipe(folder)
    train([*overrides(folder, folder / "run"), "trainer.max_epochs=25", "augment.time_masks=0"])
    random = np.random.default_rng(9)
    texts = number_words(random.choice(WORDS, 4).tolist() for _ in range(300))
    train_language_model(texts, LmOptions(2)).save(folder / "lm.ngram")
    bundle = replace(
        load_bundle(folder / "run/bundle"),
        language_model=folder / "lm.ngram",
        decoding=Decoding(0.5, 2.0, 32),
        weights="float16",
        sections="\n## Licence\n\nFree.\n",
    )
    save_bundle(bundle, folder / "model")
    return folder


def greedy_wer(folder: Path, split: str, model: Path, report: Path) -> float:
    recognizer = load_model(model, device="cpu", decoder="greedy")
    return evaluate(folder / f"{split}.jsonl", recognizer, report).score.wer


def test_a_model_learns_to_hear_a_higher_voice(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for path in (tones / "higher").iterdir():
        (recordings / path.name).symlink_to(path)
    (recordings / "broken.flac").write_bytes(b"no audio" * 99)
    out = tmp_path / "adapted"
    command = [
        "adapt",
        str(recordings),
        "-o",
        str(out),
        "-m",
        str(tones / "model"),
        "--rounds",
        "1",
    ]
    quick = [word for setting in QUICK for word in ("--set", setting)]
    quick += ["--set", "optimizer.lr=2e-3", "--set", "trainer.max_epochs=12"]
    with pytest.raises(SystemExit) as ended:
        main([*command, *quick])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert f"model: {out / 'bundle'}" in said.out
    assert "broken.flac" in said.err
    for split in ("higher", "more"):  # what it was adapted to, and others of the same voice
        before = greedy_wer(tones, split, tones / "model", tmp_path / "report")
        after = greedy_wer(tones, split, out / "bundle", tmp_path / "report")
        assert after < 0.9 * before, split  # how much less differs by the CPU's sums
    start, bundle = load_bundle(tones / "model"), load_bundle(out / "bundle")
    assert bundle.decoding == start.decoding
    assert bundle.weights == "float16"
    assert bundle.language_model is not None
    assert start.model_id in bundle.training.data
    assert "Free." in bundle.sections
    assert not (out / "round-1/run/checkpoints").exists()


@pytest.fixture
def few(tones: Path, tmp_path: Path) -> list[str]:
    """Six of the higher recordings."""
    manifest = tmp_path / "few.jsonl"
    write_manifest(manifest, read_manifest(tones / "higher.jsonl")[:6])
    return [str(manifest)]


def options(tones: Path, **others: object) -> Options:
    chosen = Options(str(tones / "model"), 2, overrides=(*QUICK, "trainer.max_epochs=1"))
    return replace(chosen, **others)  # type: ignore[arg-type]


def test_each_round_begins_with_the_first_network_and_better_texts(
    tones: Path, few: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_by: list[str] = []

    def listener(model: str) -> Recognizer:
        heard_by.append(model)
        return LISTENER(model)

    starts: list[str | None] = []
    run = adapt_module.run

    def spy(config: RunConfig) -> TrainedModel:
        starts.append(config.init_from)
        return run(config)

    monkeypatch.setattr(adapt_module, "run", spy)
    out = tmp_path / "out"
    adapted = adapt(work_list(few), out, listener, options(tones))
    assert starts == [str(tones / "model")] * 2
    assert heard_by == [str(tones / "model"), str(out / "bundle")]
    assert not adapted.failures
    for number in (1, 2):
        labels = read_manifest(out / f"round-{number}/labels.jsonl")
        assert {one.utterance_id.partition("+")[0] for one in labels} <= {
            f"higher-{n}" for n in range(6)
        }


def test_an_interrupted_adaptation_goes_on(
    tones: Path, few: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = adapt(work_list(few), tmp_path / "whole", LISTENER, options(tones))
    out, run = tmp_path / "out", adapt_module.run
    runs: list[bool] = []

    def interrupted(config: RunConfig) -> TrainedModel:
        runs.append(config.resume)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return run(config)

    monkeypatch.setattr(adapt_module, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapt(work_list(few), out, LISTENER, options(tones))
    with pytest.raises(UsageError, match="--resume"):
        adapt(work_list(few), out, LISTENER, options(tones))
    other = partial(LISTENER, lm_weight=0.1)
    with pytest.raises(UsageError, match="another model, other recordings or other options"):
        adapt(work_list(few), out, other, options(tones, resume=True))
    with pytest.raises(UsageError, match="another model, other recordings or other options"):
        adapt(work_list(few), out, LISTENER, options(tones, resume=True, max_hours=0.001))
    others = work_list([str(tones / "more.jsonl")])
    with pytest.raises(UsageError, match="another model, other recordings or other options"):
        adapt(others, out, LISTENER, options(tones, resume=True))
    adapted = adapt(work_list(few), out, LISTENER, options(tones, resume=True))
    assert len(runs) == 3
    for file in ("model.safetensors", "tokens.json"):
        assert (adapted.bundle_path / file).read_bytes() == (whole.bundle_path / file).read_bytes()
    again = adapt(work_list(few), out, LISTENER, options(tones, resume=True))
    assert len(runs) == 3
    assert again == adapted


def test_what_cannot_be(tones: Path, few: list[str], tmp_path: Path) -> None:
    greedy = partial(LISTENER, decoder="greedy")
    with pytest.raises(UsageError, match="needs a language model"):
        adapt(work_list(few), tmp_path / "out", greedy, options(tones))
    for setting, message in (
        ("run_dir=elsewhere", "--set run_dir: asr adapt fills this in"),
        ("optimiser.lr=1", "no such key: optimiser"),
    ):
        chosen = options(tones, overrides=(setting,))
        with pytest.raises(UsageError, match=message):
            adapt(work_list(few), tmp_path / "out", LISTENER, chosen)
    assert not (tmp_path / "out").exists()
    with pytest.raises(AsrError, match="nothing to adapt to"):
        adapt(work_list(["nowhere.flac"]), tmp_path / "out", LISTENER, options(tones))
    assert not list((tmp_path / "out").iterdir())  # the right name can be given without --resume
    save_bundle(load_bundle(tones / "model"), tmp_path / "mine/bundle")
    with pytest.raises(UsageError, match="exists already"):
        adapt(work_list(few), tmp_path / "mine", LISTENER, options(tones))


def test_stdin_cannot_be_read_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["adapt", "-", "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "name files, not stdin" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_of_phones_keeps_them(phone_bundle: Bundle, tmp_path: Path) -> None:
    lm = write_language_model(tmp_path / "lm.ngram")
    model = save_bundle(
        replace(phone_bundle, language_model=lm, decoding=Decoding(0.7, 1.5, 16)),
        tmp_path / "model",
    )
    manifest = write_noise_manifest(tmp_path, 4)
    chosen = Options(str(model), 1, overrides=(*QUICK, "trainer.max_epochs=1"))
    adapted = adapt(work_list([str(manifest)]), tmp_path / "out", LISTENER, chosen)
    bundle = load_bundle(adapted.bundle_path)
    assert bundle.phones == phone_bundle.phones
    assert bundle.lexicon is not None
    state = json.loads((tmp_path / "out/adapt.json").read_text("utf-8"))
    assert "phones" in state["settings"]
    before, after = phone_bundle.model.state_dict(), bundle.model.state_dict()
    assert any((before[name] != after[name]).any() for name in before if "phone_head" in name)
    letters = (*chosen.overrides, "loss.phone_weight=0", "loss.phone_crf=0")
    chosen = replace(chosen, overrides=letters)
    adapted = adapt(work_list([str(manifest)]), tmp_path / "letters", LISTENER, chosen)
    assert load_bundle(adapted.bundle_path).phones == ()


def test_all_networks_learn_and_go_on_after_an_interruption(
    phone_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = phone_bundle.model.config
    config = replace(config, encoder=replace(config.encoder, hidden_size=12))
    lm = write_language_model(tmp_path / "lm.ngram")
    bundle = replace(
        phone_bundle, language_model=lm, decoding=Decoding(0.7, 1.5, 16),
        others=(AcousticModel(config).eval(),), weights="float16",
    )  # fmt: skip
    model = save_bundle(bundle, tmp_path / "model")
    manifest = write_noise_manifest(tmp_path, 4)
    chosen = Options(str(model), 1, overrides=(*QUICK, "trainer.max_epochs=1"))
    run, starts = adapt_module.run, []

    def interrupted(config: RunConfig) -> TrainedModel:
        starts.append(str(config.init_from))
        if len(starts) == 2:
            raise KeyboardInterrupt
        return run(config)

    monkeypatch.setattr(adapt_module, "run", interrupted)
    out, items = tmp_path / "out", work_list([str(manifest)])
    with pytest.raises(KeyboardInterrupt):
        adapt(items, out, LISTENER, chosen)
    assert not (out / "bundle").exists()
    adapted = adapt(items, out, LISTENER, replace(chosen, resume=True))
    assert starts == [str(model), str(out / "network-2"), str(out / "network-2")]
    (before,), (after,) = bundle.others, load_bundle(adapted.bundle_path).others
    assert before.config == after.config
    learnt = after.state_dict()
    changed = {name for name, old in before.state_dict().items() if (old != learnt[name]).any()}
    assert any("lstm" in name for name in changed)
    assert any("phone_head" in name for name in changed)
    letters = (*chosen.overrides, "loss.phone_weight=0", "loss.phone_crf=0")
    adapted = adapt(items, tmp_path / "letters", LISTENER, replace(chosen, overrides=letters))
    assert load_bundle(adapted.bundle_path).others == ()


def test_a_model_of_pieces_keeps_them(tiny_bundle: Bundle, tmp_path: Path) -> None:
    pieces = BpeTokenizer((BLANK, "▁", *"abcdefghijklmnopqrstuvwxyz'"))
    model = save_bundle(replace(tiny_bundle, tokenizer=pieces), tmp_path / "model")
    for recipe in ("recipe=own-data/adapt", "recipe=librispeech/released"):
        assert load_config([recipe, f"init_from={model}"]).tokenizer.kind == "bpe"
    chosen = [f"init_from={model}", "tokenizer.kind=char"]
    assert load_config(["recipe=own-data/adapt", *chosen]).tokenizer.kind == "char"
