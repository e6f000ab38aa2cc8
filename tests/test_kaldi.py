from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.kaldi import list_kaldi
from asr.corpora.listing import Problem, Reason
from asr.corpora.prepared import prepare_listing
from asr.errors import AsrError
from asr.manifest import read_manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A data folder with a long recording cut by segments, and a recording of its own."""
    write_audio(tmp_path / "data/wav/long one.wav", 10.0)
    write_audio(tmp_path / "data/wav/short.wav", 2.0)
    return write_texts(
        tmp_path / "data",
        {
            "wav.scp": "long wav/long one.wav\nshort\twav/short.wav\n",
            "segments": "u1 long 0.50 3.25\nu2 long 3.25 -1\nu3 short 0 2.2\n",
            "text": "u1 FIRST  PART\nu2 THE REST\nu3 ALONE\n",
            "utt2spk": "u1 s1\nu2 s1\nu3 s2\n",
            "spk2gender": "s1 f\ns2 m\n",
            "spk2utt": "s1 u1 u2\ns2 u3\n",
        },
    )


def test_segments_are_clips_of_their_recording(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare_listing(list_kaldi(corpus), tmp_path / "out", name="kaldi")
    first, second, third = read_manifest(tmp_path / "out/kaldi.jsonl")
    assert (first.offset_s, first.duration_s, first.text) == (0.5, 2.75, "FIRST PART")
    assert (second.offset_s, second.duration_s) == (3.25, 6.75)
    assert (third.offset_s, third.duration_s) == (0.0, 2.0)  # 0.2 s after the end: rounding
    assert (first.speaker_id, first.extra) == ("s1", {"gender": "f"})
    assert first.audio_path.name == "long one.wav"
    assert prepared.problems == ()


def test_without_segments_an_utterance_is_a_recording(corpus: Path, tmp_path: Path) -> None:
    (corpus / "segments").unlink()
    write_texts(corpus, {"text": "short ALONE\nlong ALL\n"})
    prepared = prepare_listing(list_kaldi(corpus), tmp_path / "out", name="kaldi")
    assert [one.duration_s for one in read_manifest(prepared.sets[0].manifest)] == [2.0, 10.0]
    assert prepared.problems == ()


def test_a_command_is_refused_and_never_run(corpus: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_texts(corpus, {"wav.scp": f"long touch {made}; cat x.wav |\nshort wav/short.wav\n"})
    listing = list_kaldi(corpus)
    assert not made.exists()
    problem, *of_utterances = listing.problems
    assert problem.reason is Reason.COMMAND
    assert "commands are not run. Write the audio" in str(problem)
    assert of_utterances == [
        Problem(Reason.NO_AUDIO, f"{corpus}/text:{line}",
                f"u{line}: its recording long was left out ({corpus}/wav.scp:1)")
        for line in (1, 2)
    ]  # fmt: skip
    assert [clip.utterance_id for clip in listing.clips] == ["u3"]


def test_only_commands_leave_nothing(corpus: Path, tmp_path: Path) -> None:
    write_texts(corpus, {"wav.scp": "long sph2pipe a.sph |\nshort sph2pipe b.sph |\n"})
    with pytest.raises(AsrError, match=r"5 problems, all in .*the first: .*commands are not run"):
        prepare_listing(list_kaldi(corpus), tmp_path / "out")
    assert (tmp_path / "out/problems.tsv").read_text().count("commands are not run") == 2


def test_what_does_not_fit_is_named(corpus: Path, tmp_path: Path) -> None:
    write_texts(
        corpus,
        {
            "wav.scp": "long wav/long one.wav\nshort wav/short.wav\nshort wav/other.wav\n",
            "text": b"\xef\xbb\xbfu1 ONE\nu1 AGAIN\nu2\nu3 BACKWARDS\nu4 BEYOND\nu5 LOST\nu6 WORDS\n",
            "segments": "u1 long 0 1\nu2 long 1 2\nu3 long 3 2\nu4 short 0 9\n"
            "u6 long zero 1\nu7 long 0 1\nu8 gone 0 1\n",
        },
    )
    prepared = prepare_listing(list_kaldi(corpus), tmp_path / "out")
    assert [one.num_utterances for one in prepared.sets] == [1]
    assert {(problem.reason, problem.where.split("/")[-1]) for problem in prepared.problems} == {
        (Reason.ID_TWICE, "wav.scp:3"),
        (Reason.ID_TWICE, "text:2"),
        (Reason.EMPTY_TEXT, "text:3"),
        (Reason.BAD_TIMES, "text:4"),
        (Reason.BAD_TIMES, "text:5"),
        (Reason.NO_AUDIO, "text:6"),
        (Reason.BAD_LINE, "segments:5"),
        (Reason.BAD_LINE, "segments:7"),
        (Reason.NO_TEXT, "text"),
    }


def test_without_segments_a_refused_recording_is_said_once(corpus: Path) -> None:
    (corpus / "segments").unlink()
    write_texts(corpus, {"wav.scp": "long cat x |\nshort\n", "text": "long ALL\nshort ALONE\n"})
    listing = list_kaldi(corpus)
    assert [one.reason for one in listing.problems] == [Reason.COMMAND, Reason.BAD_LINE]
    assert listing.clips == ()


def test_channels_of_one_recording_are_refused(corpus: Path) -> None:
    segments = "u1 long 0 1 A\nu2 long 1 2 B\nu3 short 0 2 A\nu4 long 2 3\n"
    write_texts(corpus, {"segments": segments})
    listing = list_kaldi(corpus)
    assert [clip.utterance_id for clip in listing.clips] == ["u3"]
    assert [(one.reason, one.where[-10:]) for one in listing.problems] == [
        (Reason.BAD_LINE, f"segments:{line}") for line in (1, 2, 4)
    ]
    assert "u1: segments name the channels A, B of the recording long" in str(listing.problems[0])
    assert "write each channel to a file of its own" in str(listing.problems[0])


def test_folders_of_folders_are_sets(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    corpus.rename(tmp_path / "all/valid")
    write_audio(tmp_path / "all/train/a.wav")
    write_texts(tmp_path / "all/train", {"wav.scp": "a a.wav\n", "text": "a HELLO\n"})
    prepared = prepare_listing(list_kaldi(tmp_path / "all"), tmp_path / "out")
    assert {one.name: one.num_utterances for one in prepared.sets} == {"train": 1, "dev": 3}


def test_paths_may_be_relative_to_where_one_is(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(corpus, {"wav.scp": "long data/wav/long one.wav\nshort data/wav/short.wav\n"})
    monkeypatch.chdir(tmp_path)
    prepared = prepare_listing(list_kaldi(Path("data")), tmp_path / "out")
    assert prepared.sets[0].num_utterances == 3


def test_no_data_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(AsrError, match=r"no Kaldi data folder at .*wav.scp and text"):
        list_kaldi(tmp_path)


def test_speechocean_has_its_published_size(asr_data: Path, tmp_path: Path) -> None:
    prepared = prepare_listing(list_kaldi(asr_data / "speechocean762"), tmp_path)
    (one,) = prepared.sets
    assert (one.num_utterances, one.num_speakers) == (2500, 125)
    assert one.duration_s / 3600 == pytest.approx(2.88, abs=0.005)
    assert prepared.problems == ()
    assert read_manifest(one.manifest)[0].extra.keys() == {"age", "gender"}
