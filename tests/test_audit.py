"""Texts, feasibility, overlaps and cleaned manifests; audio is in test_audit_audio.py."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from asr.audit import AuditOptions, audit
from asr.audit_drop import parse_reasons, write_cleaned
from asr.audit_facts import EXPLANATIONS, Audit, Reason, distribution
from asr.audit_summary import audit_to_json, audit_to_text, brief_audit
from asr.audit_texts import choose_normalizer, count_characters, rate_z
from asr.bundle import Bundle
from asr.errors import AsrError, UsageError
from asr.manifest import ManifestError, Utterance, read_manifest, write_manifest
from asr.model import ModelConfig

TEXTS_ONLY = AuditOptions(headers=False)
FRAMES = "30 ms a frame of the default model"


def write(folder: Path, name: str, utterances: Sequence[Utterance]) -> Path:
    write_manifest(folder / f"{name}.jsonl", utterances)
    return folder / f"{name}.jsonl"


def spoken(
    texts: Sequence[str], folder: Path, prefix: str = "u", speaker: str | None = "s"
) -> list[Utterance]:
    """Utterances at ten characters a second; the audio is not there."""
    return [
        Utterance(
            f"{prefix}{number}", folder / f"{prefix}{number}.wav", text, len(text) / 10,
            speaker_id=speaker,
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip


def found(result: Audit, reason: Reason) -> list[tuple[str, str]]:
    """(manifest, utterance id) of the findings of `reason`."""
    return [
        (one.manifest, one.utterance.utterance_id)
        for one in result.findings
        if one.reason is reason
    ]


def test_sizes_are_counted_after_normalisation(tmp_path: Path) -> None:
    """ "The cat." and "the CAT sat" are five words, three different, 7 + 11 characters."""
    texts = ["The cat.", "the CAT sat"]
    (one,) = audit([write(tmp_path, "m", spoken(texts, tmp_path))], TEXTS_ONLY).manifests
    assert (one.num_utterances, one.num_speakers, one.num_without_speaker) == (2, 1, 0)
    assert (one.num_words, one.num_distinct_words, one.num_characters) == (5, 3, 18)
    assert one.duration_s == pytest.approx(1.9)
    assert dict(one.characters)["t"] == 5
    assert one.speaker_minutes is not None
    assert one.speaker_minutes.maximum == pytest.approx(1.9 / 60)
    assert one.audio is None


def test_text_for_the_terminal(tmp_path: Path) -> None:
    train = write(tmp_path, "train", spoken(["a cab", "a bad cab"], tmp_path, "t", "anna"))
    dev = write(tmp_path, "dev", spoken(["a bed", "a cab"], tmp_path, "d", "anna"))
    text = audit_to_text(audit([train, dev], TEXTS_ONLY))
    assert text == (
        f"""\
manifest {train}
  2 utterances, 0.00 h, 1 speakers
  5 words, 3 different, 14 characters
  seconds           0.50 {bars(0.5, 0.9)} 0.90, median 0.70
  characters/s      10.00 █ 10.00, median 10.00
  minutes a speaker 0.02 █ 0.02, median 0.02
  characters        a b c d

manifest {dev}
  2 utterances, 0.00 h, 1 speakers
  4 words, 3 different, 10 characters
  seconds           0.50 █ 0.50, median 0.50
  characters/s      10.00 █ 10.00, median 10.00
  minutes a speaker 0.02 █ 0.02, median 0.02
  characters        a b e d c
  unknown           e 1 times in 1 utterances, not in the alphabet: d0

texts normalised by asr-en-1, alphabet of train (5 characters), {FRAMES}
train and dev share 1 speakers, in 2 and 2 utterances: anna
train and dev share 1 texts, in 1 and 1 utterances: a cab

3 utterances with a finding (no audio was opened)
unknown-characters: The text has characters that the alphabet lacks.
  dev: 1
    d0: the alphabet has no e
shared-speaker: A later manifest has the same speaker.
  train: 2
    t0: also in dev: anna
    t1: also in dev: anna
