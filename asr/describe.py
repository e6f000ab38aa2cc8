"""What is at a path: a bundle, a run folder, a sweep or a report; `asr.audit` has manifests."""

import json
from pathlib import Path

from asr.bundle import CARD_FILE, bundle_folder, is_bundle, load_bundle
from asr.errors import AsrError
from asr.run_state import describe_run, read_run

_RUN_CONFIG = "config.yaml"
_RUN_PAGE = "run.html"
_REPORT = "report.json"
_SWEEP_TABLE, _SWEEP_ROWS = "summary.md", "summary.csv"


def is_manifest(path: Path | str) -> bool:
    """Whether `path` is a file, and not of a report."""
    path = Path(path)
    return path.is_file() and not path.name.endswith(_REPORT)


def describe(path: Path | str) -> str:
    """A few lines about `path`, or the model "default"; AsrError where it is nothing of asr's."""
    path = bundle_folder(path)
    if path.is_dir() and is_bundle(path):
        return _bundle(path)
    if path.is_dir() and (path / _RUN_CONFIG).is_file():
        return _run(path)
    if path.is_dir() and (path / _REPORT).is_file():
        return _report(path / _REPORT)
    if path.is_dir() and (path / _SWEEP_ROWS).is_file() and (path / _SWEEP_TABLE).is_file():
        return f"sweep {path}\n\n{(path / _SWEEP_TABLE).read_text('utf-8')}"
    if path.is_file() and not is_manifest(path):
        return _report(path)
    raise AsrError(
        f"{path} is no bundle, manifest, run folder or report"
        + ("" if path.exists() else ": there is nothing")
    )


def _bundle(path: Path) -> str:
    bundle = load_bundle(path)
    card = path / CARD_FILE
    text = card.read_text("utf-8") if card.is_file() else "(no model card)\n"
    return f"bundle {path}, id {bundle.model_id}\n\n{text}"


def _run(path: Path) -> str:
    checkpoints = sorted((path / "checkpoints").glob("*.ckpt"))
    lines = [f"run {path}, configuration in {path / _RUN_CONFIG}"]
    lines += [f"  {line}" for line in describe_run(read_run(path))]
    lines += [f"  page {page}" for page in [path / _RUN_PAGE] if page.is_file()]
    lines += [f"  checkpoint {checkpoint.name}" for checkpoint in checkpoints]
    bundle, reports = path / "bundle", sorted((path / "report").glob(f"*/{_REPORT}"))
    lines.append(
        f"  bundle {bundle}" if is_bundle(bundle) else "  no bundle: training not finished"
    )
    return "\n".join([*lines, *(_report(report) for report in reports)])


def _report(path: Path) -> str:
    try:
        report = json.loads(path.read_text("utf-8"))
        wer, cer = float(report["wer"]), float(report["cer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AsrError(f"{path} is no report of asr: {error}") from None
    return f"report {path}: WER {100 * wer:.2f} %, CER {100 * cer:.2f} %"
