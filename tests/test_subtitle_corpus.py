from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.listing import Reason
from asr.corpora.prepared import prepare_listing
from asr.corpora.subtitles import list_subtitles, read_cues
from asr.errors import AsrError
from asr.manifest import read_manifest

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Good morning,</i>

2
00:00:02,600 --> 00:00:04,000
everyone. [door slams]

3
00:00:04,100 --> 00:00:05,000
- HOST: He&#39;s late.
- (laughs) {\\an8}Really?

4
00:00:06,000 --> 00:00:07,000
♪ la la la ♪

5
00:00:08,000 --> 00:00:09,000
1984
"""

VTT = """WEBVTT - made by hand

NOTE a comment
--

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.000 align:start
<v Anna Smith>Hello there.</v>

00:00:02.500 --> 00:00:03.250
<v.loud Ben><00:00:02.600><c>and</c> again

NOTE another
comment
"""


def test_cues_become_sentences(tmp_path: Path) -> None:
    """Two cues of one sentence are one utterance; descriptions and songs are none."""
    write_audio(tmp_path / "talk.wav", 10)
    write_texts(tmp_path, {"talk.srt": b"\xef\xbb\xbf" + SRT.replace("\n", "\r\n").encode()})
    prepared = prepare_listing(list_subtitles(tmp_path), tmp_path / "out")
    utterances = read_manifest(tmp_path / "out/all.jsonl")
    assert [(one.utterance_id, one.offset_s, one.duration_s, one.text) for one in utterances] == [
        ("talk@1.000", 1.0, 3.0, "Good morning, everyone."),
        ("talk@4.100", 4.1, 0.9, "He's late. Really?"),
        ("talk@8.000", 8.0, 1.0, "1984"),
    ]
    assert prepared.problems == ()


def test_webvtt_with_voices(tmp_path: Path) -> None:
    write_audio(tmp_path / "talk.flac", 5)
    write_texts(tmp_path, {"talk.en-GB.vtt": VTT})
    clips = list_subtitles(tmp_path).clips
    assert [(clip.text, clip.offset_s, clip.end_s, clip.speaker_id) for clip in clips] == [
        ("Hello there.", 1.0, 2.0, "Anna Smith"),
        ("and again", 2.5, 3.25, "Ben"),
    ]


def test_cues_without_empty_lines_between_them(tmp_path: Path) -> None:
    lines = "1\n00:00:00,000 --> 00:00:01,000\nOne\n2\n00:00:01,000 --> 00:00:02,000\n\nTwo\n\nmore"
    write_texts(tmp_path, {"a.srt": lines})
    cues, problems = read_cues(tmp_path / "a.srt")
    assert [cue.lines for _, cue in cues] == [("One",), ("Two", "more")]
    assert problems == []


def test_a_cue_without_text_does_not_take_the_next_number(tmp_path: Path) -> None:
    times = [f"00:00:0{second},000 --> 00:00:0{second + 1},000\n" for second in range(3)]
    lines = f"1\n{times[0]}\n2\n{times[1]}Two\n\n3\n{times[2]}\n"
    write_texts(tmp_path, {"a.srt": lines, "b.vtt": lines.replace("2\n", "second\n")})
    for name in ("a.srt", "b.vtt"):
        cues, problems = read_cues(tmp_path / name)
        assert [cue.lines for _, cue in cues] == [(), ("Two",), ()]
        assert problems == []


def test_voices_go_before_folders(tmp_path: Path) -> None:
    cue = "WEBVTT\n\n00:00.000 --> 00:01.000\n<v {}>Hello.</v>\n"
    for folder, voice in (("monday", "Anna"), ("tuesday", "Ben")):
        write_audio(tmp_path / folder / "talk.wav", 1)
        write_texts(tmp_path, {f"{folder}/talk.vtt": cue.format(voice)})
    listing = list_subtitles(tmp_path)
    assert [clip.speaker_id for clip in listing.clips] == ["Anna", "Ben"]
    assert not any("speakers" in note for note in listing.notes)
    write_texts(tmp_path, {"tuesday/talk.vtt": cue.replace("<v {}>", "")})
    listing = list_subtitles(tmp_path)
    assert [clip.speaker_id for clip in listing.clips] == ["Anna", "tuesday"]
    assert listing.notes[0].startswith("speakers: the folder tuesday; where folders are no")


def test_an_utterance_ends_at_a_pause_or_when_it_is_long(tmp_path: Path) -> None:
    cues = [(0, 6, "a"), (6, 12, "b"), (12, 18, "c"), (17, 19, "d"), (20, 21, "e")]
    lines = [f"00:00:{s:02d}.000 --> 00:00:{e:02d}.000\n{text}\n" for s, e, text in cues]
    write_audio(tmp_path / "a.wav", 30)
    write_texts(tmp_path, {"a.vtt": "WEBVTT\n\n" + "\n".join(lines)})
    clips = list_subtitles(tmp_path).clips
    assert [(clip.text, clip.offset_s, clip.end_s) for clip in clips] == [
        ("a b", 0, 12),
        ("c d", 12, 19),
        ("e", 20, 21),
    ]


def test_cues_that_overlap_never_share_audio(tmp_path: Path) -> None:
    """Rolling captions, where each cue starts before the last one ends."""
    lines = [f"00:00:{2 * n:02d}.000 --> 00:00:{2 * n + 3:02d}.000\nl{n}.\n" for n in range(5)]
    write_audio(tmp_path / "a.wav", 30)
    write_texts(tmp_path, {"a.vtt": "WEBVTT\n\n" + "\n".join(lines)})
    clips = list_subtitles(tmp_path).clips
    assert [(clip.offset_s, clip.end_s) for clip in clips] == [
        (0, 2), (2, 4), (4, 6), (6, 8), (8, 11),
    ]  # fmt: skip


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 3)
    write_audio(tmp_path / "b.wav", 3)
    write_texts(
        tmp_path,
        {
            "a.srt": "1\n00:00:02,000 --> 00:00:01,000\nBackwards.\n\n"
            "2\n00:00:01,000 --> 00:00:02,000\nFine.\n\n3\n00:00:08,000 --> 00:00:09,000\nLate.\n",
            "a.en.srt": "1\n00:00:01,000 --> 00:00:02,000\nAgain.\n",
            "b.vtt": "WEBVTT\n",
            "c.srt": "1\n00:00:01,000 --> 00:00:02,000\nLost.\n",
        },
    )
    prepared = prepare_listing(list_subtitles(tmp_path), tmp_path / "out")
    assert sorted((Path(one.where).name, one.reason) for one in prepared.problems) == [
        ("a.en.srt", Reason.ID_TWICE),
        ("a.srt:10", Reason.BAD_TIMES),
        ("a.srt:2", Reason.BAD_TIMES),
        ("b.vtt", Reason.BAD_LINE),
        ("c.srt", Reason.NO_AUDIO),
    ]
    assert [one.text for one in read_manifest(tmp_path / "out/all.jsonl")] == ["Fine."]
    with pytest.raises(AsrError, match="no folder"):
        list_subtitles(tmp_path / "nowhere")
