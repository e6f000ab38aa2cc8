"""`asr prepare` for one's own recordings: what it prints, writes and answers."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY
from corpus_tree import write_audio, write_texts

from asr.cli import main
from asr.manifest import read_manifest


def run(command: str) -> int:
    """Exit status of `asr prepare COMMAND`."""
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", *shlex.split(command)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with recordings of six people."""
    monkeypatch.chdir(tmp_path)
    for speaker in ("anna", "ben", "carl", "dora", "eva", "finn"):
        for number in range(3):
            write_audio(Path(f"recordings/{speaker}/{number}.wav"), 0.5)
            write_texts(Path("recordings"), {f"{speaker}/{number}.txt": f"Ça va {speaker}?"})
    return tmp_path


def test_own_says_what_it_guessed_and_splits_by_speaker(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("own recordings") == 0
    said = capsys.readouterr().out
    assert "taken for: folder, because 18 of 18 recordings have a .txt or .lab beside them" in said
    assert "note: split by speaker: no voice is in two sets (6 speakers)" in said
    assert "letters besides a-z: 1 (Ç:18)" in said
    sets = {path.stem: read_manifest(path) for path in Path("data/own").glob("*.jsonl")}
    assert set(sets) == {"train", "dev", "test"}
    speakers = [{one.speaker_id for one in part} for part in sets.values()]
    assert sum(map(len, speakers)) == 6
    for path in Path("data/own").glob("*.jsonl"):
        assert f"{path}: " in said


def test_problems_are_counted_shown_and_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        write_texts(Path("recordings"), {f"anna/lost{number:02d}.txt": "no audio"})
    write_audio(Path("recordings/ben/untold.wav"))
    assert run("own recordings -o out") == 1
    said = capsys.readouterr().err
    assert "13 left out, all in out/problems.tsv:" in said
    assert "12 no audio for a transcript" in said
    assert "1 audio without a transcript" in said
    assert "and 3 more" in said
    assert len(Path("out/problems.tsv").read_text().splitlines()) == 14


def test_one_set_unless_a_split_is_asked_for(here: Path) -> None:
    assert run("folder recordings -o one") == 0
    assert [path.name for path in Path("one").iterdir()] == ["folder.jsonl"]
    assert run("folder recordings -o three --split --dev 0.2 --test 0.2 --seed 3") == 0
    assert {path.stem for path in Path("three").iterdir()} == {"train", "dev", "test"}
    assert run("folder recordings -o two --split --dev 0 --by-utterance") == 0
    assert {path.stem for path in Path("two").iterdir()} == {"train", "test"}


def test_every_layout_has_a_command(here: Path) -> None:
    clip = "../recordings/anna/0.wav"
    cue = "1\n00:00:00,000 --> 00:00:00,400\nhello\n"
    write_audio(Path("lj/wavs/a.wav"))
    write_audio(Path("talks/a.wav"))
    write_audio(Path("cv/clips/a.mp3"))
    write_texts(
        here,
        {
            "kaldi/wav.scp": f"a {clip}\n",
            "kaldi/text": "a hello\n",
            "lj/metadata.csv": "a|hello\n",
            "talks/a.srt": cue,
            "cv/train.tsv": "client_id\tpath\tsentence\nx\ta.mp3\thello\n",
            "calls.csv": "nr,recording,said\n1,anna/0.wav,hello\n",
        },
    )
    assert run("kaldi kaldi -o out") == 0
    assert run("ljspeech lj -o out --speaker-pattern '^.'") == 0
    assert run("subtitles talks -o out") == 0
    assert run("commonvoice cv -s train -o out") == 0
    columns = "--audio-column recording --text-column said --id-column nr"
    assert run(f"table calls.csv {columns} --audio-dir recordings -o out") == 0
    texts = {path.stem: read_manifest(path)[0].text for path in Path("out").iterdir()}
    names = ("kaldi", "ljspeech", "subtitles", "train", "table")
    assert texts == dict.fromkeys(names, "hello")
    assert read_manifest(Path("out/ljspeech.jsonl"))[0].speaker_id == "a"


def test_kaldi_and_common_voice_take_an_encoding(here: Path) -> None:
    texts = {
        "kaldi/wav.scp": "a ../recordings/anna/0.wav\n",
        "kaldi/text": "a café\n",
        "cv/train.tsv": "client_id\tpath\tsentence\nx\ta.mp3\tcafé\n",
    }
    write_audio(Path("cv/clips/a.mp3"))
    write_texts(here, {name: text.encode("latin-1") for name, text in texts.items()})
    assert run("kaldi kaldi -o out --encoding latin-1") == 0
    assert run("commonvoice cv -o out --encoding latin-1") == 0
    said = [read_manifest(Path(f"out/{name}.jsonl"))[0].text for name in ("kaldi", "train")]
    assert said == ["café", "café"]


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("own nowhere", 3, "no folder nowhere"),
        ("own recordings --dev 0.7 --test 0.7", 2, "dev and test are shares"),
        ("own recordings -o recordings/../recordings", 2, "choose another, such as data/own"),
        ("own recordings --speaker-pattern (", 2, "is no regular expression"),
        ("table calls.csv", 3, "cannot read calls.csv"),
        ("kaldi recordings", 3, "no Kaldi data folder"),
        ("commonvoice recordings", 3, "no Common Voice"),
    ],
)
def test_errors_are_messages(
    here: Path, command: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == status
    assert message in capsys.readouterr().err


def test_a_hint_about_letters(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(Path("plain/a.wav"))
    write_texts(Path("plain"), {"a.txt": "Hello, 5!"})
    assert run("folder plain -o out") == 0
    assert "letters: a-z alone; for English set data.normalizer=asr-en-2" in capsys.readouterr().out


def test_the_commands_of_the_own_data_page(here: Path) -> None:
    """What recipes/own-data/README.md tells to type, in a folder such as it describes."""
    page = (REPOSITORY / "recipes/own-data/README.md").read_text("utf-8")
    whole = re.findall(r"(?:^    |`)asr prepare ([a-z]+ [a-z.]+[^`\n]*)", page, flags=re.MULTILINE)
    write_texts(here, {"calls.csv": CALLS})
    assert [command.split()[0] for command in whole] == ["own", "table"]
    for command in whole:
        assert run(command) == 0
    assert {path.stem for path in Path("data/table").glob("*.jsonl")} == {"train", "dev", "test"}


CALLS = "recording,said,agent\n" + "".join(
    f"recordings/{name}/0.wav,hello {name},{name}\n" for name in ("anna", "ben", "carl", "dora")
)
