from pathlib import Path

import pytest
from corpus_tree import write_audio, write_texts

from asr.corpora.commonvoice import find_commonvoice, list_commonvoice
from asr.corpora.listing import Reason
from asr.corpora.prepared import prepare_listing
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest

HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\t"
    "accents\tvariant\tlocale\tsegment\n"
)


def row(client: str, path: str, sentence: str) -> str:
    return f"{client}\t{path}\tab12\t{sentence}\t\t2\t0\tthirties\tfemale_feminine\t\t\ten\t\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A language of release 17, quotation marks as that has them."""
    root = tmp_path / "cv-corpus-17.0-2024-03-15" / "en"
    for number in range(1, 5):
        write_audio(root / f"clips/common_voice_en_{number}.mp3")
    train = row("a" * 128, "common_voice_en_1.mp3", '"""No,"" he said."')
    train += row("a" * 128, "common_voice_en_2.mp3", 'Say "yes" now.')
    test = row("b" * 128, "common_voice_en_3.mp3", "It’s late.")
    write_texts(
        root,
        {
            "train.tsv": HEADER + train,
            "test.tsv": b"\xef\xbb\xbf" + (HEADER + test).encode(),
            "validated.tsv": HEADER + train + test + row("c", "common_voice_en_4", "Old release."),
            "reported.tsv": "sentence\tsentence_id\tlocale\treason\n",
        },
    )
    return root.parent


def test_each_table_is_a_set(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare_listing(list_commonvoice(corpus), tmp_path / "out")
    assert [(one.name, one.num_utterances, one.num_speakers) for one in prepared.sets] == [
        ("train", 2, 1),
        ("test", 1, 1),
    ]
    first, second = read_manifest(tmp_path / "out/train.jsonl")
    assert (first.utterance_id, first.speaker_id) == ("common_voice_en_1", "a" * 128)
    assert (first.text, second.text) == ('"No," he said.', 'Say "yes" now.')
    assert first.extra == {"age": "thirties", "gender": "female_feminine", "locale": "en"}
    assert prepared.problems == ()


def test_a_table_can_be_chosen(corpus: Path, tmp_path: Path) -> None:
    listing = list_commonvoice(corpus / "en", ["validated"])
    prepared = prepare_listing(listing, tmp_path / "out")
    assert [(one.name, one.num_utterances) for one in prepared.sets] == [("validated", 4)]
    with pytest.raises(UsageError, match=r"no dev.tsv; there are: test, train, validated"):
        list_commonvoice(corpus, ["dev"])


def test_a_clip_in_two_chosen_tables_is_taken_once(corpus: Path, tmp_path: Path) -> None:
    listing = list_commonvoice(corpus, ["train", "validated"])
    prepared = prepare_listing(listing, tmp_path / "out")
    assert prepared.reasons == [(Reason.ID_TWICE, 2)]


def test_what_is_no_common_voice_is_said(tmp_path: Path) -> None:
    assert find_commonvoice(tmp_path) is None
    with pytest.raises(AsrError, match="no Common Voice in"):
        list_commonvoice(tmp_path)
