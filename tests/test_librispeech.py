"""LibriSpeech's layout, small and made here, and the real subsets where they are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora.librispeech import prepare_librispeech
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two chapters of two speakers in dev-clean: FLAC, Opus and WAV."""
    root = tmp_path / "LibriSpeech"
    for name, suffix in (("84-1-0000", "flac"), ("84-1-0001", "wav"), ("174-2-0000", "opus")):
        speaker, chapter, _ = name.split("-")
        folder = root / "dev-clean" / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(0).standard_normal(16_000)
        if suffix == "opus":
            soundfile.write(folder / f"{name}.opus", samples, 16_000, format="OGG", subtype="OPUS")
        else:
            soundfile.write(folder / f"{name}.{suffix}", samples, 16_000)
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} SAID BY {speaker}\n")
    table = "; comment\n84   | F | dev-clean | 8 | Ann\n174 | M | x | 1 | Bob\n"
    (root / "SPEAKERS.TXT").write_text(table)
    return tmp_path


def test_one_manifest_a_subset(corpus: Path, tmp_path: Path) -> None:
    (subset,) = prepare_librispeech(corpus, ["dev-clean"], tmp_path / "out")
    utterances = {one.utterance_id: one for one in read_manifest(subset.manifest)}
    assert list(utterances) == ["174-2-0000", "84-1-0000", "84-1-0001"]
    assert utterances["84-1-0001"].text == "SAID BY 84"
    assert utterances["84-1-0001"].speaker_id == "84"
    assert utterances["84-1-0001"].extra == {"gender": "F"}
    assert {one.duration_s for one in utterances.values()} == {1.0}
    assert (subset.num_utterances, subset.num_speakers, subset.problems) == (3, 2, ())


def test_the_folder_of_subsets_itself_will_do(corpus: Path, tmp_path: Path) -> None:
    (subset,) = prepare_librispeech(corpus / "LibriSpeech", ["dev-clean"], tmp_path / "out")
    assert subset.num_utterances == 3


def test_what_does_not_fit_is_left_out_and_named(corpus: Path, tmp_path: Path) -> None:
    chapter = corpus / "LibriSpeech/dev-clean/84/1"
    with (chapter / "84-1.trans.txt").open("a") as file:
        file.write(
            "84-1-0002 NO AUDIO\n84-1-0003 BROKEN\n84-1-0004 EMPTY\n84-1-0000 AGAIN\n84-1-0005\n"
        )
    (chapter / "84-1-0003.flac").write_bytes(b"fLaC and then nothing")
    soundfile.write(chapter / "84-1-0004.wav", np.zeros(0), 16_000)
    soundfile.write(chapter / "84-1-0009.wav", np.zeros(100), 16_000)
    (subset,) = prepare_librispeech(corpus, ["dev-clean"], tmp_path / "out")
    assert subset.num_utterances == 3
    problems = "\n".join(subset.problems)
    for expected in (
        "no audio for transcript 84-1-0002",
        "84-1-0003.flac",
        "84-1-0004.wav: holds no audio",
        "84-1-0000 has two transcripts",
        "84-1-0005 has an empty transcript",
        "84-1-0009.wav: audio without a transcript",
    ):
        assert expected in problems
    assert len(subset.problems) == 6


def test_hidden_files_are_skipped_and_what_is_no_utf8_is_named(
    corpus: Path, tmp_path: Path
) -> None:
    chapter = corpus / "LibriSpeech/dev-clean/84/1"
    for name in ("._84-1.trans.txt", "._84-1-0000.flac"):  # as macOS leaves them
        (chapter / name).write_bytes(b"\x00\x05\x16\x07\xb0")
    (chapter / "84-9.trans.txt").write_bytes("84-9-0000 CAFÉ\n".encode("latin-1"))
    (subset,) = prepare_librispeech(corpus, ["dev-clean"], tmp_path / "out")
    assert subset.num_utterances == 3
    (problem,) = subset.problems
    assert "84-9.trans.txt: not UTF-8 text" in problem


def test_missing_folders_and_unknown_subsets_are_said(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(AsrError, match="no folder .*dev-other.*--data-dir"):
        prepare_librispeech(corpus, ["dev-other"], out)
    with pytest.raises(AsrError, match="no folder .*nowhere"):
        prepare_librispeech(tmp_path / "nowhere", ["dev-clean"], out)
    with pytest.raises(UsageError, match="no subset dev-dirty; there are: train-clean-5"):
        prepare_librispeech(corpus, ["dev-dirty"], out)
    (corpus / "LibriSpeech/test-clean").mkdir()
    with pytest.raises(AsrError, match="test-clean has no utterance"):
        prepare_librispeech(corpus, ["test-clean"], out)
    assert not out.exists()


def test_real_subsets_have_the_published_sizes(asr_data: Path, tmp_path: Path) -> None:
    train, dev = prepare_librispeech(asr_data, ["train-clean-5", "dev-clean"], tmp_path)
    assert (train.num_utterances, train.num_speakers) == (1519, 28)
    assert train.duration_s / 3600 == pytest.approx(5.31, abs=0.01)
    assert (dev.num_utterances, dev.num_speakers) == (671, 11)
    assert train.problems == dev.problems == ()
