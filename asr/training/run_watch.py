"""The callback that keeps a run's page, pictures and samples up to date, in TensorBoard too."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from asr.decoding.greedy import greedy_decode
from asr.run_samples import Sample, Validation, add_validation, read_validations
from asr.spelling import spelling_of
from asr.training.dataset import Example
from asr.training.lit_module import AsrLitModule
from asr.training.pictures import POSTERIOR_FILE, Posterior, draw_posterior, write_picture
from asr.training.run_page import write_run_page
from asr.utterances import load_utterance

NUM_SAMPLES = 6
_SHORTEST, _LONGEST = (
    0.15,
    0.75,
)  # of the development set by duration: very long ones are no reading
_POSTERIOR_S = 4.0
_MOST_TIME = 0.05


class RunWatch(Callback):
    """After each validation and at the end: samples.jsonl, posterior.png, learning_curve.png, run.html.

    The samples are written at every validation. Pictures and page wait for a later one, at most until
    the end of training, where drawing them would take more than a twentieth of the time. Whatever fails
    here is said once on stderr and never stops training.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._posterior: Posterior | None = None
        self._started = self._drawn = time.monotonic()
        self._minutes_before = self._drawing_s = 0.0
        self._has_complained = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock where an earlier part of the run stopped it."""
        self._started = self._drawn = time.monotonic()
        if trainer.is_global_zero:
            self._attempt(self._take_up_clock)

    def _take_up_clock(self) -> None:
        validations = read_validations(self.run_dir)
        self._minutes_before = validations[-1].minutes if validations else 0.0

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Once in a validation, with the weights that it validates: the posterior of one utterance."""
        if batch_idx == 0 and trainer.is_global_zero:
            self._attempt(lambda: self._look(pl_module))

    def _look(self, module: AsrLitModule) -> None:
        self._posterior = posterior_of(module, posterior_example(module.dev_examples))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Write down the samples; draw."""
        if not trainer.is_global_zero:
            return
        self._attempt(lambda: self._record(trainer, pl_module))
        now = time.monotonic()
        if now - self._drawn >= self._drawing_s / _MOST_TIME:
            self._attempt(lambda: self._draw(trainer))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the whole run."""
        if trainer.is_global_zero:
            self._attempt(lambda: self._draw(trainer))

    def _record(self, trainer: Any, module: AsrLitModule) -> None:
        if module.dev_score is None:
            return
        wanted = {one.utterance.utterance_id for one in sample_examples(module.dev_examples)}
        samples = tuple(
            Sample(one.utterance_id, one.reference, one.hypothesis)
            for one in module.dev_score.utterances
            if one.utterance_id in wanted
        )
        minutes = self._minutes_before + (time.monotonic() - self._started) / 60
        score = module.dev_score
        add_validation(
            self.run_dir,
            Validation(
                trainer.current_epoch, trainer.global_step, round(minutes, 3), score.wer, score.cer,
                samples,
            ),
        )  # fmt: skip
        for tensorboard in _tensorboards(trainer):
            tensorboard.add_text("samples", samples_to_markdown(samples), trainer.global_step)

    def _draw(self, trainer: Any) -> None:
        started = time.monotonic()
        for logger in trainer.loggers:
            logger.save()  # the CSV log is written in parts
        if self._posterior is not None:
            figure = draw_posterior(self._posterior)
            write_picture(figure, self.run_dir / POSTERIOR_FILE)
            for tensorboard in _tensorboards(trainer):
                tensorboard.add_figure("posterior", figure, trainer.global_step)
        write_run_page(self.run_dir)
        self._drawn = time.monotonic()
        self._drawing_s = self._drawn - started

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a picture is not worth a run
            if not self._has_complained:
                _say_stale(error)
            self._has_complained = True


def refresh_run_page(run_dir: Path) -> None:
    """Draw the page of a run that has ended; a failure is said, not raised."""
    try:
        write_run_page(run_dir)
    except Exception as error:
        _say_stale(error)


def _say_stale(error: Exception) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"the run page is not up to date ({reason}); the run goes on", file=sys.stderr)


def sample_examples(examples: Sequence[Example], number: int = NUM_SAMPLES) -> list[Example]:
    """The same few of a development set every time: short to middling ones, of different speakers
    as far as there are any."""
    if len(examples) <= number:
        return list(examples)
    ordered = sorted(examples, key=_duration)
    chosen: list[Example] = []
    speakers: set[str | None] = set()
    for part in range(number):
        share = _SHORTEST + (_LONGEST - _SHORTEST) * part / (number - 1)
        start = int(share * len(ordered))
        left = [one for one in (*ordered[start:], *ordered[:start]) if one not in chosen]
        found = next((one for one in left if one.utterance.speaker_id not in speakers), left[0])
        chosen.append(found)
        speakers.add(found.utterance.speaker_id)
    return chosen


def posterior_example(examples: Sequence[Example]) -> Example:
    """The example whose length is nearest to four seconds."""
    return min(
        examples, key=lambda one: (abs(one.utterance.duration_s - _POSTERIOR_S), _duration(one))
    )


def posterior_of(module: AsrLitModule, example: Example) -> Posterior:
    """What the module's model, in the mode it is in, makes of an example. Raises AudioError."""
    model, config = module.model, module.model.config
    waveform = load_utterance(example.utterance, config.features.sample_rate)
    waveforms = torch.from_numpy(waveform)[None].to(module.device)
    lengths = torch.tensor([len(waveform)], device=module.device)
    with torch.no_grad(), torch.autocast(module.device.type, enabled=False):
        output = model(waveforms, lengths)
        log_mel = model.front_end.log_mel(waveforms)
    written, frame_s, tokenizer = output.log_probs, config.output_frame_s, module.bundle.tokenizer
    spelling = spelling_of(module.bundle)
    if spelling is not None and output.spelling is not None:
        written, tokenizer = output.spelling, spelling.pieces
        frame_s *= spelling.frames
    log_probs = written[0].float().cpu().numpy()
    return Posterior(
        utterance_id=example.utterance.utterance_id,
        reference=example.text,
        hypothesis=tokenizer.decode(greedy_decode(log_probs).token_ids),
        log_mel=log_mel[0].float().cpu().numpy(),
        mel_frame_s=config.features.frame_shift_s,
        log_probs=log_probs,
        frame_s=frame_s,
        tokens=tokenizer.tokens,
    )


def samples_to_markdown(samples: Sequence[Sample]) -> str:
    """References and hypotheses as a Markdown table, as TensorBoard shows texts."""
    rows = [f"| {one.reference} | {one.hypothesis or '(nothing)'} |" for one in samples]
    return "\n".join(["| reference | hypothesis |", "|---|---|", *rows])


def _duration(example: Example) -> tuple[float, str]:
    return example.utterance.duration_s, example.utterance.utterance_id


def _tensorboards(trainer: Any) -> list[Any]:
    """The writers of TensorBoard that are switched on."""
    loggers: list[Any] = trainer.loggers
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]
