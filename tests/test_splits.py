import doctest
import os
from collections import Counter
from pathlib import Path

import pytest
from corpus_tree import write_audio

import asr.corpora.splits
from asr.align import Aligned, write_alignments
from asr.cli import main
from asr.corpora.splits import Shares, split
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, read_manifest
from asr.training.waveforms import _cache_key
from asr.transcript import Transcript, Word


def utterances(speakers: int, each: int = 3) -> list[Utterance]:
    return [
        Utterance(f"{s}-{n}", Path(f"{s}-{n}.wav"), f"text {s} {n}", 1.0, speaker_id=f"spk{s}")
        for s in range(speakers)
        for n in range(each)
    ]


def sets_of(some: list[Utterance], shares: Shares | None = None) -> dict[str, str]:
    divided = split(some, shares or Shares())
    return {one.utterance_id: name for name, part in divided.sets.items() for one in part}


def test_docstrings() -> None:
    assert doctest.testmod(asr.corpora.splits).failed == 0


def test_no_speaker_is_in_two_sets_and_the_shares_are_about_right() -> None:
    divided = split(utterances(1000), Shares(dev=0.1, test=0.2))
    assert list(divided.sets) == ["train", "dev", "test"]
    speakers = {name: {one.speaker_id for one in part} for name, part in divided.sets.items()}
    assert sum(map(len, speakers.values())) == 1000
    assert 70 < len(speakers["dev"]) < 130
    assert 160 < len(speakers["test"]) < 240
    assert divided.notes == ("split by speaker: no voice is in two sets (1000 speakers)",)


def test_more_files_and_more_speakers_move_nobody() -> None:
    before = sets_of(utterances(200, each=2))
    after = sets_of(list(reversed(utterances(400, each=5))))
    assert before.items() <= after.items()


