"""The speller: what a network hears of phones, put together for texts, and what learns from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from processor import needs_bfloat16
from spelling_bundle import PIECES, SPELLER, with_speller
from tone_corpus import HZ, overrides, write_corpus, write_recipe

from asr.align import align_utterances
from asr.binding import alphabet_of, lexicon_of
from asr.bundle import Bundle, BundleError, Decoding, load_bundle, save_bundle
from asr.confidence import Calibration
from asr.decoder import Decoder
from asr.decoding.beam import BeamDecoder
from asr.decoding.greedy import greedy_decode
from asr.decoding.hypothesis import Hypothesis, LogProbs, WordRange
from asr.errors import AsrError, UsageError
from asr.evaluate import evaluate
from asr.export import export_bundle
from asr.manifest import Utterance, read_manifest
from asr.merge import with_speller_of
from asr.model import AcousticModel
from asr.pronunciation import Lexicon, write_lexicon
from asr.speller import Speller
from asr.spelling import Spelling
from asr.tokenizer import BpeTokenizer, CharTokenizer
from asr.training.engine_config import SpellerConfig
from asr.training.hearing import Hearing, kept_or_heard
from asr.training.posterior_bank import Heard, PosteriorBank
from asr.training.sampler import BatchKey
from asr.training.speller import SpellerLitModule
from asr.training.speller_data import BatchNumbers, SpellerBatches, SpellerDataModule
from asr.training.train import train
from asr.training.warmstart import take_weights
from asr.training.word_stream import read_words
from asr.transcribe import Recognizer, load_model

P = 6  # blank, boundary, and four phones


def heard(phone_ids: list[int], seed: int = 0) -> Heard:
    """One to three frames of each phone, a blank or two between, each frame with an id of its own."""
    random = np.random.default_rng(seed)
    path = [0]
    for phone in phone_ids:
        path += [phone] * random.integers(1, 4) + [0] * random.integers(1, 3)
    posteriors = np.full((len(path), P), 0.01)
    posteriors[np.arange(len(path)), path] = random.uniform(0.8, 0.9, len(path))
    return Heard(posteriors.astype(np.float16), phone_ids)


def spelt(posteriors: np.ndarray) -> list[int]:
    path = posteriors.argmax(1)
    return [int(b) for a, b in zip([0, *path], path, strict=False) if b and a != b]


def test_a_stretch_that_was_heard_whole_comes_back_as_it_was() -> None:
    """All its triples of neighbours are there once: the only choice, whatever is drawn."""
    said = [[2, 3, 1, 4, 5], [3, 2, 1, 5, 4], [5, 5, 2]]
    bank = PosteriorBank([heard(one, seed) for seed, one in enumerate(said)], P)
    for seed, one in enumerate(said):
        for go_on in (0.0, 1.0):
            found = bank.put_together(np.array(one, np.int32), np.random.default_rng(seed), go_on)
            np.testing.assert_array_equal(found, heard(one, seed).posteriors)


def test_whatever_is_put_together_says_the_phones_wanted() -> None:
    """Neighbours that nobody has said come from elsewhere; the frames are the bank's."""
    random = np.random.default_rng(0)
    said = [[int(phone) for phone in random.integers(1, P, 12)] for _ in range(5)]
    bank = PosteriorBank([heard(one, seed) for seed, one in enumerate(said)], P)
    rows = {row.tobytes() for row in bank.frames}
    for _ in range(50):
        wanted = random.integers(1, P, random.integers(1, 20)).astype(np.int32)
        found = bank.put_together(wanted, random, 0.5)
        assert spelt(found) == wanted.tolist()
        assert {row.tobytes() for row in found} <= rows
    assert bank.has([1, 5])
    assert not PosteriorBank([heard([2, 3])], P).has([2, 4])


