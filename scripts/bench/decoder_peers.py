"""Other CTC decoders, run by decoders.py in an interpreter that has them: FOLDER -> result.json."""

import json
import sys
import time
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
task = json.loads((folder / "task.json").read_text())
tokens, words = task["tokens"], task["words"]
with np.load(folder / "log_probs.npz") as archive:
    utterances = [archive[name] for name in archive.files]
results: dict[str, tuple[float, list[str]]] = {}


def measure(name, decode):
    decode(utterances[0])
    best = float("inf")
    for _ in range(task["repeats"]):
        start = time.process_time()
        texts = [" ".join(decode(log_probs).split()) for log_probs in utterances]
        best = min(best, time.process_time() - start)
    results[name] = (best, texts)


def flashlight():
    from flashlight.lib.text.decoder import (
        CriterionType,
        KenLM,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.dictionary import create_word_dict

    lexicon = {word: [[*word, " "]] for word in words} | {"<unk>": []}
    dictionary = create_word_dict(lexicon)
    lm = KenLM(str(folder / "lm.arpa"), dictionary)
    trie = Trie(len(tokens), tokens.index(" "))
    start = lm.start(False)
    for word in words:
        index = dictionary.get_index(word)
        score = lm.score(start, index)[1]
        trie.insert([tokens.index(char) for char in [*word, " "]], index, score)
    trie.smear(SmearingMode.MAX)
    for size, per_frame, threshold in ((64, len(tokens), 20), (64, 8, 15)):
        options = LexiconDecoderOptions(
            beam_size=size, beam_size_token=per_frame, beam_threshold=threshold,
            lm_weight=task["lm_weight"] * np.log(10), word_score=task["word_bonus"],
            unk_score=-np.inf, sil_score=0, log_add=True, criterion_type=CriterionType.CTC,
        )  # fmt: skip
        decoder = LexiconDecoder(
            options, trie, lm, tokens.index(" "), 0, dictionary.get_index("<unk>"), [], False
        )

        def decode(log_probs, decoder=decoder):
            log_probs = np.ascontiguousarray(log_probs)
            best = decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
            return " ".join(dictionary.get_entry(w) for w in best.words if w >= 0)

        measure(f"flashlight-text beam {size} + 3-gram, {per_frame} tokens, {threshold}", decode)


def pyctcdecode():
    from pyctcdecode import build_ctcdecoder

    labels = ["" if token == "<blank>" else token for token in tokens]
    decoder = build_ctcdecoder(
        labels, str(folder / "lm.arpa"), words, alpha=task["lm_weight"], beta=task["word_bonus"]
    )
    measure("pyctcdecode beam 64 + 3-gram", lambda x: decoder.decode(x, beam_width=64))
    hot = sorted(word for word in words if word.isalpha() and len(word) > 7)[:20]
    measure(
        "pyctcdecode beam 64 + 3-gram + 20 hot words",
        lambda x: decoder.decode(x, beam_width=64, hotwords=hot),
    )


def fast_ctc_decode():
    from fast_ctc_decode import beam_search

    names = [chr(0x100 + i) for i in range(len(tokens))]

    def decode(log_probs):
        text, _ = beam_search(np.exp(log_probs), names, beam_size=64, beam_cut_threshold=0.0003)
        return "".join(tokens[ord(char) - 0x100] for char in text)

    measure("fast-ctc-decode beam 64, no LM", decode)


for peer in (flashlight, pyctcdecode, fast_ctc_decode):
    try:
        peer()
    except ImportError as error:
        print(f"{peer.__name__} is left out: {error}", file=sys.stderr)
(folder / "result.json").write_text(json.dumps(results))
