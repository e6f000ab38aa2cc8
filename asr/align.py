"""When each word of a known text was said: forced alignment of a manifest."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.decoding.alignment import align_tokens
from asr.decoding.hypothesis import Hypothesis, LogProbs
from asr.errors import AsrError
from asr.formats import Labelled, ctm, textgrid
from asr.manifest import Utterance
from asr.text import normalize
from asr.tokenizer import BLANK_ID
from asr.transcribe import Recognizer
from asr.transcript import Transcript
from asr.utterances import load_utterance
from asr.whole_file import write_atomically, writing
from asr.words import to_transcript

BATCH_SIZE = 8


@dataclass(frozen=True)
class Aligned:
    """An utterance with its words in time, or why it has none.

    Attributes:
        transcript: times from the beginning of the utterance; None if it cannot be aligned.
        score: mean ln P a frame of the best path; low where text and audio do not match.
        problem: what is wrong; empty if nothing is.
    """

    utterance: Utterance
    transcript: Transcript | None
    score: float = 0.0
    problem: str = ""


def align_utterances(
    utterances: Sequence[Utterance], recognizer: Recognizer, batch_size: int = BATCH_SIZE
) -> Iterator[Aligned]:
    """Align each utterance's text with its audio, in order.

    An utterance whose audio cannot be read, whose text the model cannot write, or whose text is
    longer than the audio allows, is reported in `problem` and disturbs no other.
    """
    for first in range(0, len(utterances), batch_size):
        batch = utterances[first : first + batch_size]
        loaded = [_load(utterance, recognizer) for utterance in batch]
        readable = [waveform for waveform in loaded if isinstance(waveform, np.ndarray)]
        # the network's own head: it keeps time better than a speller, which has not heard the speech
        log_probs = iter(recognizer.log_probs(readable, "tokens"))
        for utterance, waveform in zip(batch, loaded, strict=True):
            if isinstance(waveform, np.ndarray):
                duration_s = len(waveform) / recognizer.sample_rate
                yield _align(utterance, next(log_probs), duration_s, recognizer)
            else:
                yield Aligned(utterance, None, problem=waveform)


def _load(utterance: Utterance, recognizer: Recognizer) -> NDArray[np.float32] | str:
    """The waveform (S,), or why there is none."""
    try:
        return load_utterance(utterance, recognizer.sample_rate)
    except AsrError as error:
        return str(error)


def _align(
    utterance: Utterance,
    log_probs: LogProbs,
    duration_s: float,
    recognizer: Recognizer,
) -> Aligned:
    bundle = recognizer.bundle
    try:
        token_ids = bundle.tokenizer.encode(normalize(utterance.text, bundle.normalizer))
        found = align_tokens(log_probs.tokens, np.array(token_ids, np.int32), BLANK_ID)
    except AsrError as error:
        return Aligned(utterance, None, problem=str(error))
    hypothesis = Hypothesis(tuple(token_ids), found.spans, found.confidences, found.score)
    frame_s = recognizer.model.config.output_frame_s
    transcript = to_transcript(hypothesis, bundle.tokenizer, frame_s, duration_s)
    return Aligned(utterance, transcript, found.score / max(1, len(log_probs.tokens)))


def cut(aligned: Aligned, max_s: float) -> list[Utterance]:
    """The utterance in pieces of at most `max_s` seconds, cut where the pause between words is widest.

    A piece is longer than a third of `max_s` wherever it can be, and longer than `max_s` only where one
    word is. Pieces are `ID-00`, `ID-01`, ... with the words as the model writes them; together they
    are the whole utterance. One that was not aligned, or has no words, has none.
    """
    if aligned.transcript is None or not aligned.transcript.words:
        return []
    words, utterance = aligned.transcript.words, aligned.utterance
    end_s = aligned.transcript.duration_s
    starts = [0.0, *((a.end_s + b.start_s) / 2 for a, b in itertools.pairwise(words)), end_s]
    firsts = [0]
    while end_s - starts[firsts[-1]] > max_s:
        here = starts[firsts[-1]]
        left = range(firsts[-1] + 1, len(words))
        within = [word for word in left if here + max_s / 3 < starts[word] <= here + max_s]
        if within:
            firsts.append(max(within, key=lambda word: words[word].start_s - words[word - 1].end_s))
        elif left:
            firsts.append(left[0])
        else:
            break
    return [
        replace(
            utterance,
            utterance_id=f"{utterance.utterance_id}-{number:02d}",
            text=" ".join(word.text for word in words[first:following]),
            offset_s=round(utterance.offset_s + starts[first], 3),
            duration_s=round(starts[following] - starts[first], 3),
        )
        for number, (first, following) in enumerate(itertools.pairwise([*firsts, len(words)]))
    ]


def write_alignments(aligned: Sequence[Aligned], out: Path) -> list[Path]:
    """Write OUT/words.ctm and OUT/textgrids/UTTERANCE.TextGrid; the paths written. Raises AsrError."""
    with writing(out):
        return _write(aligned, out)


def _write(aligned: Sequence[Aligned], out: Path) -> list[Path]:
    grids = out / "textgrids"
    grids.mkdir(parents=True, exist_ok=True)
    lines, paths = [], [out / "words.ctm"]
    names: Counter[str] = Counter()
    for item in aligned:
        if item.transcript is None:
            continue
        utterance = item.utterance
        name = re.sub(r"[^\w.-]", "_", utterance.utterance_id)
        names[name] += 1
        if names[name] > 1:
            name = f"{name}~{names[name]}"  # "a/b" and "a_b" are two utterances
        labelled = Labelled(item.transcript, utterance.utterance_id, str(utterance.audio_path))
        lines.append(ctm(labelled))
        paths.append(grids / f"{name}.TextGrid")
        write_atomically(paths[-1], [textgrid(labelled)])
    write_atomically(paths[0], lines)
    return paths
