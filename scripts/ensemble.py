"""The WER of several networks in one search: the mean of what they hear of the phones.

    python scripts/ensemble.py data/released/dev-clean.jsonl asr/pretrained models/librispeech-released

The first model's search, language models and number of views are used; the others write the same phones,
a frame as long. What is averaged are log-probabilities, as of views (`asr.warp`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.decoder_noise import without_decoder_noise
from asr.decoding.hypothesis import LogProbs
from asr.errors import UsageError
from asr.evaluate import for_each_waveform, score_texts
from asr.manifest import read_manifest
from asr.scoring import CorpusScore
from asr.transcribe import Recognizer, load_model


def main(arguments: Sequence[str] | None = None) -> None:
    """Decode a manifest and print its WER."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    first, *others = options.models
    networks = [load_model(first), *(load_model(model, decoder="greedy") for model in others)]
    with without_decoder_noise():
        result = evaluate(options.manifest, networks)
    names = " + ".join(map(str, options.models))
    count = len(result.utterances)
    print(f"{options.manifest}: WER {100 * result.wer:.2f} % on {count} utterances, {names}")


def evaluate(manifest: Path, networks: Sequence[Recognizer]) -> CorpusScore:
    """Score what the first one's search makes of all.

    Raises:
        UsageError: the first has no search over phones, or another has other phones.
    """
    first = networks[0]
    if not first.decoder.over_phones:
        raise UsageError("the first model needs a language model and phones")
    for network in networks:
        if network.bundle.phones != first.bundle.phones:
            raise UsageError("the models write different phones")
    utterances = read_manifest(manifest)

    def transcribe(waveforms: Sequence[NDArray[np.float32]]) -> list[str]:
        views = first.decoder.views
        heard = [one.log_probs(waveforms, spell=False, views=views) for one in networks]
        averaged = [LogProbs(one[0].tokens, mean(one)) for one in zip(*heard, strict=True)]
        found = first.decoder.decode_batch(averaged, torch.get_num_threads())
        return [first.to_transcript(hypothesis, 0.0).text for hypothesis in found]

    texts, _ = for_each_waveform(utterances, first.sample_rate, transcribe)
    references = {one.utterance_id: one.text for one in utterances}
    return score_texts(references, texts, first.bundle.normalizer)


def mean(heard: Sequence[LogProbs]) -> NDArray[np.float32]:
    """Of the phones' log-probabilities (T', P), made to sum to 1 again."""
    phones = [one.phones for one in heard if one.phones is not None]
    summed = torch.from_numpy(np.mean(phones, axis=0))
    probabilities: NDArray[np.float32] = summed.log_softmax(dim=1).numpy()
    return probabilities


if __name__ == "__main__":
    main()
