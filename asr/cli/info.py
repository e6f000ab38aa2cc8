"""`asr info` and `asr doctor`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asr.audit import AuditOptions
    from asr.audit_facts import Audit, Reason
    from asr.bundle import Bundle


def register(app: typer.Typer) -> None:
    """Add both commands to `app`."""
    app.command("info")(info)
    app.command("doctor")(doctor)


def info(
    paths: Annotated[
        list[Path], typer.Argument(help="Bundles, run folders, reports; manifests are audited.")
    ],
    model: Annotated[
        Path | None,
        typer.Option("-m", "--model", help="Bundle whose alphabet and frames texts must fit."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for audit.html, .json, findings.tsv.")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON",
            help="Leave out utterances with this finding: writes cleaned manifests and "
            "left_out.tsv into OUT. Repeatable.",
        ),
    ] = None,
    audio: Annotated[
        bool, typer.Option("--audio", help="Decode the audio: silence, clipping, copies, damage.")
    ] = False,
    headers: Annotated[
        bool, typer.Option("--headers/--no-headers", help="Open every audio file.")
    ] = True,
    normalizer: Annotated[
        str | None, typer.Option(help="asr-en-1, asr-any-1 or none; else by model or alphabet.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Threads; one a core.")
    ] = None,
) -> int:
    """Say what a bundle, run folder or report is; audit manifests, together where there are several.

    Manifests named train* (else the first) are the training set: the alphabet is theirs unless there
    is a --model, and overlaps are findings of theirs. Exit status 1 where audio is missing or
    unreadable and not dropped.

    Example: asr info train.jsonl dev.jsonl --audio --drop unreadable-audio -o cleaned
    """
    from asr.audit import AuditOptions
    from asr.describe import describe, is_manifest
    from asr.errors import UsageError

    manifests = [path for path in paths if is_manifest(path)]
    for path in paths:
        if path not in manifests:
            typer.echo(describe(path))
    if not manifests:
        if drop or out or model or audio:
            raise UsageError("--model, --out, --drop and --audio are for manifests")
        return 0
    if drop and out is None:
        raise UsageError("--drop writes cleaned manifests: say into which folder with -o")
    if audio and not headers:
        raise UsageError("--audio opens the audio: leave out --no-headers")
    options = AuditOptions(_load(model), normalizer, headers, audio, jobs)
    return _audit(manifests, options, drop or [], out)


def _load(model: Path | None) -> "Bundle | None":
    if model is None:
        return None
    from asr.bundle import load_bundle

    return load_bundle(model)


def _audit(
    manifests: list[Path], options: "AuditOptions", drop: list[str], out: Path | None
) -> int:
    from asr.audit import audit
    from asr.audit_drop import parse_reasons, write_audit, write_cleaned
    from asr.audit_summary import audit_to_text

    reasons = parse_reasons(drop, headers=options.headers, content=options.content)
    result = audit(manifests, options, _show_progress)
    typer.echo(audit_to_text(result))
    if out is not None:
        typer.echo(f"audit: {write_audit(result, out)}")
    if out is not None and reasons:
        for one in write_cleaned(result, reasons, out):
            typer.echo(f"{one.path}: {one.num_kept:,} kept, {one.num_left_out:,} left out")
    return 1 if _has_failures(result, reasons) else 0


def _has_failures(result: "Audit", dropped: "frozenset[Reason]") -> bool:
    """Whether audio that cannot be read stays in the manifests."""
    from asr.audit_facts import FAILURES

    return any(found.reason in FAILURES - dropped for found in result.findings)


def _show_progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "" if done < total else "\n"
        print(f"\r{what} {done:,}/{total:,}", end=end, file=sys.stderr)


def doctor() -> int:
    """Check that this machine has what asr needs, and say what to do where it does not."""
    from asr.doctor import Verdict, examine

    checks = examine()
    for check in checks:
        typer.echo(f"{check.verdict:8}{check.name:14}{check.finding}")
        if check.advice:
            typer.echo(f"{'':22}-> {check.advice}")
    return 3 if any(check.verdict is Verdict.BROKEN for check in checks) else 0