def test_the_seed_decides() -> None:
    first, again, other = (sets_of(utterances(100), Shares(seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert Counter(first.values()) != Counter({"train": 300})


def test_the_places_are_what_they_were_in_the_first_release() -> None:
    """A change here would move everybody's speakers."""
    places = [round(asr.corpora.splits.place(f"speaker spk{n}", 0), 6) for n in range(3)]
    assert places == [0.253894, 0.614794, 0.869889]


def test_more_to_test_moves_nobody_out_of_test() -> None:
    small = sets_of(utterances(300), Shares(test=0.1))
    large = sets_of(utterances(300), Shares(test=0.3))
    tested = {name for name, part in small.items() if part == "test"}
    assert tested < {name for name, part in large.items() if part == "test"}


@pytest.mark.parametrize("number", [3, 4, 5, 8])
@pytest.mark.parametrize("seed", range(8))
def test_no_set_stays_empty(number: int, seed: int) -> None:
    divided = split(utterances(number), Shares(seed=seed))
    assert set(divided.sets) == {"train", "dev", "test"}
    speakers = [{one.speaker_id for one in part} for part in divided.sets.values()]
    assert sum(map(len, speakers)) == number


def test_a_set_that_had_to_be_filled_is_said() -> None:
    notes = split(utterances(3), Shares(dev=0.001, test=0.001)).notes
    assert sum("would have been empty" in note for note in notes) == 2


def test_without_speakers_a_sentence_is_in_one_set() -> None:
    some = [
        Utterance(f"u{n}", Path(f"{n}.wav"), ("Hello, " if n % 2 else "hello ") + str(n // 2), 1.0)
        for n in range(400)
    ]
    divided = split(some, Shares())
    texts = [{one.text.lower().replace(",", "") for one in part} for part in divided.sets.values()]
    assert sum(map(len, texts)) == 200
    assert "no speakers are known" in divided.notes[0]
    assert "the word error rate will flatter" in divided.notes[0]


def test_two_speakers_or_a_wish_split_by_utterance() -> None:
    assert "2 speakers cannot fill 3 sets" in split(utterances(2, each=9), Shares()).notes[0]
    assert "asked for" in split(utterances(9), Shares(by_utterance=True)).notes[0]


def test_clips_of_recordings_stay_together() -> None:
    some = [
        Utterance(f"{r}@{n}", Path(f"{r}.wav"), f"text {r} {n}", 1.0, offset_s=float(n))
        for r in range(20)
        for n in range(10)
    ]
    divided = split(some, Shares())
    recordings = [{one.audio_path for one in part} for part in divided.sets.values()]
    assert sum(map(len, recordings)) == 20
    assert divided.notes[0].startswith("split by recording (20): no speakers are known")


def test_recordings_that_share_a_name_are_told_apart_by_their_folders() -> None:
    """Units are paths below what they share: the same wherever the corpus lies."""
    paths = [Path(f"{folder}/rec.wav") for folder in "abc"] + [Path("a/alone.wav")]
    sets = [
        sets_of(
            [
                Utterance(f"{path}@{n}", root / path, f"text {path} {n}", 1.0, offset_s=float(n))
                for path in paths
                for n in range(3)
            ]
        )
        for root in (Path("here"), Path("/data/there"))
    ]
    assert sets[0] == sets[1]
    assert set(sets[0].values()) == {"train", "dev", "test"}
    for path in paths:
        assert len({sets[0][f"{path}@{n}"] for n in range(3)}) == 1
    named = asr.corpora.splits._recordings(
        [Utterance(str(path), Path("here") / path, "", 1.0) for path in paths]
    )
    assert sorted(named.values()) == [
        *("recording a/rec.wav", "recording alone.wav", "recording b/rec.wav"),
        "recording c/rec.wav",
    ]


def test_too_few_units_are_an_error_not_an_empty_set() -> None:
    with pytest.raises(AsrError, match="2 different recordings cannot fill 3 sets.*--test 0"):
        asr.corpora.splits._divide({"a", "b"}, {"test": 0.1, "dev": 0.1}, 0, "recording")


def test_the_corpus_s_own_sets_are_kept_and_the_missing_one_made() -> None:
    some = utterances(50)
    given = {one.utterance_id: "test" if one.speaker_id == "spk7" else "train" for one in some}
    divided = split(some, Shares(), given)
    assert {one.speaker_id for one in divided.sets["test"]} == {"spk7"}
    assert divided.sets["dev"]
    assert divided.notes[0] == "kept the corpus's own test"
    whole = given | {some[0].utterance_id: "dev"}
    complete = split(some, Shares(), whole)
    assert len(complete.sets["dev"]) == 1
    assert complete.notes == ("kept the corpus's own dev and test",)


def test_a_share_of_nothing_makes_no_set() -> None:
    assert set(split(utterances(10), Shares(dev=0, test=0.2)).sets) == {"train", "test"}
    assert set(split(utterances(1, each=1), Shares(dev=0, test=0)).sets) == {"train"}


def test_too_little_to_split_is_said() -> None:
    with pytest.raises(AsrError, match="2 different texts cannot fill 3 sets.*--dev 0"):
        split(utterances(1, each=2), Shares())
    for dev, test in ((0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)):
        with pytest.raises(UsageError, match="shares of at least 0"):
            Shares(dev, test)


def test_names_of_another_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders of speakers whose names are Latin-1: prepared, cached and aligned like others."""
    for speaker in (b"J\xfcrgen", b"Andr\xe9", b"Zo\xeb"):
        folder = tmp_path / "own" / os.fsdecode(speaker)
        folder.mkdir(parents=True)
        write_audio(tmp_path / "made/a.wav", 2.0).rename(folder / "a.wav")
        (folder / "a.txt").write_text("good day")
    command = ["prepare", "own", str(tmp_path / "own"), "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    utterances = [one for path in (tmp_path / "out").glob("*.jsonl") for one in read_manifest(path)]
    assert len(utterances) == 3
    assert len(_cache_key(utterances, 16_000)) == 20
    transcript = Transcript("good", (Word("good", 0.1, 0.5, 1.0),), 2.0)
    aligned = [Aligned(one, transcript) for one in utterances]
    paths = write_alignments(aligned, tmp_path / "aligned")
    assert len(paths) == 4
    assert b"J\xfcrgen" in paths[0].read_bytes()
