"""Recognizer: the only place that joins audio, model, decoder and tokenizer -> Transcript."""

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import AudioStream, AudioWarning, printable
from asr.batch import BatchOptions, Result, transcribe_files
from asr.bfloat16 import check_bfloat16
from asr.bundle import DEFAULT_MODEL, Bundle, load_bundle
from asr.decoder import Decoder, DecoderOptions, Wanted, greedy_decoder, make_decoder
from asr.decoding.hypothesis import Hypothesis, LogProbs
from asr.ensemble import together
from asr.errors import AsrError, UsageError
from asr.listen import transcribe_recording
from asr.model import AcousticModel, ModelOutput
from asr.quantize import int8_network
from asr.transcript import Transcript
from asr.warp import FrequencyViews
from asr.words import to_transcript

PRECISIONS = ("float32", "bfloat16", "int8")
_BLOCK = 65_536  # samples
WORD_BREAK_S = 0.35  # blanks for longer than this between two letters are the end of a word


class Recognizer:
    """A model ready to transcribe. Each transcript is independent of its batch neighbours, except in
    int8, which rounds by batch (`asr.quantize`)."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        precision: str = "float32",
        decoder: Decoder | None = None,
        upper: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "int8" and device != "cpu":
            raise UsageError(f"precision int8 is for the CPU, not {device}: use bfloat16")
        if precision == "bfloat16" and device == "cpu":
            check_bfloat16("precision bfloat16", "float32, or int8")
        self.bundle = bundle
        self.device = torch.device(device)
        self.precision = precision
        self.decoder = decoder or greedy_decoder(bundle)
        self.upper = upper
        self.model = bundle.model
        self._network = self._prepared(bundle.model)

    @cached_property
    def _others(self) -> list[AcousticModel]:
        return list(map(self._prepared, self.bundle.others))

    def _prepared(self, model: AcousticModel) -> AcousticModel:
        """A network where it computes, as it computes."""
        model = model.to(self.device)
        return int8_network(model) if self.precision == "int8" else model

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
        """All that decides the words of a transcript: model, precision, decoder, capitals."""
        capitals = " upper" if self.upper else ""
        return f"{self.model_id} {self.precision} {self.decoder.settings}{capitals}"

    def transcribe(
        self, audio: Path | str | NDArray[Any], sample_rate: int | None = None
    ) -> Transcript:
        """Transcribe one recording of any length, as `asr transcribe` does.

        Args:
            audio: a file, or a mono waveform (S,): floats in [-1, 1], or integers of full scale.
            sample_rate: of a waveform, Hz; None: the model's. A file says its own.

        Raises:
            AudioError: the file cannot be read.
            AsrError: samples that are not finite.
            UsageError: an array of another shape, or a rate for a file.

        Warns:
            AudioWarning: something is missing or odd in the file.
        """
        if not isinstance(audio, Path | str):
            return transcribe_recording(self, _blocks(self._to_waveform(audio, sample_rate)))
        if sample_rate is not None:
            raise UsageError("sample_rate is for waveforms: an audio file says its own")
        with AudioStream(audio, self.sample_rate) as stream:
            transcript = transcribe_recording(self, stream)
            for note in stream.notes:
                warnings.warn(f"{printable(audio)}: {note}", AudioWarning, stacklevel=2)
        return transcript

    def transcribe_many(
        self, inputs: Path | str | Iterable[Path | str], options: BatchOptions | None = None
    ) -> Iterator[Result]:
        """Transcribe files, folders, globs or manifests as `asr transcribe` does, files together.

        Results come in input order, each as soon as it and those before it are ready. An input that
        fails is a result with its reason; it stops no other.
        """
        return transcribe_files(self, inputs, options)

    def _to_waveform(self, samples: NDArray[Any], sample_rate: int | None) -> NDArray[np.float32]:
        samples = np.asarray(samples)
        if samples.ndim != 1:
            raise UsageError(f"a waveform is mono, of shape (S,), not {samples.shape}")
        is_integer = np.issubdtype(samples.dtype, np.signedinteger)
        if not (is_integer or np.issubdtype(samples.dtype, np.floating)):
            raise UsageError(f"samples are floats or signed integers, not {samples.dtype}")
        waveform = samples.astype(np.float32)
        if is_integer:
            waveform /= -float(np.iinfo(samples.dtype).min)
        if not np.isfinite(waveform).all():
            raise AsrError("the waveform holds samples that are not finite numbers (NaN or Inf)")
        if sample_rate in (None, self.sample_rate):
            return waveform
        if sample_rate is not None and sample_rate <= 0:
            raise UsageError(f"sample_rate must be positive, not {sample_rate}")
        resampled: NDArray[np.float32] = soxr.resample(
            waveform, sample_rate, self.sample_rate, quality="HQ"
        )
        return resampled

    def transcribe_batch(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms (S,) at the model's sample rate as one padded batch."""
        if not waveforms:
            return []
        return self.transcribe_padded(*pad(waveforms))

    def log_probs(
        self, waveforms: Sequence[NDArray[np.float32]], wanted: Wanted = "spelling", views: int = 1
    ) -> list[LogProbs]:
        """Log-probabilities of mono waveforms (S,), as one padded batch; options as of `forward`."""
        return trim(self.forward(*pad(waveforms), wanted, views)) if waveforms else []

    def decodable(self, waveforms: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """The same for the recognizer's own decoder."""
        return self.log_probs(waveforms, self.decoder.wanted, self.decoder.views)

    def transcribe_padded(self, waveforms: Tensor, lengths: Tensor) -> list[Transcript]:
        """Transcribe a padded batch: waveforms (B, S) float32, lengths (B,) samples."""
        output = self.forward(waveforms, lengths, self.decoder.wanted, self.decoder.views)
        return self.to_transcripts(output, lengths)

    def forward(
        self, waveforms: Tensor, lengths: Tensor, wanted: Wanted = "spelling", views: int = 1
    ) -> ModelOutput:
        """Run the network on a padded batch: waveforms (B, S) float32, lengths (B,) samples.

        Args:
            wanted: "phones": all networks of the bundle hear, and what comes out is the mean of their
                phones; "spelling": what the speller writes of these, where there is one; "tokens": no
                more than the first network's own heads write.
            views: how often each network hears the speech (`asr.warp`); what comes out is the mean.
        """
        together_too = wanted == "phones" or (
            wanted == "spelling" and self.bundle.pieces is not None
        )
        networks = [self._network, *(self._others if together_too else ())]
        waveforms, lengths = waveforms.to(self.device), lengths.to(self.device)
        autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        with torch.inference_mode(), autocast:
            outputs = [
                network(
                    waveforms, lengths, FrequencyViews(views, model.config.features),
                    views=views, spell=False, average=True,
                )
                for network, model in zip(networks, self.bundle.networks, strict=False)
            ]  # fmt: skip
            output = together(outputs, self.bundle.shares)
            return self._network.spelled(output) if wanted == "spelling" else output

    def to_transcripts(self, output: ModelOutput, lengths: Tensor) -> list[Transcript]:
        """Decode a batch's log-probabilities; lengths (B,) samples give the durations."""
        hypotheses = self.decoder.decode_batch(trim(output), torch.get_num_threads())
        return [
            self.to_transcript(hypothesis, length / self.sample_rate)
            for hypothesis, length in zip(hypotheses, lengths.tolist(), strict=True)
        ]

    def to_transcript(self, hypothesis: Hypothesis, duration_s: float) -> Transcript:
        """Words of a hypothesis, with confidences calibrated where the bundle knows how."""
        bundle, greedy = self.bundle, self.decoder.beam is None
        break_s = WORD_BREAK_S if greedy else math.inf  # a search writes spaces
        frame_s = bundle.model.config.output_frame_s
        transcript = to_transcript(hypothesis, bundle.tokenizer, frame_s, duration_s, break_s)
        if self.upper:
            transcript = transcript.upper()
        calibration = bundle.greedy_calibration if greedy else bundle.beam_calibration
        if calibration is None:
            return transcript
        words = transcript.words
        confidences = calibration(
            [word.text for word in words], [word.confidence for word in words]
        )
        calibrated = tuple(
            replace(word, confidence=confidence)
            for word, confidence in zip(words, confidences, strict=True)
        )
        return replace(transcript, words=calibrated)


def _blocks(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """A waveform (S,) in blocks, as a file comes: what is cut off its front is not copied each time."""
    return (waveform[at : at + _BLOCK] for at in range(0, len(waveform), _BLOCK))


def pad(waveforms: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Waveforms (S,) as one batch: (B, S) with zeros at their ends, and lengths (B,)."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    padded = torch.zeros(len(waveforms), int(lengths.max()))
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return padded, lengths


def trim(output: ModelOutput) -> list[LogProbs]:
    """Log-probabilities of each utterance of a batch, without padding."""
    tokens = output.log_probs.float().cpu().numpy()
    phones = None if output.phones is None else output.phones.float().cpu().numpy()
    found = [
        LogProbs(tokens[row, :length], None if phones is None else phones[row, :length])
        for row, length in enumerate(output.output_lengths.tolist())
    ]
    if output.spelling is None or output.spelling_lengths is None:
        return found
    spelling = output.spelling.cpu().numpy()
    return [
        one._replace(spelling=spelling[row, :length])
        for row, (one, length) in enumerate(
            zip(found, output.spelling_lengths.tolist(), strict=True)
        )
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
    acoustic_scale: float | None = None,
    rnnlm: Path | str | None = None,
    rnnlm_share: float | None = None,
    views: int | None = None,
    hotwords: Path | str | None = None,
    upper: bool = False,
) -> Recognizer:
    """Load a bundle for use.

    A bundle with a language model of its own decodes with it, unless `decoder` is "greedy".

    Args:
        path: a bundle's folder.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...
        threads: CPU threads of torch; None leaves torch's choice.
        precision: "float32", "bfloat16" (faster where the processor has it), or "int8" (CPU only,
            faster where it has not; see `asr.quantize`).
        decoder: "greedy" or "beam"; None chooses by the bundle and the options below.
        lm: compiled language model, ARPA file, or a folder with one; None: the bundle's, if any.
        beam_size, lm_weight, word_bonus, acoustic_scale: of the beam search; None: the bundle's tuned
            values, else those of BeamOptions.
        unknown_penalty: ln, subtracted for each word that the language model lacks; None: only its
            words can be written.
        rnnlm: neural language model for a second pass; None: the bundle's, if any.
        rnnlm_share: of it in the language model's score, 0 (no second pass) to 1; None: the bundle's.
        views: how often the network hears the speech, each time as if from a vocal tract of another
            length (0.9 to 1.1); the mean is decoded: fewer errors of a search, n times the network's
            work. None: the bundle's for a search, 1 for greedy decoding.
        hotwords: file of phrases to prefer, one a line, optionally a tab and a weight.
        upper: write capitals, as LibriSpeech's transcripts are.

    Raises:
        BundleError: not a usable bundle.
        LanguageModelError: not a usable language model, or one in another case or language.
        UsageError: options that do not go together, hot words that cannot be used.
        AsrError: the device is not there.
    """
    options = DecoderOptions(
        decoder, lm, hotwords, beam_size, lm_weight, word_bonus, unknown_penalty, acoustic_scale,
        rnnlm, rnnlm_share, views,
    )  # fmt: skip
    if threads is not None:
        if threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        torch.set_num_threads(threads)
    # oneDNN keeps what it made for each length of a batch: by default 1,024 of them, 150 MB an hour.
    # It reads this when it is first used: too late where the process has computed already.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    bundle = load_bundle(path)
    return Recognizer(
        bundle,
        device=_resolve_device(device),
        precision=precision,
        decoder=make_decoder(bundle, options),
        upper=upper,
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