def test_an_utterance_too_short_for_its_phones_is_left_out() -> None:
    short = Heard(heard([2]).posteriors[:2], [2, 3, 4])
    bank = PosteriorBank([short, Heard(heard([2]).posteriors, []), heard([4, 5])], P)
    assert bank.num_utterances == 1
    assert bank.has([4, 5])
    assert not bank.has([2])


def words_of(tmp_path: Path, text: str) -> tuple[Lexicon, CharTokenizer, list[str]]:
    (tmp_path / "text.txt").write_text(text)
    said = {"ab": (("A", "B"), ("B",)), "ba": (("B", "A"),), "c": (("C",),), "z": (("Z",),)}
    lexicon = Lexicon.of(said)
    tokenizer = CharTokenizer.from_texts(["ab ba c"])
    stream = read_words([tmp_path / "text.txt"], "asr-en-2", lexicon, tokenizer)
    return lexicon, tokenizer, [stream.words[place] for place in stream.places]


def test_words_that_cannot_be_said_or_written_are_left_out(tmp_path: Path) -> None:
    assert words_of(tmp_path, "Ab ba, dd z\nba c!\n")[2] == ["ab", "ba", "ba", "c"]
    with pytest.raises(AsrError, match="speller.texts .* no word of the model's lexicon"):
        words_of(tmp_path, "dd z\n")


def batches(tmp_path: Path, **settings: float) -> tuple[SpellerBatches, BpeTokenizer, Lexicon]:
    lexicon, letters, _ = words_of(tmp_path, "ab ba c ba ab c c ab\n" * 9)
    stream = read_words([tmp_path / "text.txt"], "asr-en-2", lexicon, letters)
    assert next(stream.lines()).startswith("ab ba c ba ab c c ab ab ba")
    assert sum(len(line.split()) for line in stream.lines()) == 8 * 9
    tokenizer = PIECES
    speech = [(heard([2, 1, 3], seed), tokenizer.encode("ab")) for seed in range(4)]
    bank = PosteriorBank([heard([2, 3, 1, 4, 2, 1, 3, 2, 1, 4], 7)], P)
    config = replace(SpellerConfig(texts=["text.txt"], max_words=9), **settings)
    spoken = [(one.posteriors, token_ids) for one, token_ids in speech]
    return SpellerBatches(spoken, stream, bank, tokenizer, config, 90, (1, 0)), tokenizer, lexicon


def test_words_one_by_one_are_not_only_the_frequent_ones(tmp_path: Path) -> None:
    """In running text "c" comes once in 2,001 words, one by one once in 301."""
    lexicon, letters, _ = words_of(tmp_path, "ab " * 1000 + "c" + " ab" * 1000)
    stream = read_words([tmp_path / "text.txt"], "asr-en-2", lexicon, letters)
    random = np.random.default_rng(0)
    rare = stream.words.index("c")
    for chosen, share in ((stream.one_by_one, 1 / 301), (stream.stretch, 1 / 2001)):
        drawn = np.concatenate([chosen(50, random) for _ in range(4000)])
        assert len(drawn) == 200_000
        assert share / 1.3 < np.mean(drawn == rare) < share * 1.3
    assert stream.stretch(9000, random).tolist() == stream.places.tolist()


@pytest.mark.parametrize("single_words", [0.0, 1.0])
def test_a_batch_says_what_it_should_be_written_as(tmp_path: Path, single_words: float) -> None:
    made, tokenizer, lexicon = batches(tmp_path, spoken=0.0, single_words=single_words)
    several = 0
    for number in range(20):
        batch = made[BatchKey([number], 0)]
        assert len(batch.lengths) == 1 or batch.phones[..., 0].numel() <= 90
        several += len(batch.lengths) > 1
        for row, (length, target_length) in enumerate(
            zip(batch.lengths.tolist(), batch.target_lengths.tolist(), strict=True)
        ):
            text = tokenizer.decode(batch.targets[row, :target_length].tolist())
            said = spelt(batch.phones[row, :length].exp().numpy())
            assert said in list(lexicon.encodings(text))
    assert several


