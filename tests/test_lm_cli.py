"""`asr lm train`, `asr lm train-rnn` and `asr lm info`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from asr.bundle import Bundle, save_bundle
from asr.cli.lm import register
from asr.decoding.arpa import load_ngram
from asr.errors import AsrError, UsageError
from asr.rnnlm import RnnLmConfig, load_rescorer

TEXT = "The cat sat. The dog sat!\nA cat and a dog; 2 cats\n" * 3


def run(*arguments: object) -> str:
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    result = CliRunner().invoke(app, ["lm", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_then_info(tmp_path: Path) -> None:
    text, out = tmp_path / "t.txt", tmp_path / "lm"
    text.write_text(TEXT)
    printed = run("train", text, "--order", 2, "-o", out)
    assert f"{out / 'lm.ngram'}" in printed
    assert "11 1-grams" in printed  # the cat sat dog a and two cats; <unk> <s> </s>
    assert sorted(path.name for path in out.iterdir()) == ["lm.arpa", "lm.ngram"]
    sentence = "the cat and two dogs"
    compiled, arpa = load_ngram(out / "lm.ngram"), load_ngram(out / "lm.arpa")
    assert compiled.score(sentence) == pytest.approx(arpa.score(sentence), abs=1e-5)
    heard = tmp_path / "heard.txt"
    heard.write_text("The cat and two dogs.\n")
    lines = dict(line.split(maxsplit=1) for line in run("info", out, heard).splitlines())
    assert lines["order"] == "2"
    assert lines["unknown"] == "1 words, 20.00 %"
    expected = 2.718281828 ** (-compiled.score(sentence) / 6)
    assert float(lines["perplexity"].split()[0]) == pytest.approx(expected, abs=0.01)


def test_train_rnn_then_info(tmp_path: Path) -> None:
    text, out = tmp_path / "t.txt", tmp_path / "rnn"
    text.write_text("".join(f"id{i} {line}\n" for i, line in enumerate(TEXT.splitlines())))
    sizes = ("--vocab-size", 26, "--embedding-size", 8, "--hidden-size", 16, "--layers", 2)
    options = ("--epochs", 3, "--batch-pieces", 32, "--lr", 0.01, "--seed", 3, "--skip-fields", 1)
    printed = run("train-rnn", text, "-o", out, *sizes, *options, "--weights", "float16")
    assert printed.startswith(f"{out / 'rnnlm.safetensors'}  0.0 MB")
    assert [path.name for path in out.iterdir()] == ["rnnlm.safetensors"]
    rescorer = load_rescorer(out / "rnnlm.safetensors")
    assert rescorer.network.config == RnnLmConfig(26, 8, 16, 2)
    assert load_file(out / "rnnlm.safetensors")["bias"].dtype == torch.float16
    heard = tmp_path / "heard.txt"
    heard.write_text("The cat and two dogs.\nA dog\n")
    lines = dict(
        line.split(maxsplit=1)
        for line in run("info", out / "rnnlm.safetensors", heard).splitlines()
    )
    assert lines["network"] == "2 x 16 LSTM"
    assert lines["vocabulary"] == "26 pieces, text normaliser asr-en-1"
    assert lines["text"] == "2 sentences, 7 words"
    expected = rescorer.perplexity([["the", "cat", "and", "two", "dogs"], ["a", "dog"]])
    assert float(lines["perplexity"]) == pytest.approx(expected, abs=0.01)
    assert "parameters" in run("info", out / "rnnlm.safetensors")
    with pytest.raises(UsageError, match=r"--vocab-size=2001: the training texts give \d+ tokens"):
        run("train-rnn", text, "-o", out)


def test_a_neural_model_goes_on_with_other_texts(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """From its file, its folder or a bundle that has it; the pieces stay, and it fits the new text."""
    text, more, out = tmp_path / "t.txt", tmp_path / "more.txt", tmp_path / "rnn"
    text.write_text(TEXT.upper())
    more.write_text("A dog and a dog and a dog, ~\n" * 20)
    sizes = ("--vocab-size", 26, "--embedding-size", 8, "--hidden-size", 16)
    few = ("--epochs", 3, "--batch-pieces", 32, "--lr", 0.01, "--weights", "float32")
    run("train-rnn", text, "-o", out, *sizes, *few)
    before = load_rescorer(out)
    heard = [["a", "dog", "and", "a", "dog", "and", "a", "dog"]]
    bundle = save_bundle(replace(tiny_bundle, rnnlm=out / "rnnlm.safetensors"), tmp_path / "bundle")
    learnt = []
    for number, start in enumerate((out, out / "rnnlm.safetensors", bundle)):
        again = tmp_path / f"again{number}"
        run("train-rnn", more, "-o", again, "--init-from", start, *few)
        learnt.append(load_rescorer(again))
    for after in learnt:
        assert after.tokenizer == before.tokenizer
        assert after.network.config == before.network.config
        assert after.perplexity(heard) == learnt[0].perplexity(heard)
    assert learnt[0].perplexity(heard) < 0.8 * before.perplexity(heard)
    run("train-rnn", more, "-o", tmp_path / "same", "--init-from", out, *few, "--lr", 1e-9)
    same = load_rescorer(tmp_path / "same").perplexity(heard)
    assert same == pytest.approx(before.perplexity(heard), rel=1e-4)
    bare = save_bundle(tiny_bundle, tmp_path / "bare")
    for options, message in (
        (("--hidden-size", 16), "--hidden-size is that of the model of --init-from"),
        (("--layers", 1), "--layers is that of the model"),
        (("--normalizer", "none"), "learnt texts of the normaliser asr-en-1"),
        (("--init-from", bare), "has no neural language model"),
        (("--init-from", tmp_path / "absent"), "cannot read|No such file"),
    ):
        with pytest.raises(AsrError, match=message):
            run("train-rnn", more, "-o", tmp_path / "no", "--init-from", out, *options)
    assert not (tmp_path / "no").exists()


def test_info_of_a_neural_model_reads_a_text_as_the_model_does(tmp_path: Path) -> None:
    text, out, heard = tmp_path / "t.txt", tmp_path / "rnn", tmp_path / "heard.txt"
    text.write_text(TEXT.upper())
    sizes = ("--vocab-size", 26, "--embedding-size", 8, "--hidden-size", 16, "--epochs", 1)
    run("train-rnn", text, "-o", out, *sizes, "--batch-pieces", 32, "--normalizer", "none")
    model = out / "rnnlm.safetensors"
    heard.write_text("A CAT ~ A~ É DOG\n")

    def told(*options: str) -> dict[str, str]:
        lines = run("info", model, heard, *options).splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    lines = told()
    assert lines["unknown"] == "3 characters, left out of the score: ~ 2, É 1"
    expected = load_rescorer(model).perplexity([["A", "CAT", "~", "A~", "É", "DOG"]])
    assert float(lines["perplexity"]) == pytest.approx(expected, abs=0.01)
    assert told("--normalizer", "asr-en-1")["text"] == "1 sentences, 5 words"
    heard.write_text("A CAT\n")
    assert told()["unknown"] == "0 characters"
    heard.write_text("\n")
    with pytest.raises(UsageError, match="the text has no words in it"):
        run("info", model, heard)


def test_options_reach_the_model(tmp_path: Path) -> None:
    text, out = tmp_path / "t.txt", tmp_path / "lm"
    text.write_text("".join(f"id{i} {line}\n" for i, line in enumerate(TEXT.splitlines())))
    options = ("--vocab-size", 2, "--skip-fields", 1, "--normalizer", "none", "--no-arpa")
    run("train", text, "-o", out, "--prune", "0 0 99", *options)
    model = load_ngram(out)
    assert len(model.words) == 5
    assert "id0" not in model.words
    assert model.counts[2] == 0
    assert not (out / "lm.arpa").exists()


def test_words_of_a_list_are_known_though_no_text_has_them(tmp_path: Path) -> None:
    text, first, second = (tmp_path / name for name in ("t.txt", "names.txt", "more.txt"))
    text.write_text(TEXT)
    first.write_text("Zanzibar\nPopcorn\n")
    second.write_text("popcorn, television\n")
    run(
        "train", text, "-o", tmp_path / "lm", "--words", first, "--words", second, "--vocab-size", 1
    )
    words = load_ngram(tmp_path / "lm").words
    assert words[-3:] == ("zanzibar", "popcorn", "television")
    assert len(words) == 3 + 1 + 3
    with pytest.raises(AsrError, match="No such file"):
        run("train", text, "--words", tmp_path / "absent.txt", "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_mistakes_are_explained(tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text(TEXT)
    with pytest.raises(UsageError, match="'0 0 1'"):
        run("train", text, "--prune", "many")
    with pytest.raises(UsageError, match="order must be"):
        run("train", text, "--order", 9)
    with pytest.raises(UsageError, match="normaliser"):
        run("train", text, "--normalizer", "nope", "-o", tmp_path / "lm")
    assert not (tmp_path / "lm").exists()
    with pytest.raises(AsrError, match="No such file"):
        run("train", tmp_path / "absent.txt", "-o", tmp_path / "lm")
    for command in ("train", "train-rnn"):
        with pytest.raises(AsrError, match="cannot make the folder"):
            run(command, text, "-o", text)


def test_marks_of_the_ends_of_sentences_are_not_words(tmp_path: Path) -> None:
    """As SRILM's and Kaldi's texts have them."""
    bare, marked = tmp_path / "bare.txt", tmp_path / "marked.txt"
    bare.write_text(TEXT)
    marked.write_text("".join(f"<s> {line} </s>\n" for line in TEXT.splitlines()))
    for normalizer in ("none", "asr-en-1"):
        for text in (bare, marked):
            run("train", text, "-o", tmp_path / text.stem, "--order", 2, "--normalizer", normalizer)
        written = [(tmp_path / one.stem / "lm.arpa").read_bytes() for one in (bare, marked)]
        assert written[0] == written[1]
    marked.write_text("<s> one </s> <s> two </s>\n")
    with pytest.raises(AsrError, match=r"marked.txt, line 1: <s> or </s> within a sentence"):
        run("train", marked, "-o", tmp_path / "lm", "--normalizer", "none")
