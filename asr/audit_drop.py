"""An audit -> audit.html, audit.json, findings.tsv; and cleaned manifests with a list of what they
leave out and why."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.audit_facts import CONTENT_REASONS, FAILURES, Audit, Finding, ManifestAudit, Reason
from asr.audit_page import audit_to_html
from asr.audit_summary import audit_to_json, findings_to_tsv
from asr.errors import AsrError, UsageError
from asr.manifest import read_manifest, write_manifest
from asr.report import write_files

LEFT_OUT = "left_out.tsv"


@dataclass(frozen=True)
class CleanedManifest:
    """A manifest without the utterances that were to be dropped."""

    name: str
    path: Path
    num_kept: int
    num_left_out: int


def write_audit(audit: Audit, out: Path | str) -> Path:
    """Write the three files into the folder `out`; returns the page's path.

    Raises:
        AsrError: `out` is a file, or cannot be written.
    """
    out = Path(out)
    document = json.dumps(audit_to_json(audit), ensure_ascii=False, indent=1, allow_nan=False)
    files = {
        "audit.html": audit_to_html(audit, out),
        "audit.json": document + "\n",
        "findings.tsv": findings_to_tsv(audit.findings),
    }
    write_files(out, files)
    return out / "audit.html"


def parse_reasons(names: Sequence[str], *, headers: bool, content: bool) -> frozenset[Reason]:
    """Reasons by name.

    Raises:
        UsageError: an unknown name (lists those there are), or a reason that would find nothing
            because the audio is not looked at.
    """
    known = {str(reason): reason for reason in Reason}
    for name in names:
        if name not in known:
            raise UsageError(f"no reason is called {name!r}; there are: {', '.join(known)}")
        if known[name] in CONTENT_REASONS and not content:
            raise UsageError(f"{name} is found by decoding the audio: add --audio")
        if known[name] in FAILURES | {Reason.DURATION, Reason.SAMPLE_RATE} and not headers:
            raise UsageError(f"{name} is found by opening the audio: leave out --no-headers")
    return frozenset(known[name] for name in names)


def write_cleaned(
    audit: Audit, reasons: Collection[Reason], out: Path | str
) -> list[CleanedManifest]:
    """Write OUT/<manifest>.jsonl without utterances that have one of `reasons`, and left_out.tsv.

    Raises:
        AsrError: nothing would be left of a manifest; OUT is where a manifest itself lies, or
            cannot be written.
    """
    out = Path(out)
    dropped = [found for found in audit.findings if found.reason in reasons]
    targets = {one.name: out / f"{one.name.replace('/', '-')}.jsonl" for one in audit.manifests}
    ids = {one.name: _ids(dropped, one.name) for one in audit.manifests}
    for one in audit.manifests:
        _check(one, targets[one.name], ids[one.name])
    write_files(out, {LEFT_OUT: findings_to_tsv(dropped)})
    return [_clean(one, targets[one.name], ids[one.name]) for one in audit.manifests]


def _ids(findings: Sequence[Finding], manifest: str) -> set[str]:
    return {found.utterance.utterance_id for found in findings if found.manifest == manifest}


def _check(manifest: ManifestAudit, target: Path, left_out: set[str]) -> None:
    if target.resolve() == manifest.path.resolve():
        raise AsrError(f"{target} is the manifest itself: choose another folder with -o")
    if len(left_out) == manifest.num_utterances:
        raise AsrError(
            f"{manifest.path}: all {manifest.num_utterances:,} utterances would be left out; drop "
            "fewer reasons"
        )


def _clean(manifest: ManifestAudit, target: Path, left_out: set[str]) -> CleanedManifest:
    utterances = read_manifest(manifest.path)
    kept = write_manifest(target, (one for one in utterances if one.utterance_id not in left_out))
    return CleanedManifest(manifest.name, target, kept, len(left_out))