shared-text: A later manifest has the same text.
  train: 1
    t0: also in dev: a cab"""
    )


def bars(low: float, high: float) -> str:
    """Two values, one at each end of the histogram."""
    shown = distribution(np.array([low, high]))
    assert shown is not None
    return "█" + " " * (len(shown.counts) - 2) + "█"


def test_alphabet_is_of_the_training_manifests_wherever_they_stand(tmp_path: Path) -> None:
    dev = write(tmp_path, "dev", spoken(["zoo"], tmp_path, "d"))
    train_a = write(tmp_path, "train-a", spoken(["ab"], tmp_path, "a"))
    train_b = write(tmp_path, "train-b", spoken(["bc"], tmp_path, "b"))
    result = audit([dev, train_a, train_b], TEXTS_ONLY)
    assert (result.alphabet, result.alphabet_name) == (" abc", "train-a, train-b")
    assert found(result, Reason.UNKNOWN_CHARACTERS) == [("dev", "d0")]
    assert [(one.character, one.count) for one in result.manifests[0].unknown] == [
        ("o", 2),
        ("z", 1),
    ]


def test_a_models_alphabet_frames_and_normaliser_count(tiny_bundle: Bundle, tmp_path: Path) -> None:
    manifest = write(tmp_path, "train", spoken(["Quick fox!", "naïve café №5"], tmp_path))
    result = audit([manifest], AuditOptions(bundle=tiny_bundle, headers=False))
    assert (result.model_name, result.alphabet_name) == ("test/tiny", "the model")
    assert result.normalizer == tiny_bundle.normalizer
    assert result.manifests[0].unknown == ()


def test_other_scripts_are_normalised_as_such(tmp_path: Path) -> None:
    manifest = write(tmp_path, "train", spoken(["Москва", "привет мир", "你好", "ok"], tmp_path))
    result = audit([manifest], TEXTS_ONLY)
    assert result.normalizer == "asr-any-1"
    assert "м" in result.alphabet
    assert "你" in result.alphabet
    assert found(result, Reason.UNKNOWN_CHARACTERS) == []


def test_letters_that_the_normaliser_loses_are_found(tmp_path: Path) -> None:
    """asr-en-1 writes é as e and 5 as five, but leaves nothing of ж: that text would be wrong."""
    texts = ["café 5", "the letter ж"]
    manifest = write(tmp_path, "train", spoken(texts, tmp_path))
    result = audit([manifest], AuditOptions(normalizer="asr-en-1", headers=False))
    assert found(result, Reason.UNKNOWN_CHARACTERS) == [("train", "u1")]
    (one,) = result.manifests[0].unknown
    assert (one.character, one.lost, one.examples[0].utterance_id) == ("ж", True, "u1")
    assert "leaves it out: u1" in audit_to_text(result)


def test_english_is_told_from_other_scripts_by_its_letters() -> None:
    assert choose_normalizer(count_characters(["Hello мир"])) == "asr-en-1"
    assert choose_normalizer(count_characters(["Привет, world"])) == "asr-any-1"
    assert choose_normalizer(count_characters(["1234 ..."])) == "asr-en-1"


def test_infeasible_is_exact_to_the_sample(tmp_path: Path) -> None:
    """aabb needs 4 frames and 2 blanks; one sample fewer than makes 6 frames is too few."""
    config = ModelConfig(vocab_size=3)
    enough = next(n for n in range(1, 16_000) if config.num_output_frames(n) == 6)
    utterances = [
        Utterance("fits", tmp_path / "a.wav", "aabb", enough / 16_000),
        Utterance("not", tmp_path / "b.wav", "aabb", (enough - 1) / 16_000),
        Utterance("unlike", tmp_path / "c.wav", "abab", (enough - 1) / 16_000),
        Utterance("open", tmp_path / "d.wav", "aabb", 0.0),
    ]
    result = audit([write(tmp_path, "train", utterances)], TEXTS_ONLY)
    assert found(result, Reason.INFEASIBLE) == [("train", "not")]
    detail = next(one.detail for one in result.findings if one.reason is Reason.INFEASIBLE)
    assert detail.startswith("needs 6 frames and has 5 (0.")


def test_rate_of_speech_far_from_the_rest(tmp_path: Path) -> None:
    """Forty utterances at 14 to 16 characters a second, one at 40 and one at 4."""
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("abcdefgh "), 60)).strip() + "x" for _ in range(42)]
    rates = [*random.uniform(14, 16, 40), 40.0, 4.0]
    utterances = [
        Utterance(f"u{n}", tmp_path / f"{n}.wav", text, len(" ".join(text.split())) / rate)
        for n, (text, rate) in enumerate(zip(texts, rates, strict=True))
    ]
    result = audit([write(tmp_path, "train", utterances)], TEXTS_ONLY)
    assert found(result, Reason.SPEAKING_RATE) == [("train", "u41"), ("train", "u40")]


def test_few_or_equal_rates_are_not_judged() -> None:
    assert not rate_z(np.array([1.0] * 10 + [50.0])).any()
    assert not rate_z(np.array([1.0] * 40 + [50.0])).any()
    assert not rate_z(np.full(40, np.nan)).any()


@pytest.fixture
def splits(tmp_path: Path) -> list[Path]:
    """train repeats a text, and shares an id, a speaker, a text and a clip with test."""
    (tmp_path / "in").mkdir()
    train = [
        Utterance("a", tmp_path / "a.wav", "one two", 1.0, speaker_id="x"),
        Utterance("b", tmp_path / "b.wav", "One, two!", 1.0, speaker_id="x"),
        Utterance("c", tmp_path / "c.wav", "three", 1.0, speaker_id="y"),
        Utterance("d", tmp_path / "c.wav", "four", 1.0, 1.0, speaker_id="z"),
        Utterance("e", tmp_path / "c.wav", "five", 1.0, 1.0, speaker_id="z"),
        Utterance("f", tmp_path / "f.wav", "six six", 1.0, speaker_id="w"),
    ]
    test = [
        Utterance("a", tmp_path / "g.wav", "seven", 1.0, speaker_id="v"),
        Utterance("g", tmp_path / "h.wav", "three", 1.0, speaker_id="y"),
        Utterance("h", tmp_path / "c.wav", "four five", 1.0, 1.0, speaker_id=None),
    ]
    return [write(tmp_path / "in", "test", test), write(tmp_path / "in", "train", train)]


def test_what_occurs_twice(splits: list[Path]) -> None:
    result = audit(splits, TEXTS_ONLY)
    assert found(result, Reason.DUPLICATE_TEXT) == [("train", "b")]
    assert found(result, Reason.DUPLICATE_AUDIO) == [("train", "e")]
    assert found(result, Reason.SHARED_ID) == [("train", "a")]
    assert found(result, Reason.SHARED_SPEAKER) == [("train", "c")]
    assert found(result, Reason.SHARED_TEXT) == [("train", "c")]
    assert found(result, Reason.SHARED_AUDIO) == [("train", "d"), ("train", "e")]
    assert [
        (o.kind, o.first, o.second, o.num_shared, o.num_first, o.num_second)
        for o in result.overlaps
    ] == [
        ("utterance ids", "train", "test", 1, 1, 1),
        ("speakers", "train", "test", 1, 1, 1),
        ("texts", "train", "test", 1, 1, 1),
        ("audio", "train", "test", 1, 2, 1),
    ]  # fmt: skip


def test_dropping_every_overlap_leaves_none_and_the_test_set_whole(
    splits: list[Path], tmp_path: Path
) -> None:
    reasons = [reason for reason in Reason if reason.startswith(("shared", "duplicate"))]
    cleaned = write_cleaned(audit(splits, TEXTS_ONLY), reasons, tmp_path / "out")
    assert [(one.name, one.num_kept, one.num_left_out) for one in cleaned] == [
        ("test", 3, 0),
        ("train", 1, 5),
    ]
    assert [one.utterance_id for one in read_manifest(cleaned[1].path)] == ["f"]
    assert read_manifest(cleaned[0].path) == read_manifest(splits[0])
    again = audit([one.path for one in cleaned], TEXTS_ONLY)
    assert again.overlaps == ()
    assert {one.reason for one in again.findings} == {Reason.UNKNOWN_CHARACTERS}
    rows = (tmp_path / "out/left_out.tsv").read_text().splitlines()
    assert len(rows) == 1 + 7
    assert rows[1].startswith("train\tb\tduplicate-text\tas in a: one two\t")


def test_three_manifests_name_all_that_share(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, n, spoken(["hello"], tmp_path, n, n)) for n in ("train", "dev", "test")
    ]
    details = [one.detail for one in audit(paths, TEXTS_ONLY).findings]
    assert details == ["also in dev, test: hello", "also in test: hello"]


def test_manifests_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    paths = [write(tmp_path / part, "m", spoken(["hi"], tmp_path, part)) for part in "ab"]
    result = audit(paths, TEXTS_ONLY)
    assert [one.name for one in result.manifests] == ["a/m", "b/m"]
    cleaned = write_cleaned(result, [Reason.EMPTY_TEXT], tmp_path / "out")
    assert [one.path.name for one in cleaned] == ["a-m.jsonl", "b-m.jsonl"]
    same_folder = paths[0].rename(tmp_path / "b" / "m.json"), paths[1]
    names = [one.name for one in audit(same_folder, TEXTS_ONLY).manifests]
    assert names == [str(path) for path in same_folder]


def test_reasons_are_named_and_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    chosen = parse_reasons(["silence", "shared-text"], headers=True, content=True)
    assert chosen == {Reason.SILENCE, Reason.SHARED_TEXT}
    with pytest.raises(UsageError, match="called 'noise'; there are: missing-audio, unreadable"):
        parse_reasons(["noise"], headers=True, content=True)
    with pytest.raises(UsageError, match="silence is found by decoding the audio: add --audio"):
        parse_reasons(["silence"], headers=True, content=False)
    with pytest.raises(UsageError, match="duration is found by opening the audio"):
        parse_reasons(["duration"], headers=False, content=False)


def test_what_cannot_be_cleaned_is_refused_before_anything_is_written(
    splits: list[Path], tmp_path: Path
) -> None:
    result = audit(splits, TEXTS_ONLY)
    with pytest.raises(AsrError, match="is the manifest itself: choose another folder"):
        write_cleaned(result, [Reason.SHARED_TEXT], splits[0].parent)
    silent = audit([write(tmp_path, "m", spoken(["...", "!"], tmp_path))], TEXTS_ONLY)
    with pytest.raises(AsrError, match="all 2 utterances would be left out"):
        write_cleaned(silent, [Reason.EMPTY_TEXT], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "utterances",
    [
        [Utterance("one", Path("a.wav"), "a", 0.0)],
        [Utterance("one", Path("a.wav"), "", 0.0), Utterance("two", Path("a.wav"), " ", 1.0)],
        [Utterance("one", Path("a\nb.wav"), "\u200b\u0301", 1e-9, 1e9)],
        [Utterance("one", Path("a.wav"), "a" * 5000, 1e6)],
        [Utterance(str(n), Path("a.wav"), "ab", 0.5 + n * 1e-7) for n in range(50)],
    ],
)
def test_odd_manifests_are_audited_all_the_same(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    result = audit([write(tmp_path, "m", utterances)])
    assert len(found(result, Reason.MISSING_AUDIO)) == len(utterances)
    json.dumps(audit_to_json(result), allow_nan=False)
    assert "missing-audio" in audit_to_text(result)
    assert len(found(result, Reason.EMPTY_TEXT)) == sum(
        not any(map(str.isalnum, one.text)) for one in utterances
    )


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "m", spoken(["a"], tmp_path))
    with pytest.raises(UsageError, match="name at least one manifest"):
        audit([])
    with pytest.raises(UsageError, match=r"m\.jsonl was given 2 times"):
        audit([path, tmp_path / "x" / ".." / "m.jsonl"])
    with pytest.raises(UsageError, match="no text normaliser is called 'no'"):
        audit([path], AuditOptions(normalizer="no", headers=False))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ManifestError, match="has no utterances"):
        audit([tmp_path / "empty.jsonl"])


def values() -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for size in (1, 2, 7, 1000):
        for scale in (1e-3, 1.0, 1e4):
            yield random.lognormal(0, 1, size) * scale
            yield np.full(size, scale)
            yield -random.uniform(0, 90, size)
    yield np.array([1.0] * 99 + [1e6])


@pytest.mark.parametrize("sample", values())
def test_every_value_is_in_a_histogram_once(sample: np.ndarray) -> None:
    shown = distribution(sample)
    assert shown is not None
    assert sum(shown.counts) + shown.beyond == len(sample)
    assert shown.edges[0] <= shown.minimum + 1e-6 * abs(shown.minimum)
    assert shown.minimum <= shown.median <= shown.maximum
    assert len(shown.counts) == len(shown.edges) - 1 <= 62
    assert shown.beyond <= len(sample) / 10


def test_no_values_have_no_histogram() -> None:
    assert distribution(np.array([np.nan, -np.inf])) is None


def test_brief_audit_after_preparing(tmp_path: Path) -> None:
    train = write(tmp_path, "train", spoken(["ab ba", "a", "a"], tmp_path, "t", "x"))
    dev = write(tmp_path, "dev", spoken(["abc"], tmp_path, "d", "y"))
    assert brief_audit([train, dev, dev]) == (
        f"""\
audit (texts normalised by asr-en-1, alphabet of train (3 characters), {FRAMES}):
  train: 4 words, 3 different, 10.0 characters/s; 1 duplicate-text
  dev: 1 words, 1 different, 10.0 characters/s; 1 unknown-characters
  more, and the audio: asr info {train} {dev} --audio -o audit"""
    )
