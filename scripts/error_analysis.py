"""Where a model's errors on dev-clean come from, in Markdown tables.

    python scripts/error_analysis.py --model asr/pretrained --data data/released

Manifests, and texts if there are any, are those of `scripts/release`; the model has a language model in
its bundle. Answers: does the network know its own training speech better than new speakers? Are the
words that fail those that training never heard, or seldom read? How near are they? What does the
language model mend and spoil? Where a transcript is wrong, who preferred it to the truth: the search,
the language model or the network?
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from asr.binding import lexicon_of
from asr.bundle import SHIPPED
from asr.ctc import ctc_losses
from asr.decoder_noise import without_decoder_noise
from asr.decoding.arpa import load_ngram
from asr.decoding.hypothesis import Hypothesis, LogProbs
from asr.decoding.ngram import NgramModel
from asr.evaluate import for_each_waveform
from asr.lm_text import TextSource, read_sentences
from asr.manifest import Utterance, read_manifest
from asr.scoring import CorpusScore, score
from asr.text import get_normalizer
from asr.transcribe import Recognizer, load_model

HEARD_EDGES = (1, 10, 100)  # times that training heard a word
READ_EDGES = (1, 10, 30, 100, 300, 1000, 3000)  # times that the texts have a word
LENGTH_EDGES = (3, 5, 7, 9)  # characters of a word
Waveforms = Sequence[NDArray[np.float32]]
Found = TypeVar("Found")
TEXTS = ("novels.txt.xz", "train-clean-100.txt")
TRAINING = ("train-clean-5", "train-clean-100", "speechocean762/train", "kathleen/train")


@dataclass(frozen=True)
class Decoded:
    """An utterance's log-probabilities and what each decoder writes."""

    utterance: Utterance
    log_probs: LogProbs
    greedy: str
    n_best: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Decode dev-clean and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--data", type=Path, default=Path("data/released"))
    parser.add_argument("--trained-on", nargs="+", default=TRAINING, metavar="MANIFEST")
    parser.add_argument("--fit", type=int, default=150, help="training utterances to decode")
    options = parser.parse_args(arguments)
    recognizer = load_model(options.model)
    bundle = recognizer.bundle
    if recognizer.decoder.beam is None or bundle.language_model is None:
        parser.error(f"{options.model} has no language model")
    normalize = get_normalizer(bundle.normalizer)
    ngram = load_ngram(bundle.language_model)
    training = {name: read_manifest(options.data / f"{name}.jsonl") for name in options.trained_on}
    heard = Counter(
        word for part in training.values() for one in part for word in normalize(one.text).split()
    )
    with without_decoder_noise():
        decoded = decode(read_manifest(options.data / "dev-clean.jsonl"), recognizer, n_best=True)
        fit = {
            name: decode(part[:: max(1, len(part) // options.fit)], recognizer, n_best=False)
            for name, part in training.items()
        }
    references = {one.utterance.utterance_id: normalize(one.utterance.text) for one in decoded}
    greedy, best = (
        score(references, {one.utterance.utterance_id: pick(one) for one in decoded})
        for pick in (lambda one: one.greedy, lambda one: one.n_best[0])
    )
    print_fit(greedy, fit, normalize)
    print_words("times in training", greedy, best, lambda word: heard[word], HEARD_EDGES)
    texts = tuple(options.data / name for name in TEXTS)
    if all(text.exists() for text in texts):
        read = Counter(
            itertools.chain.from_iterable(read_sentences(TextSource(texts, bundle.normalizer)))
        )
        print_words("times in the texts", greedy, best, lambda word: read[word], READ_EDGES)
    print_words("characters", greedy, best, len, LENGTH_EDGES)
    print_nearness(greedy, best)
    print_mended(greedy, best)
    print_oracle(decoded, references)
    print_culprits(decoded, references, recognizer, ngram)


def decode(
    utterances: Sequence[Utterance], recognizer: Recognizer, *, n_best: bool
) -> list[Decoded]:
    """Greedily, and where asked for what the recognizer writes, before the others of its search."""

    def heard(listen: Callable[[Waveforms], Sequence[Found]]) -> dict[str, Found]:
        found, failures = for_each_waveform(utterances, recognizer.sample_rate, listen)
        if failures:
            raise SystemExit("\n".join(failures))
        return found

    def texts(hypotheses: Sequence[Hypothesis]) -> list[str]:
        return [recognizer.to_transcript(one, 0.0).text for one in hypotheses]

    greedy = heard(Recognizer(recognizer.bundle).transcribe_batch)
    names = [one.utterance_id for one in utterances]
    if not n_best:
        nothing = LogProbs(np.zeros((0, 0), np.float32))
        return [
            Decoded(one, nothing, greedy[name].text, ())
            for one, name in zip(utterances, names, strict=True)
        ]
    decoder, beam, threads = recognizer.decoder, recognizer.decoder.beam, torch.get_num_threads()
    assert beam is not None
    searched = heard(recognizer.decodable)
    own = texts(decoder.decode_batch([searched[name] for name in names], threads))
    others = beam.n_best_batch(
        [decoder.searched(searched[name]) for name in names], beam.options.beam_size, threads
    )
    return [
        Decoded(one, searched[name], greedy[name].text, tuple(dict.fromkeys([best, *texts(more)])))
        for one, name, best, more in zip(utterances, names, own, others, strict=True)
    ]


def print_fit(
    greedy: CorpusScore, fit: Mapping[str, Sequence[Decoded]], normalize: Callable[[str], str]
) -> None:
    """Greedy WER of training speech, as it is, beside new speakers'."""
    print("| speech | utterances | greedy WER % | CER % |\n|---|---|---|---|")
    scores = {
        name: score(
            {one.utterance.utterance_id: normalize(one.utterance.text) for one in part},
            {one.utterance.utterance_id: one.greedy for one in part},
        )
        for name, part in fit.items()
    }
    for name, one in {"dev-clean": greedy, **scores}.items():
        print(f"| {name} | {len(one.utterances)} | {percent(one.wer)} | {percent(one.cer)} |")


def print_words(
    title: str,
    greedy: CorpusScore,
    best: CorpusScore,
    value_of: Callable[[str], int],
    edges: Sequence[int],
) -> None:
    """Reference words by a number: their share of the text, and how many are wrong."""

    def wrong(found: CorpusScore) -> tuple[Counter[int], Counter[int]]:
        words, errors = Counter[int](), Counter[int]()
        for reference, right in judged(found):
            group = sum(value_of(reference) >= edge for edge in edges)
            words[group] += 1
            errors[group] += not right
        return words, errors

    (words, greedy_errors), (_, best_errors) = wrong(greedy), wrong(best)
    print(f"\n| {title} | share of words % | wrong, greedy % | wrong, language model % |")
    print("|---|---|---|---|")
    lows, highs = (0, *edges), (*(edge - 1 for edge in edges), None)
    for group, (low, high) in enumerate(zip(lows, highs, strict=True)):
        label = (
            f"{low} and more" if high is None else f"{low}" if low == high else f"{low} to {high}"
        )
        share = words[group] / words.total()
        cells = [
            percent(errors[group] / max(1, words[group])) for errors in (greedy_errors, best_errors)
        ]
        print(f"| {label} | {percent(share)} | {' | '.join(cells)} |")


def judged(found: CorpusScore) -> Iterable[tuple[str, bool]]:
    """Each reference word, and whether it was heard."""
    for utterance in found.utterances:
        for operation, reference, _ in utterance.pairs():
            if reference is not None:
                yield reference, operation == "equal"


def print_nearness(greedy: CorpusScore, best: CorpusScore) -> None:
    """Substituted words by how many characters they are off."""
    print("\n| characters off, of substituted words | greedy % | language model % |\n|---|---|---|")
    columns = []
    for found in (greedy, best):
        distances = Counter(
            min(4, Levenshtein.distance(reference or "", hypothesis or ""))
            for utterance in found.utterances
            for operation, reference, hypothesis in utterance.pairs()
            if operation == "substitute"
        )
        columns.append([distances[distance] / distances.total() for distance in range(1, 5)])
    for distance, shares in enumerate(zip(*columns, strict=True), start=1):
        label = "4 and more" if distance == 4 else f"{distance}"
        print(f"| {label} | {' | '.join(map(percent, shares))} |")


def print_mended(greedy: CorpusScore, best: CorpusScore) -> None:
    """Reference words by who heard them."""
    both = Counter(
        (with_greedy, with_best)
        for (_, with_greedy), (_, with_best) in zip(judged(greedy), judged(best), strict=True)
    )
    print("\n| reference words | % |\n|---|---|")
    for label, key in (
        ("right with both", (True, True)),
        ("mended by the language model", (False, True)),
        ("spoilt by the language model", (True, False)),
        ("wrong with both", (False, False)),
    ):
        print(f"| {label} | {percent(both[key] / both.total())} |")


def print_oracle(decoded: Sequence[Decoded], references: Mapping[str, str]) -> None:
    """WER of the best of the first n hypotheses."""
    print("\n| best of the first n hypotheses | WER % |\n|---|---|")
    counts = [1, 4, 16, max(len(one.n_best) for one in decoded)]
    for count in counts:
        errors = words = 0
        for one in decoded:
            reference = references[one.utterance.utterance_id].split()
            errors += min(
                Levenshtein.distance(reference, text.split()) for text in one.n_best[:count]
            )
            words += len(reference)
        print(f"| {count} | {percent(errors / words)} |")


def print_culprits(
    decoded: Sequence[Decoded],
    references: Mapping[str, str],
    recognizer: Recognizer,
    ngram: NgramModel,
) -> None:
    """Wrong transcripts by what ranked them before the truth."""
    decoder, beam = recognizer.decoder, recognizer.decoder.beam
    assert beam is not None
    options, lexicon = beam.options, lexicon_of(recognizer.bundle)
    known = ngram.word_ids.keys() & lexicon.words.keys() if lexicon else ngram.word_ids.keys()
    encode = lexicon.encode if lexicon else recognizer.bundle.tokenizer.encode

    def acoustic(one: Decoded, text: str) -> float:
        ids, log_probs = encode(text), beam.scaled(decoder.searched(one.log_probs))
        loss = ctc_losses(
            torch.from_numpy(log_probs)[None], torch.tensor([len(log_probs)]),
            torch.tensor([ids]), torch.tensor([len(ids)]),
        )  # fmt: skip
        return -float(loss)

    def linguistic(text: str) -> float:
        log_prob, second = ngram.score(text), decoder.rescoring
        if second is not None:
            (neural,) = second.bound.rescorer.score([text.split()])
            log_prob += second.share * (neural - log_prob)
        return options.lm_weight * log_prob + options.word_bonus * len(text.split())

    found: Counter[str] = Counter()
    for one in decoded:
        truth, heard = references[one.utterance.utterance_id], one.n_best[0]
        if truth == heard:
            found["none: it is right"] += 1
        elif any(word not in known for word in truth.split()):
            found["vocabulary: the truth has a word that the language model lacks"] += 1
        else:
            network = acoustic(one, truth) - acoustic(one, heard)
            language = linguistic(truth) - linguistic(heard)
            if network + language > 0:
                found["search: the truth scores better"] += 1
            elif network > 0:
                found["language model: the network prefers the truth"] += 1
            elif language > 0:
                found["network: the language model prefers the truth"] += 1
            else:
                found["both prefer what was written"] += 1
    print("\n| whose error | utterances | % |\n|---|---|---|")
    for label, count in found.most_common():
        print(f"| {label} | {count} | {percent(count / len(decoded))} |")


def percent(share: float) -> str:
    """With one decimal.

    >>> percent(0.1234)
    '12.3'
    """
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
