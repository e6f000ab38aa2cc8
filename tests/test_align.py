"""Forced alignment of a manifest: times inside the audio, problems named, batches without effect."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from asr.align import Aligned, align_utterances, cut
from asr.bundle import Bundle, save_bundle
from asr.cli.align import register
from asr.manifest import Utterance, read_manifest
from asr.transcribe import Recognizer
from asr.transcript import Transcript, Word


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Noise of 1.0, 1.3, ... seconds; what the untrained model hears in it does not matter."""
    rng = np.random.default_rng(0)
    texts = ["The quick fox", "jumps over", "a lazy dog", "the dog"]
    found = []
    for number, text in enumerate(texts):
        duration_s = 1.0 + 0.3 * number
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, rng.normal(0, 0.1, int(16000 * duration_s)), 16000)
        found.append(Utterance(f"u/{number}", path, text, duration_s))
    return found


def test_every_word_gets_its_place_in_order(
    utterances: list[Utterance], tiny_bundle: Bundle
) -> None:
    for aligned in align_utterances(utterances, Recognizer(tiny_bundle)):
        assert aligned.transcript is not None
        words = aligned.transcript.words
        assert [word.text for word in words] == aligned.utterance.text.lower().split()
        times = [time for word in words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= aligned.utterance.duration_s
        assert aligned.score < 0


def test_batches_change_nothing(utterances: list[Utterance], tiny_bundle: Bundle) -> None:
    recognizer = Recognizer(tiny_bundle)
    alone = list(align_utterances(utterances, recognizer, batch_size=1))
    together = list(align_utterances(utterances, recognizer, batch_size=4))
    for one, other in zip(alone, together, strict=True):
        assert one.transcript is not None
        assert other.transcript is not None
        spans = [(word.start_s, word.end_s) for word in one.transcript.words]
        assert spans == [(word.start_s, word.end_s) for word in other.transcript.words]


def spoken(*words: tuple[float, float]) -> Aligned:
    """An utterance of 10 s that begins 100 s into its file, with words of these times."""
    said = tuple(Word(f"w{n}", start, end, 1.0) for n, (start, end) in enumerate(words))
    text = " ".join(word.text for word in said)
    utterance = Utterance("u", Path("long.wav"), text, 10.0, offset_s=100.0, speaker_id="s")
    return Aligned(utterance, Transcript(text, said, 10.0))


def test_an_utterance_is_cut_at_its_widest_pauses() -> None:
    aligned = spoken((0.5, 1.0), (1.1, 2.0), (3.0, 3.5), (3.6, 4.5), (5.5, 6.0), (6.2, 9.0))
    found = cut(aligned, 4.0)
    assert [piece.text for piece in found] == ["w0 w1", "w2 w3", "w4", "w5"]
    assert [piece.utterance_id for piece in found] == ["u-00", "u-01", "u-02", "u-03"]
    assert [(piece.offset_s, piece.duration_s) for piece in found] == [
        (100.0, 2.5), (102.5, 2.5), (105.0, 1.1), (106.1, 3.9)
    ]  # fmt: skip
    assert cut(aligned, 20.0) == [replace(aligned.utterance, utterance_id="u-00")]


@pytest.mark.parametrize("max_s", [0.2, 1.0, 3.0, 7.0])
def test_pieces_are_the_whole_utterance_and_as_short_as_asked(max_s: float) -> None:
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 10, 60)).reshape(30, 2).tolist()
    aligned = spoken(*((start, end) for start, end in times))
    found = cut(aligned, max_s)
    assert " ".join(piece.text for piece in found) == aligned.utterance.text
    assert found[0].offset_s == 100.0
    for one, following in itertools.pairwise(found):
        assert one.offset_s + one.duration_s == pytest.approx(following.offset_s, abs=2e-3)
    assert found[-1].offset_s + found[-1].duration_s == pytest.approx(110.0, abs=2e-3)
    assert all(piece.duration_s <= max_s or " " not in piece.text for piece in found)


def test_what_was_not_aligned_has_no_pieces() -> None:
    assert cut(Aligned(spoken((1.0, 2.0)).utterance, None, problem="unreadable"), 4.0) == []
    silent = spoken((1.0, 2.0))
    assert silent.transcript is not None
    silent = replace(silent, transcript=replace(silent.transcript, text="", words=()))
    assert cut(silent, 4.0) == []  # a duration of 0 would be the rest of the file


def test_command_names_what_cannot_be_aligned(
    utterances: list[Utterance], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(tiny_bundle, tmp_path / "bundle")
    broken = [
        utterances[0],
        replace(utterances[1], text="the lazy dog " * 30),  # more than 1.3 s can hold
        replace(utterances[2], audio_path=tmp_path / "absent.wav"),
        replace(utterances[3], utterance_id="u_0"),  # its file must not replace that of u/0
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(
        "".join(
            json.dumps(
                {"audio_filepath": str(u.audio_path), "text": u.text, "duration": u.duration_s,
                 "utterance_id": u.utterance_id}
            ) + "\n"
            for u in broken
        )
    )  # fmt: skip
    app = typer.Typer()
    register(app)
    options = ["--model", str(tmp_path / "bundle"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    options += ["--pieces", "1"]
    result = CliRunner().invoke(app, [str(manifest), *options], standalone_mode=False)
    assert result.return_value == 1, result.output
    assert "2 of 4 utterances aligned" in result.output
    assert "u/1: 389 tokens need at least" in result.output
    assert "absent.wav" in result.output
    grids = sorted(path.name for path in (tmp_path / "out" / "textgrids").iterdir())
    assert grids == ["u_0.TextGrid", "u_0~2.TextGrid"]
    rows = [line.split() for line in (tmp_path / "out" / "words.ctm").read_text().splitlines()]
    assert [row[4] for row in rows] == ["the", "quick", "fox", "the", "dog"]
    pieces = read_manifest(tmp_path / "out" / "pieces.jsonl")
    assert " ".join(piece.text for piece in pieces) == "the quick fox the dog"
    assert sum(piece.duration_s for piece in pieces) == pytest.approx(1.0 + 1.9, abs=0.01)
