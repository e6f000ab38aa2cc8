"""From manifests to loaders: shares of a rank, limits that cannot be met, what a person is told."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tone_corpus import write_corpus

from asr.augment import AugmentConfig
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest, write_manifest
from asr.model import ModelConfig
from asr.mp3 import through_mp3
from asr.pronunciation import Lexicon
from asr.training.config import DataConfig
from asr.training.datamodule import Manifests, SpeechDataModule
from asr.waveform_augment import GainConfig, Mp3Config, NoiseConfig, ReverbConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, train=12, dev=7)
    return folder


def data_module(
    corpus: Path, augment: AugmentConfig | None = None, **config: object
) -> SpeechDataModule:
    manifests = Manifests((corpus / "train.jsonl",), (corpus / "dev.jsonl",))
    settings = DataConfig(**{"batch_s": 5.0, "eval_batch_s": 3.0, **config})  # type: ignore[arg-type]
    return SpeechDataModule(manifests, settings, ModelConfig(vocab_size=1), 1, augment=augment)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_share_out_the_development_set(corpus: Path, world_size: int) -> None:
    """Each utterance once, and as many batches on each rank, because they run in step."""
    data = data_module(corpus)
    data.setup("fit")
    seen: list[int] = []
    steps = set()
    for rank in range(world_size):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)  # type: ignore[assignment]
        batches = list(data.val_dataloader())
        steps.add(len(batches))
        seen += [index for batch in batches for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(7))
    assert len(steps) == 1


def test_more_ranks_than_development_utterances_all_take_all(corpus: Path) -> None:
    data = data_module(corpus)
    data.setup("fit")
    data.trainer = SimpleNamespace(global_rank=3, world_size=8)  # type: ignore[assignment]
    indices = [index for batch in data.val_dataloader() for index in batch.indices.tolist()]
    assert sorted(indices) == list(range(7))


def test_batches_that_cannot_be_shared_out_are_on_every_rank(corpus: Path) -> None:
    """Two utterances together and four alone, among four."""
    data = data_module(corpus, eval_batch_s=10.0)
    durations_s = (4.0, 4.0, 9.0, 9.0, 9.0, 9.0)
    data.dev_examples = [
        replace(example, utterance=replace(example.utterance, duration_s=seconds))
        for example, seconds in zip(data.dev_examples[:6], durations_s, strict=True)
    ]
    seen: Counter[int] = Counter()
    for rank in range(4):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=4)  # type: ignore[assignment]
        seen.update(index for batch in data._dev_sampler() for index in batch.indices)
    assert sorted(seen) == list(range(6))


def test_development_texts_without_words_are_refused(corpus: Path, tmp_path: Path) -> None:
    utterances = [replace(one, text="...") for one in read_manifest(corpus / "dev.jsonl")]
    write_manifest(tmp_path / "silent.jsonl", utterances)
    manifests = Manifests((corpus / "train.jsonl",), (tmp_path / "silent.jsonl",))
    with pytest.raises(AsrError, match="no development text has a word that the normaliser"):
        SpeechDataModule(manifests, DataConfig(), ModelConfig(vocab_size=1), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_s": 0.1}, r"data\.batch_s is 0\.1 s, less than the shortest"),
        ({"eval_batch_s": 0.1}, r"data\.eval_batch_s is 0\.1 s, less than"),
        ({"batch_s": -1.0}, r"data\.batch_s must be positive"),
        ({"num_workers": -1}, r"data\.num_workers must not be negative"),
        ({"speeds": [3.0]}, r"data\.speeds must be factors"),
    ],
)
def test_impossible_limits_fail_at_once(
    corpus: Path, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        data_module(corpus, **wrong)


def test_augmentation_reaches_training_and_spares_validation(corpus: Path, tmp_path: Path) -> None:
    """The room's click comes out in the room, the noise in the noise, the level in the gain."""
    (tmp_path / "rir").mkdir()
    (tmp_path / "noise").mkdir()
    echo = np.zeros(800)
    echo[[0, 400]] = [1.0, 0.5]
    soundfile.write(tmp_path / "rir/echo.wav", echo, 16_000)
    soundfile.write(tmp_path / "noise/hum.wav", 0.2 * np.sin(np.arange(9_000) / 5), 16_000)
    soundfile.write(tmp_path / "noise/nothing.wav", np.zeros(900), 16_000)
    augment = AugmentConfig(
        reverb=ReverbConfig(1.0, str(tmp_path / "rir")),
        noise=NoiseConfig(1.0, str(tmp_path / "noise"), 10.0, 10.0),
        gain=GainConfig(1.0, -6.0, -6.0),
    )
    plain, changed = data_module(corpus), data_module(corpus, augment)
    (note,) = changed.notes
    assert "augment.noise.folder: 1 of 2 files are left out" in note
    assert f"{tmp_path / 'noise/nothing.wav'}: silent" in note
    for data in (plain, changed):
        data.setup("fit")
    for before, after in zip(plain.train_dataloader(), changed.train_dataloader(), strict=True):
        assert before.indices.equal(after.indices)
        gone_db = 10 * ((after.waveforms**2).sum() / (before.waveforms**2).sum()).log10()
        assert float(gone_db) == pytest.approx(-6 + 10 * np.log10(1.1), abs=0.3)
    for before, after in zip(plain.val_dataloader(), changed.val_dataloader(), strict=True):
        assert before.waveforms.equal(after.waveforms)


