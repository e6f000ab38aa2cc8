"""init_from: the bundle's network, weights and, where it fits, vocabulary."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe

from asr.bundle import Bundle, load_bundle, save_bundle
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest, write_manifest
from asr.model import AcousticModel, ModelConfig
from asr.pronunciation import Lexicon, read_lexicon
from asr.tokenizer import CharTokenizer
from asr.training.config import load_config
from asr.training.train import train
from asr.training.warmstart import (
    check_same_network,
    lexicon_path,
    take_weights,
    vocabulary_to_keep,
    with_phones_of,
)


def test_the_network_is_the_bundles_unless_the_command_line_says_so(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Defaults < recipe < bundle < command line: mini says 3 x 192, the bundle 2 x 8."""
    path = save_bundle(tiny_bundle, tmp_path / "bundle")
    config = load_config(["recipe=librispeech/mini", f"init_from={path}", "encoder.dropout=0.4"])
    theirs = tiny_bundle.model.config
    assert config.encoder == replace(theirs.encoder, dropout=0.4)
    assert config.features == theirs.features
    check_same_network(config, tiny_bundle)


def test_another_network_is_refused_with_all_that_differs(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    path = save_bundle(tiny_bundle, tmp_path / "bundle")
    config = load_config([
        "recipe=librispeech/mini", f"init_from={path}", "encoder.hidden_size=16", "features=logmel",
    ])  # fmt: skip
    with pytest.raises(UsageError) as error:
        check_same_network(config, tiny_bundle)
    assert "encoder.hidden_size: 8 in the bundle, 16 in this run" in str(error.value)
    assert "features.kind: mfcc in the bundle, logmel in this run" in str(error.value)
    assert "dropout" not in str(error.value)
    with pytest.raises(AsrError, match="^no model at nowhere"):
        load_config(["recipe=librispeech/mini", "init_from=nowhere"])


def test_the_head_keeps_the_rows_of_tokens_that_both_have(tiny_bundle: Bundle) -> None:
    """`the quick brown fox` knows no ä; a vocabulary of "a", "b" and "ä" keeps blank, space, a, b."""
    tokenizer = CharTokenizer.from_texts(["ab ä"])
    model = AcousticModel(
        ModelConfig(tokenizer.vocab_size, encoder=tiny_bundle.model.config.encoder)
    )
    fresh = model.state_dict()["head.linear.weight"].clone()
    done = take_weights(model, tokenizer, tiny_bundle)
    new, old = model.state_dict(), tiny_bundle.model.state_dict()
    for token in "ab ":
        row, old_row = tokenizer.tokens.index(token), tiny_bundle.tokenizer.tokens.index(token)
        assert torch.equal(new["head.linear.weight"][row], old["head.linear.weight"][old_row])
        assert torch.equal(new["head.linear.bias"][row], old["head.linear.bias"][old_row])
    assert torch.equal(new["head.linear.weight"][0], old["head.linear.weight"][0])
    added = tokenizer.tokens.index("ä")
    assert torch.equal(new["head.linear.weight"][added], fresh[added])
    for name in new:
        if not name.startswith("head."):
            assert torch.equal(new[name], old[name])
    assert "4 tokens kept, new: 'ä'; gone: \"'\" 'c' 'd'" in done


def test_letters_that_a_bundle_lacks_are_put_after_its_own(tiny_bundle: Bundle) -> None:
    """Small training texts lack most letters: they are no reason to forget those."""
    data: Any = SimpleNamespace(
        tokenizer=CharTokenizer.from_texts(["ab ä"]),
        train_examples=[SimpleNamespace(text="ab ä"), SimpleNamespace(text="é")],
    )
    tokenizer = vocabulary_to_keep(tiny_bundle, data)
    assert tokenizer is not None
    assert tokenizer.tokens == (*tiny_bundle.tokenizer.tokens, "ä", "é")
    data.train_examples = [SimpleNamespace(text="ab")]
    assert vocabulary_to_keep(tiny_bundle, data) is tiny_bundle.tokenizer


def test_the_head_for_phones_is_taken_where_both_have_the_same(phone_bundle: Bundle) -> None:
    old, name = phone_bundle.model.state_dict(), "phone_head.linear.weight"
    for phones, same in ((phone_bundle.phones, True), (phone_bundle.phones[::-1], False)):
        model = AcousticModel(phone_bundle.model.config)
        fresh = model.state_dict()[name].clone()
        take_weights(model, phone_bundle.tokenizer, phone_bundle, phones)
        assert torch.equal(model.state_dict()[name], old[name] if same else fresh)
        assert torch.equal(model.state_dict()["head.linear.weight"], old["head.linear.weight"])
    without = AcousticModel(replace(phone_bundle.model.config, num_phones=0))
    take_weights(without, phone_bundle.tokenizer, phone_bundle)
    assert torch.equal(without.state_dict()["head.linear.weight"], old["head.linear.weight"])


def test_a_lexicon_of_fewer_phones_keeps_the_head(
    phone_bundle: Bundle, tiny_bundle: Bundle
) -> None:
    few = Lexicon.of({}, phone_bundle.phones[:5])
    assert with_phones_of(phone_bundle, few).phones == phone_bundle.phones
    others = Lexicon.of({}, (*phone_bundle.phones[:5], "ZH"))
    for start in (phone_bundle, tiny_bundle, None):
        assert with_phones_of(start, others) is others


def test_the_lexicon_is_the_runs_own_or_its_starts_or_the_one_that_comes_with_asr(
    tmp_path: Path, tiny_bundle: Bundle
) -> None:
    config = load_config(["recipe=librispeech/mini", "loss.phone_weight=0.5"])
    start = replace(tiny_bundle, lexicon=tmp_path / "start.txt")
    own = replace(config, loss=replace(config.loss, lexicon="own.txt"))
    assert lexicon_path(own, start) == Path("own.txt")
    assert lexicon_path(config, start) == tmp_path / "start.txt"
    for other in (tiny_bundle, None):
        words = read_lexicon(lexicon_path(config, other)).words
        assert words["speech"][0] == ("S", "P", "IY", "CH")


def test_a_run_starts_from_a_bundle_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts without "d" keep the bundle's vocabulary; a new letter is added to it; resume wins."""
    write_corpus(tmp_path, train=24, dev=4)
    write_recipe(tmp_path)
    short = ["trainer.max_epochs=1", "scheduler.warmup_steps=1000", "logger=csv"]
    train([*overrides(tmp_path, tmp_path / "first"), *short])
    start = tmp_path / "first/bundle"
    utterances = read_manifest(tmp_path / "train.jsonl")
    for name, text in (("few", "a b"), ("more", "a z")):
        changed = [replace(utterance, text=text) for utterance in utterances]
        write_manifest(tmp_path / f"{name}.jsonl", changed)
    run = [*overrides(tmp_path, tmp_path / "few"), *short, f"init_from={start}"]
    trained = train([*run, f"data.train=[{tmp_path / 'few.jsonl'}]", "optimizer.lr=1e-9"])
    assert "starting from" in (said := capsys.readouterr().err)
    assert "all weights of model" in said
    old, new = load_bundle(start), load_bundle(trained.bundle_path)
    assert new.tokenizer == old.tokenizer
    for name, tensor in new.model.state_dict().items():
        torch.testing.assert_close(tensor, old.model.state_dict()[name], rtol=0, atol=1e-6)
    resumed = [*run, f"data.train=[{tmp_path / 'few.jsonl'}]", "resume=true", "optimizer.lr=1e-9"]
    train([*resumed, "trainer.max_epochs=2"])
    assert "starting from" not in (said := capsys.readouterr().err)
    assert "resuming" in said
    other = [*overrides(tmp_path, tmp_path / "more"), *short, f"init_from={start}"]
    trained = train([*other, f"data.train=[{tmp_path / 'more.jsonl'}]"])
    assert "6 tokens kept, new: 'z'; gone: none" in capsys.readouterr().err
    assert load_bundle(trained.bundle_path).tokenizer.tokens == (*old.tokenizer.tokens, "z")
