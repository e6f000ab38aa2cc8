"""A tuning as a small table and as a picture of its surface."""

from pathlib import Path
from typing import Any

import numpy as np

from asr.tuning import CalibrationTrial, Tuning


def tuning_table(tuning: Tuning) -> str:
    """Word error rates in percent: a row for each word bonus, a column for each weight; then beams."""
    weights, bonuses = _axes(tuning)
    wers = _surface(tuning)
    best = tuning.best
    lines = [
        f"WER in % on {tuning.num_utterances} utterances of {tuning.manifest.name}; "
        f"greedy {100 * tuning.greedy_wer:.2f}{_second_pass(tuning)}",
        "bonus \\ weight " + "".join(f"{weight:>8g}" for weight in weights),
    ]
    for bonus, row in zip(bonuses, wers, strict=True):
        lines.append(f"{bonus:>14g} " + "".join(f"{100 * wer:>8.2f}" for wer in row))
    lines += [
        f"beam {trial.decoding.beam_size:>4}: {100 * trial.wer:.2f}" for trial in tuning.beams
    ]
    lines += [
        f"second pass, share {trial.decoding.rnnlm_share:.2f}: {100 * trial.wer:.2f}"
        for trial in tuning.rescored
    ]
    lines.append(
        f"best: --lm-weight {best.decoding.lm_weight:g} --word-bonus {best.decoding.word_bonus:g} "
        f"--beam-size {best.decoding.beam_size}{_more_options(tuning)}: WER {100 * best.wer:.2f} % "
        f"(greedy {100 * tuning.greedy_wer:.2f} %)"
    )
    for decoder, trial in (("greedy", tuning.greedy_confidence), ("beam", tuning.beam_confidence)):
        if trial is not None:
            lines.append(_confidence_line(decoder, trial))
    for name in tuning.edges:
        lines.append(f"the best is at the edge of what was tried: widen --{name}")
    return "\n".join(lines)


def _second_pass(tuning: Tuning) -> str:
    if not tuning.rescored:
        return ""
    return f"; with a second pass, share {tuning.surface[0].decoding.rnnlm_share:g}"


def _more_options(tuning: Tuning) -> str:
    decoding = tuning.best.decoding
    share = f" --rnnlm-share {decoding.rnnlm_share:g}" if tuning.rescored else ""
    return f" --acoustic-scale {decoding.acoustic_scale:g}{share} --views {decoding.views}"


def _confidence_line(decoder: str, trial: CalibrationTrial) -> str:
    before, after = trial.before, trial.after
    aucs = "no AUC" if before.auc is None else f"AUC {before.auc:.3f} -> {after.auc:.3f}"
    return (
        f"word confidence, {decoder}: {aucs}, distance from accuracy "
        f"{before.calibration_error:.3f} -> {after.calibration_error:.3f} once calibrated"
    )


def draw_surface(tuning: Tuning, path: Path) -> Path:
    """Write a PNG of the word error rate over weight and bonus; the best is framed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    weights, bonuses = _axes(tuning)
    wers = 100 * _surface(tuning)
    figure = Figure(figsize=(2.4 + 0.8 * len(weights), 2.0 + 0.5 * len(bonuses)), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(wers, origin="lower", cmap="viridis_r", aspect="auto")
    axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
    axes.set_yticks(range(len(bonuses)), [f"{bonus:g}" for bonus in bonuses])
    axes.set_xlabel("language-model weight")
    axes.set_ylabel("word bonus")
    axes.set_title(f"WER in %, {tuning.manifest.name}; greedy {100 * tuning.greedy_wer:.2f}")
    _write_values(axes, wers)
    best = tuning.best.decoding
    corner = (weights.index(best.lm_weight) - 0.5, bonuses.index(best.word_bonus) - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="red", linewidth=2))
    figure.colorbar(image, ax=axes, label="WER in %")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _write_values(axes: Any, wers: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    middle = (wers.min() + wers.max()) / 2
    for (row, column), wer in np.ndenumerate(wers):
        color = "white" if wer > middle else "black"
        axes.text(column, row, f"{wer:.2f}", ha="center", va="center", color=color, fontsize=8)


def _axes(tuning: Tuning) -> tuple[list[float], list[float]]:
    return sorted(set(tuning.grid.lm_weights)), sorted(set(tuning.grid.word_bonuses))


def _surface(tuning: Tuning) -> "np.ndarray[Any, np.dtype[np.float64]]":
    weights, bonuses = _axes(tuning)
    return np.array([trial.wer for trial in tuning.surface]).reshape(len(bonuses), len(weights))
