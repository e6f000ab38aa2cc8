"""An audit as one HTML page without scripts: tables, plots, and the suspicious clips to listen to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

import asr
from asr.audit_facts import EXPLANATIONS, Audit, Finding, ManifestAudit, Reason
from asr.audit_summary import audio_text, basis, characters_text, unknown_text
from asr.facts import UtteranceFacts
from asr.plots_audit import Mark, density_plot, histogram
from asr.report_page import Figure, audio_link, environment
from asr.text import get_normalizer

_SHOWN = 100
_MARKED = 300
_MARKS = (Reason.SPEAKING_RATE, Reason.INFEASIBLE)


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding with a link to its audio, relative to the page; '' where the file is not there."""

    finding: Finding
    audio: str


@dataclass(frozen=True, slots=True)
class ShownReason:
    """All findings of one reason: how many in each manifest, and the first of them."""

    reason: Reason
    explanation: str
    counts: tuple[int, ...]
    shown: tuple[ShownFinding, ...]

    @property
    def total(self) -> int:
        """Findings in all manifests."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class ShownManifest:
    """A manifest with its pictures and its tables as text."""

    manifest: ManifestAudit
    figures: tuple[Figure, ...]
    characters: str
    unknown: tuple[str, ...]
    audio: str


def audit_to_html(audit: Audit, folder: Path) -> str:
    """The page; audio is linked relative to `folder`, where the page will lie.

    Every text is escaped, and the page's policy lets no script run.
    """
    style = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            basis=basis(audit),
            manifests=[_shown_manifest(audit, one) for one in audit.manifests],
            reasons=_shown_reasons(audit, folder.resolve()),
            num_utterances=sum(one.num_utterances for one in audit.manifests),
            hours=sum(one.hours for one in audit.manifests),
            style=Markup(style),
            version=asr.__version__,
        )
    )


def _shown_reasons(audit: Audit, folder: Path) -> list[ShownReason]:
    counts = audit.counts()
    shown: dict[Reason, list[ShownFinding]] = {reason: [] for reason in Reason}
    for found in audit.findings:
        if len(shown[found.reason]) < _SHOWN:
            one = found.utterance
            facts = UtteranceFacts(one.duration_s, one.audio_path, one.offset_s)
            shown[found.reason].append(ShownFinding(found, audio_link(facts, folder)))
    return [
        ShownReason(
            reason,
            EXPLANATIONS[reason],
            tuple(counts[reason, one.name] for one in audit.manifests),
            tuple(findings),
        )
        for reason, findings in shown.items()
        if findings
    ]


def _shown_manifest(audit: Audit, one: ManifestAudit) -> ShownManifest:
    return ShownManifest(
        one,
        tuple(_figures(audit, one)),
        characters_text(one.characters),
        tuple(map(unknown_text, one.unknown)),
        audio_text(one.audio) if one.audio else "",
    )


def _figures(audit: Audit, one: ManifestAudit) -> list[Figure]:
    figures = []
    if one.pairs:
        svg = density_plot(one.pairs, "Length and text", audit.output_frame_s, _marks(audit, one))
        caption = (
            "Darker: more utterances. Dots are suspicious. Above the dashed line a text has more "
            "characters than the audio has encoder frames."
        )
        figures.append(_figure("Characters by length", svg, caption))
    levels = one.audio.levels if one.audio else None
    minutes = one.speaker_minutes if one.num_speakers > 1 else None
    for shown, title, unit, what in (
        (one.durations, "Length", "seconds", "utterances"),
        (one.rates, "Rate of speech", "characters a second", "utterances"),
        (minutes, "Speakers", "minutes a speaker", "speakers"),
        (levels, "Level", "dBFS, loudest 25 ms", "utterances"),
    ):
        if shown:
            caption = f"Median {shown.median:.4g}, from {shown.minimum:.4g} to {shown.maximum:.4g}."
            figures.append(_figure(title, histogram(shown, title, unit, what), caption))
    return figures


def _figure(title: str, svg: str, caption: str) -> Figure:
    return Figure(title, Markup(svg), caption)


def _marks(audit: Audit, one: ManifestAudit) -> Sequence[Mark]:
    normalize = get_normalizer(audit.normalizer)
    suspicious = [
        found for found in audit.findings if found.reason in _MARKS and found.manifest == one.name
    ]
    return [
        Mark(
            found.utterance.duration_s,
            len(normalize(found.utterance.text)),
            f"{found.utterance.utterance_id}: {found.detail}",
        )
        for found in suspicious[:_MARKED]
    ]
