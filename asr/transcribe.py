"""Recognizer: the only place that joins audio, model, decoder and tokenizer -> Transcript."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import load_audio
from asr.bundle import Bundle, load_bundle
from asr.decoder import GREEDY, Decoder, DecoderOptions, make_decoder
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance
from asr.model import ModelOutput
from asr.tokenizer import Tokenizer
from asr.transcript import Transcript, Word

DEFAULT_MODEL = "default"
PRECISIONS = ("float32", "bfloat16")


class Recognizer:
    """A model ready to transcribe. Each transcript is independent of its batch neighbours."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        precision: str = "float32",
        decoder: Decoder = GREEDY,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.bundle = bundle
        self.device = torch.device(device)
        self.precision = precision
        self.decoder = decoder
        self.model = bundle.model.to(self.device)

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model works at."""
        return self.model.config.features.sample_rate

    @property
    def model_id(self) -> str:
        """Hash of the bundle's content."""
        return self.bundle.model_id

    @property
    def settings(self) -> str:
        """All that decides the words of a transcript: model, precision, decoder."""
        return f"{self.model_id} {self.precision} {self.decoder.settings}"

    def transcribe(
        self, audio: Path | str | NDArray[np.float32], sample_rate: int | None = None
    ) -> Transcript:
        """Transcribe one file, or a mono waveform (S,) of `sample_rate` (default: the model's)."""
        if isinstance(audio, Path | str):
            waveform = load_audio(audio, self.sample_rate)
        else:
            waveform = np.asarray(audio, dtype=np.float32)
            if sample_rate not in (None, self.sample_rate):
                waveform = soxr.resample(waveform, sample_rate, self.sample_rate, quality="HQ")
        return self.transcribe_batch([waveform])[0]

    def transcribe_batch(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms (S,) at the model's sample rate as one padded batch."""
        if not waveforms:
            return []
        return self.transcribe_padded(*_pad(waveforms))

    def log_probs(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Log-probabilities (T', V) of each of mono waveforms (S,), as one padded batch."""
        return trim(self.forward(*_pad(waveforms))) if waveforms else []

    def transcribe_padded(self, waveforms: Tensor, lengths: Tensor) -> list[Transcript]:
        """Transcribe a padded batch: waveforms (B, S) float32, lengths (B,) samples."""
        return self.to_transcripts(self.forward(waveforms, lengths), lengths)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> ModelOutput:
        """Run the network on a padded batch: waveforms (B, S) float32, lengths (B,) samples."""
        autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        with torch.inference_mode(), autocast:
            output: ModelOutput = self.model(waveforms.to(self.device), lengths.to(self.device))
        return output

    def to_transcripts(self, output: ModelOutput, lengths: Tensor) -> list[Transcript]:
        """Decode a batch's log-probabilities; lengths (B,) samples give the durations."""
        hypotheses = self.decoder.decode_batch(trim(output), torch.get_num_threads())
        durations = [length / self.sample_rate for length in lengths.tolist()]
        return [
            self.to_transcript(hypothesis, duration_s)
            for hypothesis, duration_s in zip(hypotheses, durations, strict=True)
        ]

    def to_transcript(self, hypothesis: Hypothesis, duration_s: float) -> Transcript:
        """Words of a hypothesis, with confidences calibrated where the bundle knows how."""
        transcript = to_transcript(
            hypothesis, self.bundle.tokenizer, self.model.config.output_frame_s, duration_s
        )
        calibration = (
            self.bundle.greedy_calibration
            if self.decoder.beam is None
            else self.bundle.beam_calibration
        )
        if calibration is None:
            return transcript
        words = [
            replace(word, confidence=calibration(word.text, word.confidence))
            for word in transcript.words
        ]
        return replace(transcript, words=tuple(words))


def _pad(waveforms: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Waveforms (B, S) with zeros at their ends, lengths (B,)."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    padded = torch.zeros(len(waveforms), int(lengths.max()))
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return padded, lengths


def trim(output: ModelOutput) -> list[NDArray[np.float32]]:
    """Log-probabilities (T', V) of each utterance of a batch, without padding."""
    padded = output.log_probs.float().cpu().numpy()
    return [
        utterance[:length]
        for utterance, length in zip(padded, output.output_lengths.tolist(), strict=True)
    ]


def load_model(
    path: Path | str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
    decoder: str | None = None,
    lm: Path | str | None = None,
    beam_size: int | None = None,
    lm_weight: float | None = None,
    word_bonus: float | None = None,
    unknown_penalty: float | None = None,
    hotwords: Path | str | None = None,
) -> Recognizer:
    """Load a bundle for use.

    A bundle with a language model of its own decodes with it, unless `decoder` is "greedy".

    Args:
        path: a bundle's folder.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...
        threads: CPU threads of torch; None leaves torch's choice.
        precision: "float32", or "bfloat16" (faster where the processor has it).
        decoder: "greedy" or "beam"; None chooses by the bundle and the options below.
        lm: compiled language model, ARPA file, or a folder with one; None: the bundle's, if any.
        beam_size, lm_weight, word_bonus: of the beam search; None: the bundle's tuned values, else
            those of BeamOptions.
        unknown_penalty: ln, subtracted for each word that the language model lacks; None: only its
            words can be written.
        hotwords: file of phrases to prefer, one a line, optionally a tab and a weight.

    Raises:
        BundleError: not a usable bundle.
        LanguageModelError: not a usable language model, or one in another case or language.
        UsageError: options that do not go together, hot words that cannot be used.
        AsrError: the device is not there.
    """
    if str(path) == DEFAULT_MODEL:
        raise AsrError(
            "no default model is shipped with this version: train one with `asr train` and name "
            "its folder with --model"
        )
    options = DecoderOptions(
        decoder, lm, hotwords, beam_size, lm_weight, word_bonus, unknown_penalty
    )
    if threads is not None:
        torch.set_num_threads(threads)
    bundle = load_bundle(path)
    return Recognizer(
        bundle,
        device=_resolve_device(device),
        precision=precision,
        decoder=make_decoder(bundle, options),
    )


def load_utterance(utterance: Utterance, sample_rate: int) -> NDArray[np.float32]:
    """The utterance's stretch of its audio file as a mono waveform (S,); AudioError if unreadable."""
    return load_audio(
        utterance.audio_path,
        sample_rate,
        offset_s=utterance.offset_s,
        duration_s=utterance.duration_s or None,
    )


def _resolve_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AsrError(f"device {device!r} cannot be used here: {reason}") from None
    return device


def to_transcript(
    hypothesis: Hypothesis, tokenizer: Tokenizer, output_frame_s: float, duration_s: float
) -> Transcript:
    """Words of a hypothesis with their times; a word's confidence is the mean of its tokens'."""
    words = []
    for first, last in tokenizer.word_ranges(hypothesis.token_ids):
        words.append(
            Word(
                text=tokenizer.decode(hypothesis.token_ids[first:last]),
                start_s=hypothesis.spans[first][0] * output_frame_s,
                end_s=min(hypothesis.spans[last - 1][1] * output_frame_s, duration_s),
                confidence=sum(hypothesis.confidences[first:last]) / (last - first),
            )
        )
    return Transcript(" ".join(word.text for word in words), tuple(words), duration_s)
