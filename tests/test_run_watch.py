"""The callback: a short training leaves its page; what it cannot draw never stops training."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tone_corpus import RATE, overrides, speak, write_corpus, write_recipe

from asr.bundle import Bundle
from asr.manifest import Utterance
from asr.run_samples import read_validations
from asr.training.callbacks import Throughput
from asr.training.config import load_config
from asr.training.dataset import Example
from asr.training.run_watch import (
    NUM_SAMPLES,
    RunWatch,
    posterior_example,
    posterior_of,
    sample_examples,
)
from asr.training.train import train
from asr.training.trainer import callbacks
from asr.transcribe import Recognizer


def example(number: int, duration_s: float, speaker: str | None) -> Example:
    utterance = Utterance(f"u{number:03}", Path("a.flac"), "a", duration_s, speaker_id=speaker)
    return Example(utterance, "a", (1,))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was resumed after its second epoch."""
    corpus = tmp_path_factory.mktemp("tones")
    write_corpus(corpus, train=16, dev=8)
    write_recipe(corpus)
    run_dir = corpus / "run"
    settings = [*overrides(corpus, run_dir), "logger.page=true"]
    train([*settings, "trainer.max_epochs=2"])
    train([*settings, "trainer.max_epochs=3", "resume=true"])
    return run_dir


def test_a_run_leaves_its_page_pictures_and_samples(watched: Path) -> None:
    for name in ("run.html", "learning_curve.png", "posterior.png", "samples.jsonl"):
        assert (watched / name).stat().st_size > 500
    page = (watched / "run.html").read_text("utf-8")
    assert "finished" in page
    assert 'href="report/dev/report.html"' in page
    assert "data:image/png;base64," in page


def test_samples_go_on_where_the_resumed_run_does(watched: Path) -> None:
    validations = read_validations(watched)
    assert [one.epoch for one in validations] == [0, 1, 2]
    assert [one.step for one in validations] == sorted({one.step for one in validations})
    minutes = [one.minutes for one in validations]
    assert minutes == sorted(minutes)
    ids = {tuple(sample.utterance_id for sample in one.samples) for one in validations}
    assert len(ids) == 1
    assert len(ids.pop()) == NUM_SAMPLES


def test_tensorboard_has_the_samples_and_the_picture(watched: Path) -> None:
    events = EventAccumulator(str(watched / "logs/tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert "posterior" in events.Tags()["images"]
    assert "samples/text_summary" in events.Tags()["tensors"]


def test_drawing_is_no_waiting_for_data(tmp_path: Path) -> None:
    """Throughput's hooks come later, and start its clock again."""
    kinds = [type(one) for one in callbacks(load_config(["recipe=synthetic/demo"]), tmp_path)]
    assert kinds.index(RunWatch) < kinds.index(Throughput)


def test_the_posterior_is_what_the_recognizer_writes(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """And looking leaves the random state, by which a resumed run is the same run, alone."""
    path = tmp_path / "a.flac"
    soundfile.write(path, speak("abc dab", np.random.default_rng(0)), RATE)
    spoken = Example(Utterance("a", path, "abc dab", soundfile.info(path).duration), "abc dab", ())
    device = torch.device("cpu")
    module = SimpleNamespace(model=tiny_bundle.model, bundle=tiny_bundle, device=device)
    before = torch.get_rng_state()
    found = posterior_of(module, spoken)
    assert torch.equal(torch.get_rng_state(), before)
    transcript = Recognizer(tiny_bundle).transcribe(path)
    assert found.hypothesis.split() == transcript.text.split()
    assert found.log_probs.shape[1] == len(found.tokens)
    num_mel_frames, num_frames = len(found.log_mel), len(found.log_probs)
    assert num_mel_frames * found.mel_frame_s == pytest.approx(num_frames * found.frame_s, abs=0.05)


def test_what_fails_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("asr.training.run_watch.write_run_page", no_space)
    watch = RunWatch(tmp_path)
    trainer = SimpleNamespace(is_global_zero=True, loggers=[], sanity_checking=False)
    module = SimpleNamespace(dev_score=None, dev_examples=[])
    watch.on_fit_start(trainer, module)
    watch.on_validation_batch_end(trainer, module, None, None, 0)
    for _ in range(3):
        watch.on_validation_end(trainer, module)
    watch.on_fit_end(trainer, module)
    assert capsys.readouterr().err.count("the run page is not up to date") == 1


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    watch, other = RunWatch(tmp_path), SimpleNamespace(is_global_zero=False)
    watch.on_fit_start(other, None)
    watch.on_validation_batch_end(other, None, None, None, 0)
    watch.on_validation_end(other, None)
    watch.on_fit_end(other, None)
    assert list(tmp_path.iterdir()) == []


def test_samples_are_the_same_few_of_different_speakers() -> None:
    examples = [example(n, 1.0 + n / 10, f"s{n % 7}") for n in range(100)]
    chosen = sample_examples(examples)
    assert chosen == sample_examples(examples[::-1])
    assert len({one.utterance.speaker_id for one in chosen}) == NUM_SAMPLES
    assert max(one.utterance.duration_s for one in chosen) < 9.5
    alone = sample_examples([example(n, 1.0, None) for n in range(100)])
    assert len({one.utterance.utterance_id for one in alone}) == NUM_SAMPLES
    assert len(sample_examples(examples[:3])) == 3


def test_the_posterior_is_of_an_utterance_that_fits_a_picture() -> None:
    examples = [example(n, 1.0 + n, None) for n in range(20)]
    assert posterior_example(examples).utterance.duration_s == 4.0