def test_a_batch_follows_from_its_number_and_epoch(tmp_path: Path) -> None:
    made, _, _ = batches(tmp_path)
    first, again, other = (made[BatchKey([3], epoch)] for epoch in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.phones.shape != other.phones.shape or not torch.equal(first.phones, other.phones)
    spoken = batches(tmp_path, spoken=1.0)[0][BatchKey([0], 0)]
    assert spoken.targets.tolist() == [PIECES.encode("ab")] * len(spoken.lengths)


def test_batches_go_on_in_the_middle_of_an_epoch() -> None:
    numbers = BatchNumbers(4)
    numbers.resume_at(2, 3)
    assert [(key.indices, key.epoch) for key in numbers] == [([3], 2)]
    numbers.set_epoch(3)
    assert [key.indices[0] for key in numbers] == [0, 1, 2, 3]
    numbers.resume_at(2, 4)
    assert numbers.epoch == 3


def test_spelling_does_not_depend_on_the_rest_of_the_batch() -> None:
    torch.manual_seed(0)
    speller = Speller(P, 5, SPELLER).eval()
    lengths = torch.tensor([7, 12, 2])
    phones = torch.randn(3, 12, P).log_softmax(-1)
    together, steps = speller(phones, lengths)
    assert together.shape == (3, 4, 5)
    assert steps.tolist() == [3, 4, 1]
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(3, 4))
    for row, length in enumerate(lengths.tolist()):
        alone, its = speller(phones[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, : int(its)], alone[0], atol=1e-5, rtol=1e-5)


def test_spelling_is_the_same_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    speller = Speller(P, 5, SPELLER).eval()
    phones, lengths = torch.randn(2, 9, P).log_softmax(-1), torch.tensor([9, 5])
    learning, _ = speller(phones, lengths)
    with torch.inference_mode():
        using, _ = speller(phones, lengths)
    assert learning.requires_grad
    torch.testing.assert_close(using, learning.detach())


def test_a_bundle_keeps_its_speller_and_what_it_writes(
    phone_bundle: Bundle, tmp_path: Path
) -> None:
    made = load_bundle(save_bundle(with_speller(phone_bundle), tmp_path / "spells"))
    assert made.model.config.speller == SPELLER
    waveforms, lengths = 0.1 * torch.randn(2, 8000), torch.tensor([8000, 5000])
    heads = phone_bundle.model(waveforms, lengths)
    spelling = made.model(waveforms, lengths)
    assert made.model.speller is not None
    assert made.pieces == PIECES
    torch.testing.assert_close(spelling.phones, heads.phones)
    torch.testing.assert_close(spelling.log_probs, heads.log_probs)
    expected, steps = made.model.speller(heads.phones, heads.output_lengths)
    torch.testing.assert_close(spelling.spelling, expected)
    assert torch.equal(spelling.spelling_lengths, steps)
    assert made.model(waveforms, lengths, spell=False).spelling is None
    assert "writes 7 pieces of words" in (tmp_path / "spells/README.md").read_text("utf-8")


def test_a_damaged_speller_is_named(phone_bundle: Bundle, tmp_path: Path) -> None:
    folder = save_bundle(with_speller(phone_bundle), tmp_path / "spells")
    config, pieces = folder / "config.json", folder / "pieces.json"
    whole = pieces.read_text("utf-8")
    for text, message in (
        (whole + " ", "pieces.json is damaged"),
        (None, "pieces.json is missing"),
    ):
        pieces.unlink() if text is None else pieces.write_text(text, "utf-8")
        with pytest.raises(BundleError, match=message):
            load_bundle(folder)
    pieces.write_text(whole, "utf-8")
    load_bundle(folder)
    settings = json.loads(config.read_text())
    settings["speller"]["hidden_size"] = 9
    config.write_text(json.dumps(settings))
    with pytest.raises(BundleError, match="does not fit config.json"):
        load_bundle(folder)
    del settings["pieces_sha256"]
    config.write_text(json.dumps(settings))
    with pytest.raises(
        BundleError, match=r"spells: its speller writes letters, as an earlier asr's"
    ):
        load_bundle(folder)
    save_bundle(phone_bundle, folder)
    assert not pieces.exists()


