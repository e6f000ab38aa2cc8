"""Which decoder is used, what it writes, and what is said where it cannot be."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from language_bundle import (
    SENTENCES,
    write_language_model,
    write_noise_manifest,
    write_rescorer,
)

from asr.bundle import Bundle, BundleError, Decoding, load_bundle, save_bundle
from asr.cli import main
from asr.decoder import DecoderOptions, make_decoder
from asr.decoding.arpa import load_ngram
from asr.decoding.beam_options import BeamOptions
from asr.decoding.hypothesis import LogProbs
from asr.decoding.ngram import LanguageModelError
from asr.encoder import EncoderConfig
from asr.errors import AsrError, UsageError
from asr.hotword_list import read_hotwords
from asr.lm import LmOptions, train_language_model
from asr.lm_text import number_words
from asr.model import AcousticModel, ModelConfig
from asr.rnnlm import RnnLm, RnnLmConfig, load_rescorer, save_rescorer
from asr.tokenizer import BLANK, BpeTokenizer
from asr.transcribe import Recognizer, load_model
from asr.words import to_transcript

WORDS = {word for sentence in SENTENCES for word in sentence.split()}


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "words.ngram")


@pytest.fixture
def with_lm(tiny_bundle: Bundle, lm: Path, tmp_path: Path) -> Path:
    """A saved bundle with a language model of its own."""
    bundle = replace(tiny_bundle, language_model=lm, decoding=Decoding(0.7, 1.5, 8))
    return save_bundle(bundle, tmp_path / "with-lm")


def waveforms() -> list[np.ndarray]:
    return [
        (0.1 * np.random.default_rng(seed).standard_normal(16_000 + 4_000 * seed)).astype("float32")
        for seed in range(4)
    ]


def test_words_of_the_language_model_with_times_in_any_batch_and_thread(
    tiny_bundle: Bundle, lm: Path
) -> None:
    options = DecoderOptions(lm=lm, lm_weight=0.2, word_bonus=2.0, beam_size=16)
    recognizer = Recognizer(tiny_bundle, decoder=make_decoder(tiny_bundle, options))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [recognizer.transcribe_batch([waveform])[0] for waveform in waveforms()]
        torch.set_num_threads(2)
        together = recognizer.transcribe_batch(waveforms())
    finally:
        torch.set_num_threads(threads)
    assert [one.text for one in together] == [one.text for one in alone]
    words = [word for one in together for word in one.words]
    assert words
    assert {word.text for word in words} <= WORDS
    for one in together:
        times = [time for word in one.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert all(0 <= time <= one.duration_s for time in times)
    assert all(0 < word.confidence <= 1 for word in words)


def test_pieces_of_words_with_a_language_model_and_hot_words(lm: Path, tmp_path: Path) -> None:
    """The audio says "a lazy fo" and then rather g than x: only the language model, or a hot word,
    knows the fox."""
    tokenizer = BpeTokenizer(
        (BLANK, "▁a", "la", "zy", "▁f", "o", "x", "g", "▁", *"abcdehijklmnpqrstuvwyz")
    )
    config = ModelConfig(
        tokenizer.vocab_size, encoder=EncoderConfig(conv_channels=2, hidden_size=2, num_layers=1)
    )
    bundle = Bundle(AcousticModel(config), tokenizer)
    said = [1, 8, 2, 3, 4, 5, 7]  # ▁a ▁ la zy ▁f o g
    assert tokenizer.encode("a lazy fog") == said
    probs = np.full((2 * len(said), tokenizer.vocab_size), 1e-4)
    probs[::2][np.arange(len(said)), said] = probs[1::2, 0] = 0.9
    probs[-2, [7, 6]] = 0.5, 0.4
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
    (tmp_path / "hot.txt").write_text("lazy fox\n")
    for options, text in (
        (DecoderOptions(), "a lazy fog"),
        (DecoderOptions("beam"), "a lazy fog"),
        (DecoderOptions(lm=lm), "a lazy fox"),
        (DecoderOptions(hotwords=tmp_path / "hot.txt"), "a lazy fox"),
    ):
        (hypothesis,) = make_decoder(bundle, options).decode_batch([LogProbs(log_probs)])
        transcript = to_transcript(hypothesis, tokenizer, 0.03, 1.0)
        assert transcript.text == text
        assert [word.start_s for word in transcript.words] == pytest.approx([0.0, 0.12, 0.24])


def said(spoken: str, phones: Sequence[str]) -> np.ndarray:
    """(T', P): each phone one frame, a blank after it."""
    probs = np.full((2 * len(spoken), len(phones)), 1e-3)
    probs[1::2, 0] = 1.0
    probs[np.arange(0, len(probs), 2), [phones.index(phone) for phone in spoken]] = 1.0
    return np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def test_a_language_model_over_phones(
    phone_bundle: Bundle, lm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ "a" and "o" are said alike: the language model or a hot word tells them apart."""
    phones, tokenizer = phone_bundle.phones, phone_bundle.tokenizer
    spelled = said("o fox", tokenizer.tokens)
    log_probs = LogProbs(spelled, said("a fox", phones))
    (tmp_path / "hot.txt").write_text("o fox\t30\n")

    def text(bundle: Bundle, options: DecoderOptions) -> str:
        (hypothesis,) = make_decoder(bundle, options).decode_batch([log_probs])
        transcript = to_transcript(hypothesis, tokenizer, 0.03, 1.0)
        assert transcript.words[0].start_s == 0.0
        assert transcript.words[-1].end_s > transcript.words[-1].start_s > 0.0
        return transcript.text

    assert text(phone_bundle, DecoderOptions()) == "o fox"  # greedily, as it is spelled
    assert text(phone_bundle, DecoderOptions(lm=lm)) == "a fox"
    assert text(phone_bundle, DecoderOptions(lm=lm, hotwords=tmp_path / "hot.txt")) == "o fox"
    assert not caplog.records
    # words that the language model lacks have no known spelling in phones: tokens write them
    opened = make_decoder(phone_bundle, DecoderOptions(lm=lm, unknown_penalty=2.0))
    assert not opened.over_phones
    (tmp_path / "few.txt").write_text("a a\nfox f o x\n")
    few = replace(phone_bundle, lexicon=tmp_path / "few.txt")
    assert text(few, DecoderOptions(lm=lm)) == "a fox"
    assert "of its words cannot be written, for the model's lexicon lacks them" in caplog.text
    with pytest.raises(UsageError, match=r"lacks 1 of the hot words \(o\)"):
        make_decoder(few, DecoderOptions(lm=lm, hotwords=tmp_path / "hot.txt"))
    with pytest.raises(AsrError, match="needs a network that writes phones"):
        make_decoder(phone_bundle, DecoderOptions(lm=lm)).decode_batch([LogProbs(spelled)])
    assert make_decoder(phone_bundle, DecoderOptions(lm=lm)).name.startswith(
        "beam 64 over phones +"
    )


@pytest.fixture
def rnnlm(tmp_path: Path) -> Path:
    return write_rescorer(tmp_path / "neural.safetensors", "o fox")


def test_a_second_pass_ranks_anew(phone_bundle: Bundle, lm: Path, rnnlm: Path) -> None:
    """As by hand: the search's score, and of the language model's a share from the neural one."""
    log_probs = LogProbs(
        said("o fox", phone_bundle.tokenizer.tokens), said("a fox", phone_bundle.phones)
    )
    options = DecoderOptions(lm=lm, lm_weight=0.8, beam_size=16)
    first = make_decoder(phone_bundle, options)
    assert first.beam is not None
    assert first.rescoring is None
    ngram, neural = load_ngram(lm), load_rescorer(rnnlm)
    hypotheses = first.beam.decode_n_best(first.searched(log_probs), 32)
    words = [[word.text for word in one.words or ()] for one in hypotheses]
    assert ["a", "fox"] in words
    assert ["o", "fox"] in words
    winners = set()
    for share in (0.0, 0.1, 0.5, 1.0):
        scores = [
            one.score + 0.8 * share * (neural.score([own])[0] - ngram.score(" ".join(own)))
            for one, own in zip(hypotheses, words, strict=True)
        ]
        decoder = make_decoder(phone_bundle, replace(options, rnnlm=rnnlm, rnnlm_share=share))
        (found,) = decoder.decode_batch([log_probs])
        best = int(np.argmax(scores))
        assert [word.text for word in found.words or ()] == words[best]
        assert found.score == pytest.approx(scores[best], abs=1e-4)
        assert found.spans == hypotheses[best].spans
        winners.add(tuple(words[best]))
        if share:
            assert decoder.name.endswith(f"(weight 0.8, bonus 0.5) + LSTM (share {share:g})")
        else:
            assert decoder.name == first.name
    assert winners == {("a", "fox"), ("o", "fox")}


def test_a_second_pass_over_tokens_in_any_batch(tiny_bundle: Bundle, lm: Path, rnnlm: Path) -> None:
    options = DecoderOptions(lm=lm, rnnlm=rnnlm, lm_weight=0.2, word_bonus=2.0, beam_size=16)
    recognizer = Recognizer(tiny_bundle, decoder=make_decoder(tiny_bundle, options))
    alone = [recognizer.transcribe_batch([waveform])[0] for waveform in waveforms()]
    together = recognizer.transcribe_batch(waveforms())
    assert [one.text for one in together] == [one.text for one in alone]
    assert {word.text for one in together for word in one.words} <= WORDS
    silence = np.full((5, tiny_bundle.tokenizer.vocab_size), -20.0, np.float32)
    silence[:, 0] = 0.0
    (nothing,) = recognizer.decoder.decode_batch([LogProbs(silence)])
    assert nothing.token_ids == ()


def test_whose_neural_model_is_used(
    tiny_bundle: Bundle, lm: Path, rnnlm: Path, tmp_path: Path
) -> None:
    """A bundle's goes with its own n-grams, unless a share is asked for."""
    both = replace(tiny_bundle, language_model=lm, rnnlm=rnnlm, decoding=Decoding(0.7, 1.5, 8))
    path = save_bundle(both, tmp_path / "model")
    own = load_bundle(path)
    assert own.rnnlm == path / "rnnlm.safetensors"
    assert "then the neural one, share 0.5" in (path / "README.md").read_text()
    other = tmp_path / "other.ngram"
    train_language_model(number_words([["a", "dog"], ["a", "fox"]]), LmOptions(2)).save(other)
    for options, share in (
        ({}, 0.5),
        ({"rnnlm_share": 0.25}, 0.25),
        ({"rnnlm_share": 0.0}, None),
        ({"lm": lm}, 0.5),  # the same n-grams, named
        ({"lm": other}, None),
        ({"lm": other, "rnnlm_share": 0.25}, 0.25),
        ({"lm": lm, "rnnlm_share": 0.0}, None),
        ({"lm": lm, "rnnlm_share": 0.25}, 0.25),
        ({"lm": lm, "rnnlm": rnnlm}, 0.5),
        ({"decoder": "greedy"}, None),
    ):
        rescoring = load_model(path, device="cpu", **options).decoder.rescoring
        assert (rescoring and rescoring.share) == share
    assert make_decoder(tiny_bundle, DecoderOptions(lm=lm, rnnlm_share=0.0)).rescoring is None
    tuned = replace(own, decoding=Decoding(0.7, 1.5, 8, rnnlm_share=0.3))
    rescoring = make_decoder(tuned).rescoring
    assert rescoring is not None
    assert (rescoring.share, rescoring.lm_weight) == (0.3, 0.7)
    settings = {
        make_decoder(tiny_bundle, DecoderOptions(lm=lm, rnnlm=one, rnnlm_share=share)).settings
        for one, share in ((None, None), (rnnlm, None), (rnnlm, 0.4))
    }
    assert len(settings) == 3
    rnnlm.write_bytes(write_rescorer(tmp_path / "other.safetensors", "a dog").read_bytes())
    assert make_decoder(tiny_bundle, DecoderOptions(lm=lm, rnnlm=rnnlm)).settings not in settings
    (path / "rnnlm.safetensors").write_bytes(rnnlm.read_bytes())
    with pytest.raises(BundleError, match="rnnlm.safetensors is damaged"):
        load_bundle(path)


def test_a_second_pass_that_cannot_be(
    tiny_bundle: Bundle, lm: Path, rnnlm: Path, tmp_path: Path
) -> None:
    for options, problem in (
        (DecoderOptions(rnnlm=rnnlm), "--rnnlm needs a language model"),
        (DecoderOptions(lm=lm, rnnlm_share=0.5), "--rnnlm-share needs a neural language model"),
        (DecoderOptions(lm=lm, rnnlm=rnnlm, rnnlm_share=1.5), "0 to 1, not 1.5"),
        (DecoderOptions(lm=lm, rnnlm=lm), "no neural language model"),
    ):
        with pytest.raises(AsrError, match=problem):
            make_decoder(tiny_bundle, options)
    with pytest.raises(UsageError, match="greedy decoding has no --rnnlm"):
        DecoderOptions("greedy", rnnlm=rnnlm)
    shouted = replace(
        load_rescorer(rnnlm),
        tokenizer=BpeTokenizer((BLANK, "▁", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:20])),
    )
    config = RnnLmConfig(shouted.tokenizer.vocab_size, 2, 2)
    save_rescorer(replace(shouted, network=RnnLm(config)), tmp_path / "upper.safetensors")
    with pytest.raises(LanguageModelError, match="lacks most of the language model's characters"):
        make_decoder(tiny_bundle, DecoderOptions(lm=lm, rnnlm=tmp_path / "upper.safetensors"))


def test_special_words_are_no_characters_that_a_second_pass_lacks(
    tiny_bundle: Bundle, lm: Path, rnnlm: Path, tmp_path: Path
) -> None:
    """Of 34 characters it lacks 16, fewer than half: those of <unk> and its like do not count."""
    lacking = set("tqickbwnlzyjmpsv")
    characters = "".join(WORDS)
    assert (len(characters), sum(char in lacking for char in characters)) == (34, 16)
    pieces = BpeTokenizer((BLANK, "▁", *sorted(set(characters) - lacking)))
    network = RnnLm(RnnLmConfig(pieces.vocab_size, 2, 2))
    path = tmp_path / "few.safetensors"
    save_rescorer(replace(load_rescorer(rnnlm), tokenizer=pieces, network=network), path)
    assert make_decoder(tiny_bundle, DecoderOptions(lm=lm, rnnlm=path)).rescoring is not None


def test_the_choice_of_decoder(tiny_bundle: Bundle, lm: Path, with_lm: Path) -> None:
    own = load_bundle(with_lm)
    for bundle, options, name in (
        (tiny_bundle, DecoderOptions(), "greedy"),
        (tiny_bundle, DecoderOptions("beam"), "beam 64"),
        (tiny_bundle, DecoderOptions(beam_size=4), "beam 4"),
        (tiny_bundle, DecoderOptions(lm=lm), "beam 64 + 2-gram (weight 1, bonus 0.5)"),
        (own, DecoderOptions(), "beam 8 + 2-gram (weight 0.7, bonus 1.5)"),
        (own, DecoderOptions(lm_weight=2.0), "beam 8 + 2-gram (weight 2, bonus 1.5)"),
        (own, DecoderOptions("greedy"), "greedy"),
    ):
        assert make_decoder(bundle, options).name == name


def test_settings_tell_decoders_apart(tiny_bundle: Bundle, lm: Path, tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("fox\n")
    hot = DecoderOptions(lm=lm, hotwords=tmp_path / "hot.txt")
    settings = [
        make_decoder(tiny_bundle, options).settings
        for options in (
            DecoderOptions(), DecoderOptions("beam"), DecoderOptions(lm=lm),
            DecoderOptions(lm=lm, lm_weight=1.1), DecoderOptions(lm=lm, unknown_penalty=5.0), hot,
        )
    ]  # fmt: skip
    (tmp_path / "hot.txt").write_text("fox\t7\n")
    settings.append(make_decoder(tiny_bundle, hot).settings)
    assert len(set(settings)) == 7


def test_hot_words_are_written_more_often(tiny_bundle: Bundle, lm: Path, tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("\ufeffDog\t40\n\na fox\t-3\n")
    assert [hotword.weight for hotword in read_hotwords(tmp_path / "hot.txt", tiny_bundle)] == [
        40.0,
        -3.0,
    ]
    texts = []
    for hotwords in (None, tmp_path / "hot.txt"):
        options = DecoderOptions(lm=lm, hotwords=hotwords, lm_weight=0.5)
        recognizer = Recognizer(tiny_bundle, decoder=make_decoder(tiny_bundle, options))
        texts.append(" ".join(one.text for one in recognizer.transcribe_batch(waveforms())))
    assert texts[1].split().count("dog") > texts[0].split().count("dog")


def test_hot_words_without_phones_are_not_advised_to_be_spelt(
    phone_bundle: Bundle, lm: Path, tmp_path: Path
) -> None:
    (tmp_path / "hot.txt").write_text("zebra\n")
    options = DecoderOptions(lm=lm, hotwords=tmp_path / "hot.txt")
    with pytest.raises(UsageError, match="`asr lexicon`.*`asr export --lm --lexicon`"):
        make_decoder(phone_bundle, options)


def test_letters_instead_of_phones_are_told_and_not_searched_as_phones_were_tuned(
    phone_bundle: Bundle, lm: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = replace(phone_bundle, decoding=Decoding(3.0, 1.0, 7, acoustic_scale=1.5))
    over_phones = make_decoder(tuned, DecoderOptions(lm=lm))
    assert not caplog.records
    spelt = make_decoder(tuned, DecoderOptions(lm=lm, unknown_penalty=5.0))
    assert "the search reads what is spelt" in caplog.text
    assert over_phones.beam is not None
    assert spelt.beam is not None
    assert (over_phones.beam.options.lm_weight, over_phones.beam.options.beam_size) == (3.0, 7)
    assert spelt.beam.options == replace(BeamOptions(), unknown_penalty=5.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no hot words"),
        ("\n  \n", "has no hot words"),
        ("dog\tmuch\n", "line 1: 'much' is no weight"),
        ("dog\tnan\n", "line 1: the weight must be finite"),
        ("fox\n!!\n", "line 2: '!!' has no words"),
        ("Zürich ß\u4e2d\n", "has no words|vocabulary"),
        ("zebra xylophone\n", "lacks 2 of the hot words .xylophone, zebra.*--unknown-penalty"),
    ],
)
def test_hot_words_that_cannot_be(
    tiny_bundle: Bundle, lm: Path, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "hot.txt").write_text(content, "utf-8")
    if "ß" in content:
        tiny_bundle = replace(tiny_bundle, normalizer="none")
    with pytest.raises(UsageError, match=message):
        make_decoder(tiny_bundle, DecoderOptions(lm=lm, hotwords=tmp_path / "hot.txt"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fast"}, "greedy or beam"),
        ({"kind": "greedy", "beam_size": 4, "lm": "x"}, "no --lm, --beam-size"),
        ({"lm_weight": 1.0}, "--lm-weight needs a language model"),
        ({"beam_size": 0}, "beam size"),
        ({"hotwords": "nowhere"}, "No such file"),
    ],
)
def test_options_that_cannot_be(
    tiny_bundle: Bundle, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_decoder(tiny_bundle, DecoderOptions(**options))  # type: ignore[arg-type]


def test_another_case_is_said_at_once(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = save_bundle(tiny_bundle, tmp_path / "model")
    upper = write_language_model(tmp_path / "upper.ngram", upper=True)
    with pytest.raises(LanguageModelError, match=r"upper\.ngram.*cannot spell.*another case"):
        load_model(path, device="cpu", lm=upper)
    with pytest.raises(AsrError, match="no language model at"):
        load_model(path, device="cpu", lm=tmp_path / "nowhere")


def test_a_bundle_keeps_its_language_model(
    tiny_bundle: Bundle, with_lm: Path, tmp_path: Path
) -> None:
    loaded = load_bundle(with_lm)
    assert loaded.decoding == Decoding(0.7, 1.5, 8)
    assert loaded.language_model == with_lm / "lm.ngram"
    assert "beam 8 with the language model" in (with_lm / "README.md").read_text()
    config = json.loads((with_lm / "config.json").read_text())
    del config["decoding"]["acoustic_scale"]  # written before there was one
    (with_lm / "config.json").write_text(json.dumps(config))
    assert load_bundle(with_lm).decoding == Decoding(0.7, 1.5, 8, acoustic_scale=1.0)
    again = load_bundle(save_bundle(loaded, with_lm))  # over itself
    assert again.model_id == loaded.model_id
    plain = load_bundle(save_bundle(tiny_bundle, tmp_path / "plain"))
    assert (plain.decoding, plain.language_model) == (None, None)
    assert plain.model_id != loaded.model_id
    (with_lm / "lm.ngram").unlink()
    with pytest.raises(BundleError, match=r"lm\.ngram is missing"):
        load_bundle(with_lm)


@pytest.mark.parametrize("value", [{"lm_weight": 1.0}, {"surprise": 1}, "beam", [1]])
def test_damaged_decoding_defaults_are_refused(with_lm: Path, value: object) -> None:
    config = json.loads((with_lm / "config.json").read_text())
    (with_lm / "config.json").write_text(json.dumps(config | {"decoding": value}))
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(with_lm)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    code = stopped.value.code
    assert isinstance(code, int)
    return code


def test_the_commands_decode_with_the_bundles_language_model(
    with_lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, report = write_noise_manifest(tmp_path, 3), tmp_path / "report"
    assert run("evaluate", manifest, "-m", with_lm, "-o", report, "--word-bonus", 2) == 0
    assert "beam 8 + 2-gram (weight 0.7, bonus 2)" in (report / "report.json").read_text("utf-8")
    assert run("evaluate", manifest, "-m", with_lm, "-o", report, "--decoder", "greedy") == 0
    assert '"greedy"' in (report / "report.json").read_text("utf-8")
    capsys.readouterr()
    assert run("transcribe", tmp_path / "2.wav", "-m", with_lm) == 0
    expected = load_model(with_lm, device="cpu").transcribe(tmp_path / "2.wav").text
    assert capsys.readouterr().out == f"{expected}\n"


def test_resume_transcribes_again_with_another_decoder(
    with_lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise_manifest(tmp_path, 1)
    out = tmp_path / "out"
    command = ("transcribe", tmp_path / "0.wav", "-m", with_lm, "-o", out)
    status = {}
    for name, options in (
        ("first", ()),
        ("same", ("--resume",)),
        ("greedy", ("--resume", "--decoder", "greedy")),
    ):
        assert run(*command, *options) == 0
        lines = (out / "asr-run.jsonl").read_text().splitlines()
        status[name] = json.loads(lines[-1]).get("status")
    assert (status["same"], status["greedy"]) == ("skipped", status["first"])
