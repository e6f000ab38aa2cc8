"""Recordings without transcripts -> clips with texts that a network can learn from (`asr adapt`).

The texts are what the search writes with its language models, which know better than the network alone
what was said. They hold errors all the same, which a network would learn too. So each clip comes several
times, each time with one of the n best hypotheses, drawn by how probable they are: what all agree on is
learnt, what they differ in less (Manohar et al. 2018, "Semi-supervised training of acoustic models using
lattice-free MMI", has lattices for it).
"""

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio import AudioStream
from asr.codecs import AudioError
from asr.errors import AsrError, UsageError
from asr.evaluate import for_each_waveform
from asr.items import Item
from asr.listen import MIN_WINDOW_S, is_silent
from asr.manifest import Utterance
from asr.segment import split_windows
from asr.transcribe import Recognizer

NUM_HYPOTHESES = 64
TEMPERATURE = 2.0  # of the hypotheses' probabilities, which by their scores differ too much


@dataclass(frozen=True)
class Clips:
    """Stretches of recordings that a network takes at once.

    Attributes:
        failures: a line for each input that cannot be read.
    """

    utterances: tuple[Utterance, ...]
    failures: tuple[str, ...]

    @property
    def hours(self) -> float:
        """Of speech."""
        return sum(utterance.duration_s for utterance in self.utterances) / 3600


def cut_clips(items: Sequence[Item], sample_rate: int, max_hours: float) -> Clips:
    """The windows of every input, as `asr transcribe` cuts them, without those that are silent.

    Where they hold more than `max_hours`, clips at equal distances among them. Channels are mixed.

    Raises:
        AsrError: no input can be read, or nothing is to be heard in them.
    """
    found: list[Utterance] = []
    failures: list[str] = []
    for item in items:
        if item.duplicate_of:
            continue
        try:
            if item.problem:
                raise AudioError(item.path, item.problem)
            found += _clips_of(item, sample_rate)
        except AudioError as error:
            failures.append(f"{item.label}: {error.reason}")
    if not found:
        why = f"the first failure: {failures[0]}" if failures else "the recordings are silent"
        raise AsrError(f"there is nothing to adapt to: {why}")
    everything = Clips(tuple(found), tuple(failures))
    count = round(len(found) * max_hours / everything.hours)
    return replace(everything, utterances=tuple(spread(found, count)))


def spread(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """At most `count` of them, at least one, at equal distances."""
    count = min(max(count, 1), len(utterances))
    return [utterances[number * len(utterances) // count] for number in range(count)]


def _clips_of(item: Item, sample_rate: int) -> list[Utterance]:
    with AudioStream(
        item.path, sample_rate, offset_s=item.offset_s, duration_s=item.duration_s
    ) as stream:
        spans = [
            (window.start / sample_rate, len(window.waveform) / sample_rate)
            for window in split_windows(stream, sample_rate)
            if not is_silent(window.waveform)
        ]
    names = [item.name] if len(spans) == 1 else [f"{item.name}#{n}" for n in range(len(spans))]
    return [
        Utterance(name, item.path, "", duration_s, item.offset_s + start_s)
        for name, (start_s, duration_s) in zip(names, spans, strict=True)
        if duration_s >= MIN_WINDOW_S
    ]


def check_can_label(recognizer: Recognizer) -> None:
    """Raise UsageError where a recognizer has no language model: it knows no more than its network."""
    beam = recognizer.decoder.beam
    if beam is None or not beam.has_language_model:
        raise UsageError(
            "adapting needs a language model, which knows what the network does not: name one with --lm"
        )


def label(
    clips: Sequence[Utterance], recognizer: Recognizer, draws: int
) -> tuple[list[Utterance], tuple[str, ...]]:
    """Each clip `draws` times, with what the recognizer may have heard in it.

    Draws in which nothing was heard are left out. They follow from the clip's name and its hypotheses:
    other clips change nothing.

    Returns:
        The clips with their texts, all of the first draw first, and a line for each clip that could
        not be read.

    Raises:
        AsrError: no clip can be read, or no word was heard in any.
    """
    with _one_thread_each() as threads:
        heard, failures = for_each_waveform(
            clips, recognizer.sample_rate, partial(_shared_out, recognizer, threads)
        )
    drawn = [
        Utterance(f"{name}+{draw}", clip.audio_path, text, clip.duration_s, clip.offset_s)
        for draw in range(draws)
        for clip in clips
        if (name := clip.utterance_id) in heard
        and (text := _draw(heard[name], zlib.crc32(os.fsencode(f"{name} {draw}"))))
    ]
    if not drawn:
        raise AsrError("no words were heard in these recordings: there is nothing to learn from")
    return drawn, failures


def _draw(hypotheses: Mapping[str, float], seed: int) -> str:
    scores = np.fromiter(hypotheses.values(), np.float64)
    chosen = np.random.default_rng(seed).choice(len(scores), p=probabilities(scores))
    return list(hypotheses)[chosen]


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of hypotheses, from their scores (N,) in nats."""
    weights = np.exp((scores - scores.max()) / TEMPERATURE)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """How many threads torch has; meanwhile it computes with one for each thread of ours."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _shared_out(
    recognizer: Recognizer, threads: int, waveforms: Sequence[NDArray[np.float32]]
) -> list[dict[str, float]]:
    """`_hypotheses` of a batch of like lengths, an equal part in each thread."""
    size = -(-len(waveforms) // threads)
    parts = [waveforms[first : first + size] for first in range(0, len(waveforms), size)]
    with ThreadPoolExecutor(threads) as pool:
        return [one for part in pool.map(partial(_hypotheses, recognizer), parts) for one in part]


def _hypotheses(
    recognizer: Recognizer, waveforms: Sequence[NDArray[np.float32]]
) -> list[dict[str, float]]:
    """What each waveform (S,) of a batch may say, with the best score of any way to say it."""
    decoder = recognizer.decoder
    log_probs = recognizer.decodable(waveforms)
    found: list[dict[str, float]] = []
    for best in decoder.n_best_batch(log_probs, NUM_HYPOTHESES):
        scores: dict[str, float] = {}
        for hypothesis in best:  # the best come first
            text = recognizer.to_transcript(hypothesis, 0.0).text
            scores.setdefault(text, hypothesis.score)
        found.append(scores)
    return found