def test_phones_of_the_training_texts(corpus: Path) -> None:
    """A word that the lexicon lacks leaves its utterance without phones, and a person is told."""
    manifests = Manifests((corpus / "train.jsonl",), (corpus / "dev.jsonl",))
    texts = [utterance.text for utterance in read_manifest(corpus / "train.jsonl")]
    words = {word: (tuple(word.upper()),) for text in texts for word in text.split()}
    lacking = texts[3].split()[1]
    known = {word: said for word, said in words.items() if word != lacking}

    def data(said: dict[str, tuple[tuple[str, ...], ...]]) -> SpeechDataModule:
        lexicon = Lexicon.of(said, Lexicon.of(words).phones)
        config = DataConfig(batch_s=5.0, eval_batch_s=3.0)
        return SpeechDataModule(manifests, config, ModelConfig(vocab_size=1), 1, lexicon=lexicon)

    complete, incomplete = data(words), data(known)
    assert complete.notes == []
    (note,) = incomplete.notes
    assert f"loss.lexicon lacks 1 words, such as {lacking!r}" in note
    for data_module_ in (complete, incomplete):
        data_module_.setup("fit")
    phones = Lexicon.of(words).phones
    for batch, holes in zip(
        complete.train_dataloader(), incomplete.train_dataloader(), strict=True
    ):
        for row, index in enumerate(batch.indices.tolist()):
            length = int(batch.phone_target_lengths[row])
            said = "".join(phones[phone] for phone in batch.phone_targets[row, :length])
            text = complete.train_examples[index].text
            assert said == text.upper()
            assert (holes.phone_target_lengths[row] == 0) == (lacking in text.split())
    with pytest.raises(AsrError, match="of no training text"):
        data({"zebra": (("A",),)})


def test_a_missing_folder_fails_before_a_run_begins(corpus: Path) -> None:
    with pytest.raises(AsrError, match=r"augment\.noise\.folder: there is no folder nowhere"):
        data_module(corpus, AugmentConfig(noise=NoiseConfig(0.5, "nowhere")))


def test_mp3_reaches_training(corpus: Path) -> None:
    """At the one bit rate in the range that MP3 has; a range without any is an error."""
    plain = data_module(corpus)
    coded = data_module(corpus, AugmentConfig(mp3=Mp3Config(1.0, 10.0, 20.0)))
    for data in (plain, coded):
        data.setup("fit")
    for before, after in zip(plain.train_dataloader(), coded.train_dataloader(), strict=True):
        wanted = [
            through_mp3(waveform[:length].numpy(), 16_000, 16)
            for waveform, length in zip(before.waveforms, before.waveform_lengths, strict=True)
        ]
        for waveform, one in zip(after.waveforms, wanted, strict=True):
            np.testing.assert_array_equal(waveform[: len(one)].numpy(), one)
    with pytest.raises(
        UsageError, match=r"none of MP3's bit rates at 16000 Hz, .* between 17 and 20"
    ):
        data_module(corpus, AugmentConfig(mp3=Mp3Config(1.0, 17.0, 20.0)))


def test_an_utterance_of_unknown_duration_is_measured(corpus: Path, tmp_path: Path) -> None:
    """A batch of many such would have no bound."""
    first, second, *rest = read_manifest(corpus / "train.jsonl")
    unknown = replace(first, duration_s=0.0)
    lost = replace(second, duration_s=0.0, audio_path=tmp_path / "nowhere.wav")
    write_manifest(tmp_path / "train.jsonl", [unknown, lost, *rest])
    dev = [replace(one, duration_s=0.0) for one in read_manifest(corpus / "dev.jsonl")]
    write_manifest(tmp_path / "dev.jsonl", dev)
    data = data_module(tmp_path)
    assert [(one.reason, one.utterance_ids) for one in data.left_out] == [
        ("no duration in the manifest, and the audio cannot be read", ("train-1",))
    ]
    assert data.train_examples[0].utterance.duration_s == pytest.approx(first.duration_s)
    data.setup("fit")
    for batch in data.val_dataloader():
        assert batch.waveforms.numel() <= 3.0 * 16_000


def test_long_development_utterances_that_cannot_be_shared_out_are_on_every_rank(
    corpus: Path,
) -> None:
    """Seven batches of one for two ranks: one rank would have an empty batch."""
    data = data_module(corpus, eval_batch_s=2.1)
    data.setup("fit")
    for rank in range(2):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        batches = [batch.indices.tolist() for batch in data.val_dataloader()]
        assert sorted(batches) == [[index] for index in range(7)]


def test_going_on_with_other_batches_is_said(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_module(corpus)
    data.setup("fit")
    epoch_batches = len(data.train_sampler())
    data.resume_at(1, 2, epoch_batches)
    data.train_dataloader()
    assert not capsys.readouterr().err
    data.resume_at(1, 2, epoch_batches + 3)
    data.train_dataloader()
    assert f"goes on with {epoch_batches}: epoch 2 repeats or misses" in capsys.readouterr().err
