"""Speed and accuracy of CTC decoders with a 3-gram, ours and others, on the same log-probabilities.

    python -P scripts/bench/decoders.py --text ../shared/data/lm/train-clean-100.txt.gz \
        [--peers OTHER_PYTHON] [--model BUNDLE --manifest DEV.jsonl]

200 utterances of 400 frames and 32 classes are made from the last lines of the text, the 3-gram from
the others; --model adds real log-probabilities. OTHER_PYTHON is an interpreter with the peers that
install: flashlight-text, pyctcdecode + kenlm, fast-ctc-decode. Times are CPU seconds of the decoding
process, so a busy machine disturbs them little; the last table is wall time.
"""

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray

from asr.decoding.arpa_writer import write_arpa
from asr.decoding.beam import BeamDecoder
from asr.decoding.beam_options import BeamOptions
from asr.decoding.greedy import greedy_decode
from asr.decoding.hotwords import Hotword, build_hotwords
from asr.decoding.language import word_language_model
from asr.decoding.lexicon import Alphabet
from asr.decoding.ngram import NgramModel
from asr.lm import LmOptions, train_language_model
from asr.lm_text import TextSource, number_words, read_sentences

TOKENS = ("<blank>", " ", "'", *"abcdefghijklmnopqrstuvwxyz", "0", "1", "2")
LM_WEIGHT, WORD_BONUS = 1.0, 0.5
REPEATS = 2
Matrix = NDArray[np.float32]


def speak(words: Sequence[str], num_frames: int, rng: np.random.Generator) -> tuple[str, Matrix]:
    """Peaky log-probabilities (T, V) of as many words as fit: 60 % of the frames are blank."""
    logits = rng.normal(0, 1.0, (num_frames, len(TOKENS)))
    frame, spoken = 0, 0
    for word in words:
        runs, gaps = rng.integers(1, 3, len(word) + 1), rng.integers(1, 4, len(word) + 1)
        if frame + int(runs.sum() + gaps.sum()) > num_frames:
            break
        for char, run, gap in zip(word + " ", runs, gaps, strict=True):
            target = TOKENS.index(char)
            likely = 9.0
            if rng.random() < 0.12:  # two candidates, the wrong one often ahead
                likely = 7.0
                logits[frame : frame + run, int(rng.integers(2, 29))] += rng.normal(7.2, 1.0)
            logits[frame : frame + run, target] += likely
            logits[frame + run : frame + run + gap, 0] += 9.0
            frame += int(run + gap)
        spoken += 1
    logits[frame:, 0] += 9.0
    normalised = torch.log_softmax(torch.from_numpy(logits), dim=1).float().numpy()
    return " ".join(words[:spoken]), normalised


def synthetic(
    sentences: Sequence[Sequence[str]], known: frozenset[str]
) -> tuple[list[str], list[Matrix]]:
    rng = np.random.default_rng(0)
    texts, utterances = [], []
    for first in range(0, 600, 3):
        words = [w for words in sentences[first : first + 3] for w in words if w in known]
        reference, log_probs = speak(words, 400, rng)
        texts.append(reference)
        utterances.append(log_probs)
    return texts, utterances


def real(model: str, manifest: Path, count: int) -> tuple[list[str], list[Matrix], list[str]]:
    from asr.manifest import read_manifest
    from asr.text import normalize
    from asr.transcribe import load_model, trim
    from asr.utterances import load_utterance

    recognizer = load_model(model, device="cpu")
    texts, utterances = [], []
    for utterance in read_manifest(manifest)[:count]:
        waveform = torch.from_numpy(load_utterance(utterance, recognizer.sample_rate))
        output = recognizer.forward(waveform[None], torch.tensor([len(waveform)]))
        utterances.append(trim(output)[0].tokens)
        texts.append(normalize(utterance.text, recognizer.bundle.normalizer))
    return texts, utterances, list(recognizer.bundle.tokenizer.tokens)


def best_cpu_time(decode: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """The least CPU time of REPEATS runs, and what was decoded."""
    decode()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        texts = decode()
        times.append(time.process_time() - start)
    return min(times), texts


def total_score(log_probs: Matrix, text: str, tokens: Sequence[str], ngram: NgramModel) -> float:
    """What all decoders seek to maximise, with all paths of the text summed; -inf: unknown words."""
    if any(word not in ngram.word_ids for word in text.split()):
        return -math.inf
    ids = torch.tensor([[tokens.index(char) for char in text]], dtype=torch.long)
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_probs)[:, None].double(), ids, torch.tensor([len(log_probs)]),
        torch.tensor([ids.shape[1]]), reduction="sum",
    )  # fmt: skip
    return -float(loss) + LM_WEIGHT * ngram.score(text) + WORD_BONUS * len(text.split())