def spelt_as(steps: list[int]) -> np.ndarray:
    """Log-probabilities of pieces, one certain in each step."""
    probabilities = np.full((len(steps), PIECES.vocab_size), 0.01, np.float32)
    probabilities[np.arange(len(steps)), steps] = 1 - 0.01 * (PIECES.vocab_size - 1)
    return np.log(probabilities)


def timed(spelling: Spelling, tokens: np.ndarray, steps: np.ndarray) -> Hypothesis:
    return spelling.in_time(greedy_decode(steps), LogProbs(tokens, None, steps))


def test_words_of_pieces_are_timed_by_the_letters_that_the_network_hears() -> None:
    """The speller writes "ab" and "cab" at the end; the letters lie where they were heard."""
    letters = CharTokenizer.from_texts(["ab c"])
    path = [0, 2, 2, 3, 1, 0, 0, 4, 2, 3, 0, 0]
    tokens = np.full((len(path), letters.vocab_size), 0.01, np.float32)
    tokens[np.arange(len(path)), path] = 0.96
    spelling = Spelling(PIECES, letters, 3)
    steps = spelt_as([0, 0, 3, 7])
    steps[3, 7] = np.log(0.5)
    found = timed(spelling, np.log(tokens), steps)
    assert found.words == (WordRange("ab", 0, 2), WordRange("c", 3, 4))
    assert [letters.tokens[token_id] for token_id in found.token_ids] == ["a", "b", " ", "c"]
    assert found.spans[0] == (1, 3)
    assert found.spans[3][0] == 7
    np.testing.assert_allclose(found.confidences[:2], 0.93, rtol=1e-5)
    np.testing.assert_allclose(found.confidences[3], 0.5, rtol=1e-5)

    short = timed(spelling, np.log(tokens[:2]), steps)  # too short for its letters
    assert found.words is not None
    assert short.words is not None
    assert [word.text for word in short.words] == [word.text for word in found.words]
    assert short.spans == ((2, 2), (2, 2))
    unwritable = Spelling(PIECES, CharTokenizer.from_texts(["ab"]), 3)
    other = timed(unwritable, np.log(tokens), steps)
    assert other.words == (WordRange("ab", 0, 1), WordRange("c", 1, 2))
    assert other.spans == ((6, 9), (9, 12))
    silence = timed(spelling, np.log(tokens), spelt_as([0, 0, 0, 0]))
    assert silence.words == ()
    assert silence.token_ids == ()


def test_greedy_decoding_writes_what_the_speller_spells(
    phone_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(with_speller(phone_bundle))
    assert recognizer.model.speller is not None

    def spelled(phones: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps = torch.from_numpy(spelt_as([3, 0, 1, 2] + [0] * (-(-phones.shape[1] // 3) - 4)))
        return steps.expand(len(phones), -1, -1), -(-lengths // 3)

    monkeypatch.setattr(recognizer.model.speller, "forward", spelled)
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    for transcript in (recognizer.transcribe(noise), *recognizer.transcribe_batch([noise, noise])):
        assert transcript.text == "ab ab"
        first, second = transcript.words
        assert 0 <= first.start_s < first.end_s <= second.start_s < second.end_s <= 1


@pytest.mark.parametrize("precision", [pytest.param("bfloat16", marks=needs_bfloat16), "int8"])
def test_a_speller_works_in_fewer_bits(phone_bundle: Bundle, precision: str) -> None:
    made = with_speller(phone_bundle)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    exact, rounded = (
        Recognizer(made, precision=one).log_probs([waveform])[0].spelling
        for one in ("float32", precision)
    )
    np.testing.assert_allclose(rounded, exact, atol=0.1)


def test_a_search_over_phones_does_without_the_speller(
    phone_bundle: Bundle,
) -> None:
    made = with_speller(phone_bundle)
    called = []
    assert made.model.speller is not None
    made.model.speller.register_forward_hook(lambda *_: called.append(1))
    alphabet = alphabet_of(made, lexicon_of(made))
    over_phones = Decoder("beam", "beam", BeamDecoder(alphabet), over_phones=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    for decoder, count in ((over_phones, 0), (None, 1)):
        Recognizer(made, decoder=decoder).transcribe(noise)
        assert len(called) == count


def test_known_text_is_aligned_by_the_network(
    phone_bundle: Bundle, utterances: list[Utterance]
) -> None:
    """A speller's letters come some 20 ms later."""
    said = [replace(one, text="a b") for one in utterances[1:]]
    own, spelling = (
        list(align_utterances(said, Recognizer(bundle)))
        for bundle in (phone_bundle, with_speller(phone_bundle))
    )
    assert [one.transcript for one in own] == [one.transcript for one in spelling]
    assert all(one.transcript for one in own)


def test_a_speller_needs_phones(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="a speller reads phones"):
        replace(tiny_bundle.model.config, speller=SPELLER)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A network that hears tones as phones, trained; texts of words that no recording has."""
    write_corpus(tmp_path, train=60, dev=8)
    write_recipe(tmp_path)
    letters = [*HZ]
    words = {
        "".join(word): (tuple(letter.upper() for letter in word),)
        for size in (1, 2, 3)
        for word in np.array(np.meshgrid(*[letters] * size)).reshape(size, -1).T.tolist()
    }
    write_lexicon(Lexicon.of(words), tmp_path / "said.txt")
    random = np.random.default_rng(1)
    text = "\n".join(" ".join(random.choice([*words], 8)) for _ in range(300))
    (tmp_path / "text.txt").write_text(text)
    train([
        *overrides(tmp_path, tmp_path / "network"), "logger=csv", "trainer.max_epochs=57",
        "trainer.validate_every_epochs=57", f"loss.lexicon={tmp_path / 'said.txt'}",
        "loss.phone_weight=0.5",
    ])  # fmt: skip
    return tmp_path


def speller_run(folder: Path, name: str, *more: str) -> list[str]:
    return [
        *overrides(folder, folder / name), f"init_from={folder / 'network/bundle'}", "logger=csv",
        f"speller.texts=[{folder / 'text.txt'}]", "speller.network.hidden_size=32",
        "speller.network.conv_channels=32", "speller.network.subsampling=1", "speller.batches=60",
        "speller.max_words=6", "speller.vocab_size=8", "trainer.max_epochs=4", "data.batch_s=20",
        *more,
    ]  # fmt: skip


def test_a_speller_is_trained_and_the_network_stays(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run resumes to the same weights, and fine-tuning of the network leaves it alone."""
    trained = train(speller_run(tones, "speller"))
    said = capsys.readouterr().err
    assert "starting from" in said
    assert "2,400 words to spell" in said
    before, after = (load_bundle(tones / name / "bundle") for name in ("network", "speller"))
    assert after.model.speller is not None
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], tensor)
    recognizer = load_model(trained.bundle_path, decoder="greedy")
    wer = evaluate(tones / "dev.jsonl", recognizer, tones / "dev").score.wer
    assert wer < 0.3
    assert "text.txt" in after.training.data

    begun = f"speller.init_from={tones / 'speller/bundle'}"
    train(speller_run(tones, "begun", begun, "trainer.max_epochs=1", "optimizer.lr=1e-9"))
    spelling = load_bundle(tones / "begun/bundle")
    assert f"begun as that of model {after.model_id}" in spelling.training.data
    for name, tensor in after.model.state_dict().items():
        torch.testing.assert_close(spelling.model.state_dict()[name], tensor, atol=1e-4, rtol=0)

    few = ["speller.batches=5", "scheduler.kind=plateau"]
    train(speller_run(tones, "halves", "trainer.max_epochs=1", *few))
    train(speller_run(tones, "halves", "resume=true", "trainer.max_epochs=2", *few))
    train(speller_run(tones, "whole", "trainer.max_epochs=2", *few))
    halves, whole = (
        torch.load(tones / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("halves", "whole")
    )
    assert all(torch.equal(halves[name], whole[name]) for name in whole)
    assert not list(tones.glob("*/heard-*"))

    few += ["augment.vtlp=0.1", "augment.time_masks=2"]
    network = tones / "network/bundle"
    export_bundle(network, tones / "twice", others=[network], shares=(2, 1))
    tuned = {"decoding": Decoding(1.1, 0.2, 32), "beam_calibration": Calibration(1.0, 0.1, 0.2)}
    save_bundle(replace(load_bundle(tones / "twice"), **tuned), tones / "twice")
    once, twice = (
        load_bundle(
            train(speller_run(tones, name, "trainer.max_epochs=1", *few, *start)).bundle_path
        )
        for name, start in (("once", ()), ("pair", (f"init_from={tones / 'twice'}",)))
    )
    assert twice.shares == (2, 1)
    assert {name: getattr(twice, name) for name in tuned} == tuned
    # both heard the same noise, masks and warps
    for name, tensor in once.model.state_dict().items():
        torch.testing.assert_close(twice.model.state_dict()[name], tensor, atol=1e-3, rtol=0)
    assert twice.training.dev_wer == pytest.approx(once.training.dev_wer, abs=0.05)

    export_bundle(tones / "speller/bundle", tones / "along", others=[network])
    capsys.readouterr()
    train([
        *overrides(tones, tones / "tuned"), f"init_from={tones / 'along'}",
        "trainer.max_epochs=1", "logger=csv", f"loss.lexicon={tones / 'said.txt'}",
        "loss.phone_weight=0.5",
    ])  # fmt: skip
    weights = load_bundle(tones / "tuned/bundle").model.state_dict()
    for name, tensor in after.model.state_dict().items():
        assert torch.equal(weights[name], tensor) == name.startswith(("speller.", "front_end."))
    said = capsys.readouterr().err
    assert f"all weights of model {load_bundle(tones / 'along').model_id}, not the networks" in said
    train([
        *overrides(tones, tones / "plain"), f"init_from={tones / 'speller/bundle'}",
        "trainer.max_epochs=1", "logger=csv",
    ])  # fmt: skip
    assert "but its speller" in capsys.readouterr().err
    assert load_bundle(tones / "plain/bundle").model.speller is None


def test_what_was_heard_is_kept_for_a_run_that_goes_on(
    tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same settings; damaged it is heard anew; not kept it is used all the same."""
    path, times = tones / "heard-1.npz", []
    heard = [Hearing(3, np.eye(4, P, dtype=np.float16)), Hearing(0, np.ones((2, P), np.float16))]

    def hear() -> list[Hearing]:
        times.append(1)
        return heard

    for made_by, often in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        found = kept_or_heard(path, made_by, hear)
        assert len(times) == often
        assert [place for place, _ in found] == [3, 0]
        for (_, posteriors), (_, expected) in zip(found, heard, strict=True):
            assert posteriors.dtype == np.float16
            np.testing.assert_array_equal(posteriors, expected)
    content = bytearray(path.read_bytes())
    content[-300] ^= 1
    for damaged in (content, content[:100], b""):
        path.write_bytes(damaged)
        kept_or_heard(path, "b", hear)
    assert len(times) == 5
    kept_or_heard(tones / "nowhere/heard-1.npz", "b", hear)
    assert "nowhere/heard-1.npz" in (said := capsys.readouterr().err)
    assert "listens anew" in said

    def break_off(*_: object) -> None:
        raise ZeroDivisionError

    run = speller_run(tones, "broken", "speller.batches=5", "trainer.max_epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(SpellerLitModule, "training_step", break_off)
        with pytest.raises(ZeroDivisionError):
            train(run)
    assert (tones / "broken/heard-1.npz").is_file()
    monkeypatch.setattr(SpellerDataModule, "_heard", break_off)
    train([*run, "resume=true"])
    assert not (tones / "broken/heard-1.npz").exists()


def test_a_speller_begins_as_that_of_another_model(
    phone_bundle: Bundle, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Its weights are taken, the network's stay, and dropout is no part of a speller's size."""
    other = save_bundle(with_speller(with_other_weights(phone_bundle)), tmp_path / "other")
    dropping = replace(SPELLER, dropout=0.3)
    start = with_speller_of(other, phone_bundle, dropping)
    found, spelling = start.model.state_dict(), load_bundle(other).model.state_dict()
    network = phone_bundle.model.state_dict()
    assert found.keys() == spelling.keys()
    for name, tensor in found.items():
        source = spelling if name.startswith("speller.") else network
        assert torch.equal(tensor, source[name])
    model = AcousticModel(replace(start.model.config, speller=dropping))
    take_weights(model, start.tokenizer, start, start.phones)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found[name])

    with pytest.raises(UsageError, match="another size than is wanted"):
        with_speller_of(other, phone_bundle, replace(SPELLER, hidden_size=9))
    with pytest.raises(UsageError, match="reads other phones"):
        with_speller_of(other, replace(phone_bundle, phones=("a", "b")), SPELLER)
    plain = save_bundle(tiny_bundle, tmp_path / "plain")
    with pytest.raises(UsageError, match="has no speller"):
        with_speller_of(plain, phone_bundle, SPELLER)
    with pytest.raises(UsageError, match=r"speller.init_from needs speller.texts"):
        SpellerConfig(init_from="default")


def with_other_weights(bundle: Bundle) -> Bundle:
    torch.manual_seed(5)
    return replace(bundle, model=AcousticModel(bundle.model.config).eval())


def test_what_a_speller_cannot_be_trained_with_is_said(
    tiny_bundle: Bundle, phone_bundle: Bundle, tmp_path: Path
) -> None:
    write_corpus(tmp_path, train=4, dev=2)
    write_recipe(tmp_path)
    (tmp_path / "text.txt").write_text("a b\n")
    run = [*overrides(tmp_path, tmp_path / "run"), f"speller.texts=[{tmp_path / 'text.txt'}]"]
    plain = save_bundle(tiny_bundle, tmp_path / "plain")
    phones = save_bundle(phone_bundle, tmp_path / "phones")
    for more in ([], [f"init_from={plain}"]):
        with pytest.raises(UsageError, match="speller.texts needs init_from: a model that writes"):
            train([*run, *more])
    with pytest.raises(UsageError, match="a speller is trained with CTC alone"):
        train([*run, f"init_from={phones}", "loss.intermediate_weight=0.3"])
    with pytest.raises(UsageError, match=r"speller.spoken must be in \[0, 1\], not 2"):
        train([*run, f"init_from={phones}", "speller.spoken=2"])
    with pytest.raises(UsageError, match=r"speller.single_words must be in \[0, 1\], not -1"):
        train([*run, f"init_from={phones}", "speller.single_words=-1"])
    words = {word for one in read_manifest(tmp_path / "train.jsonl") for word in one.text.split()}
    lexicon = Lexicon.of({word: (tuple(word),) for word in words}, phone_bundle.phones)
    write_lexicon(lexicon, tmp_path / "letters.txt")
    run += [f"init_from={phones}", f"loss.lexicon={tmp_path / 'letters.txt'}"]
    with pytest.raises(AsrError, match=r"nowhere.txt"):
        train([*run, "speller.texts=[nowhere.txt]"])
    (tmp_path / "text.txt").write_text("x y\n")
    with pytest.raises(AsrError, match="speller.texts .* have no word of the model's lexicon"):
        train(run)
    assert not (tmp_path / "run").exists()