def ours(
    utterances: list[Matrix], tokens: Sequence[str], ngram: NgramModel
) -> dict[str, tuple[float, list[str]]]:
    alphabet = Alphabet.from_tokens(tokens)
    model = word_language_model(ngram, alphabet, lambda word: [tokens.index(c) for c in word])
    names = sorted(word for word in ngram.words if word.isalpha() and len(word) > 7)
    hot = build_hotwords(
        [Hotword(tuple(tokens.index(char) for char in word), 3.0) for word in names[:500]], alphabet
    )

    def text_of(ids: Sequence[int]) -> str:
        return " ".join("".join(tokens[i] for i in ids).split())

    rows = {
        "asr greedy": best_cpu_time(
            lambda: [text_of(greedy_decode(u).token_ids) for u in utterances]
        )
    }
    default = BeamOptions(lm_weight=LM_WEIGHT, word_bonus=WORD_BONUS)
    wide = replace(default, token_min_logp=-8.0, beam_threshold=20.0)
    for name, options, lm, hotwords in (
        ("asr beam 64, no LM", default, None, None),
        ("asr beam 16 + 3-gram", replace(default, beam_size=16), model, None),
        ("asr beam 64 + 3-gram", default, model, None),
        ("asr beam 256 + 3-gram", replace(default, beam_size=256), model, None),
        ("asr beam 64 + 3-gram + 500 hot words", default, model, hot),
        ("asr beam 64 + 3-gram, tokens above -8, threshold 20", wide, model, None),
    ):
        decoder = BeamDecoder(alphabet, options, lm, hotwords)
        rows[name] = best_cpu_time(
            lambda decoder=decoder: [text_of(h.token_ids) for h in decoder.decode_batch(utterances)]
        )
    return rows


def peers(
    python: str, utterances: list[Matrix], tokens: Sequence[str], ngram: NgramModel
) -> dict[str, tuple[float, list[str]]]:
    worker = Path(__file__).with_name("decoder_peers.py")
    with tempfile.TemporaryDirectory() as folder:
        write_arpa(ngram, Path(folder) / "lm.arpa")
        np.savez(Path(folder) / "log_probs.npz", *utterances)
        words = [word for word in ngram.words if not word.startswith("<")]
        task = {
            "tokens": list(tokens), "words": words, "lm_weight": LM_WEIGHT,
            "word_bonus": WORD_BONUS, "repeats": REPEATS,
        }  # fmt: skip
        (Path(folder) / "task.json").write_text(json.dumps(task))
        subprocess.run([python, str(worker), folder], check=True)
        found = json.loads((Path(folder) / "result.json").read_text())
    return {name: (seconds, texts) for name, (seconds, texts) in found.items()}


def scaling(utterances: list[Matrix], tokens: Sequence[str], ngram: NgramModel) -> None:
    alphabet = Alphabet.from_tokens(tokens)
    model = word_language_model(ngram, alphabet, lambda word: [tokens.index(c) for c in word])
    decoder = BeamDecoder(alphabet, BeamOptions(), model)
    print("\n| threads | utterances / s of wall time |\n|---|---|")
    for threads in (1, 2):
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            decoder.decode_batch(utterances, threads)
            times.append(time.perf_counter() - start)
        print(f"| {threads} | {len(utterances) / min(times):.0f} |")


def table(
    title: str, references: list[str], utterances: list[Matrix], tokens: Sequence[str],
    ngram: NgramModel, other_python: str | None,
) -> None:  # fmt: skip
    rows = ours(utterances, tokens, ngram)
    if other_python:
        rows |= peers(other_python, utterances, tokens, ngram)
    frames = sum(map(len, utterances))
    best = [
        total_score(u, text, tokens, ngram)
        for u, text in zip(utterances, rows["asr beam 64 + 3-gram"][1], strict=True)
    ]
    print(f"\n{title}: {len(utterances)} utterances, {frames} frames\n")
    print("| decoder | utterances / CPU s | WER % | total score at least as good as asr beam 64 |")
    print("|---|---|---|---|")
    for name, (seconds, texts) in rows.items():
        wer = 100 * jiwer.wer(references, texts)
        equal = sum(
            total_score(u, text, tokens, ngram) >= score - 1e-3
            for u, text, score in zip(utterances, texts, best, strict=True)
        )
        print(f"| {name} | {len(utterances) / seconds:.0f} | {wer:.2f} | {equal} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="lines of 'ID TEXT'")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has the peers")
    parser.add_argument("--model", help="bundle for real log-probabilities")
    parser.add_argument("--manifest", type=Path)
    arguments = parser.parse_args()
    sentences = list(read_sentences(TextSource((arguments.text,), skip_fields=1)))
    corpus = number_words(sentences[:-600], max_words=13_900)
    ngram = train_language_model(corpus, LmOptions(3))
    print(f"3-gram: {ngram.counts} n-grams; CPU seconds, best of {REPEATS}, one thread")
    references, utterances = synthetic(sentences[-600:], frozenset(ngram.words))
    table("made", references, utterances, TOKENS, ngram, arguments.peers)
    scaling(utterances, TOKENS, ngram)
    if arguments.model:
        references, utterances, tokens = real(arguments.model, arguments.manifest, 200)
        table("real", references, utterances, tokens, ngram, arguments.peers)


if __name__ == "__main__":
    main()
