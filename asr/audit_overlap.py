"""What occurs twice: texts and audio within a manifest; ids, speakers, texts and audio in two.

An overlap is a finding of the earlier manifest, so that dropping it leaves the later one, the test
set of a usual order, as it was and comparable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr.audit_facts import Finding, Overlap, Reason
from asr.manifest import Utterance

_MAX_EXAMPLES = 10
_SHOWN_TEXT = 80


@dataclass(frozen=True)
class Keyed:
    """A manifest with what its utterances may have in common; None or '' has nothing in common."""

    name: str
    utterances: Sequence[Utterance]
    texts: Sequence[str]
    audio: Sequence[object]

    def keys(self, reason: Reason) -> Sequence[object]:
        """What `reason` compares, one for each utterance."""
        if reason is Reason.SHARED_ID:
            return [one.utterance_id for one in self.utterances]
        if reason is Reason.SHARED_SPEAKER:
            return [one.speaker_id for one in self.utterances]
        return self.texts if reason in (Reason.SHARED_TEXT, Reason.DUPLICATE_TEXT) else self.audio


_SHARED = {
    Reason.SHARED_ID: "utterance ids",
    Reason.SHARED_SPEAKER: "speakers",
    Reason.SHARED_TEXT: "texts",
    Reason.SHARED_AUDIO: "audio",
}


def duplicates(manifest: Keyed) -> Iterator[Finding]:
    """Every utterance whose text or audio an earlier one of the manifest has."""
    for reason in (Reason.DUPLICATE_TEXT, Reason.DUPLICATE_AUDIO):
        first: dict[object, int] = {}
        for index, key in enumerate(manifest.keys(reason)):
            original = first.setdefault(key, index)
            if key and original != index:
                utterance = manifest.utterances[index]
                detail = f"as in {manifest.utterances[original].utterance_id}"
                yield Finding(reason, manifest.name, utterance, detail + _quoted(reason, key))


def overlaps(manifests: Sequence[Keyed]) -> tuple[list[Overlap], list[Finding]]:
    """What each manifest shares with later ones, and which of its utterances are concerned."""
    found: list[Overlap] = []
    findings: list[Finding] = []
    for reason, kind in _SHARED.items():
        keys = [manifest.keys(reason) for manifest in manifests]
        distinct = [set(one) - {None, ""} for one in keys]
        for i, first in enumerate(manifests):
            sharers: dict[object, list[str]] = {}
            for j in range(i + 1, len(manifests)):
                shared = distinct[i] & distinct[j]
                for key in shared:
                    sharers.setdefault(key, []).append(manifests[j].name)
                if shared:
                    found.append(_overlap(kind, (first, manifests[j]), (keys[i], keys[j]), shared))
            findings += _shared_findings(reason, first, keys[i], sharers)
    return found, findings


def _overlap(
    kind: str,
    manifests: tuple[Keyed, Keyed],
    keys: tuple[Sequence[object], Sequence[object]],
    shared: set[object],
) -> Overlap:
    users = [
        [one for one, key in zip(manifest.utterances, values, strict=True) if key in shared]
        for manifest, values in zip(manifests, keys, strict=True)
    ]
    if kind == "audio":
        examples = [one.utterance_id for one in users[0][:_MAX_EXAMPLES]]
    else:
        examples = sorted(str(key)[:_SHOWN_TEXT] for key in shared)[:_MAX_EXAMPLES]
    names = manifests[0].name, manifests[1].name
    return Overlap(kind, *names, len(shared), len(users[0]), len(users[1]), tuple(examples))


def _shared_findings(
    reason: Reason, manifest: Keyed, keys: Sequence[object], sharers: dict[object, list[str]]
) -> Iterator[Finding]:
    if not sharers:
        return
    for utterance, key in zip(manifest.utterances, keys, strict=True):
        if key in sharers:
            detail = f"also in {', '.join(sharers[key])}{_quoted(reason, key)}"
            yield Finding(reason, manifest.name, utterance, detail)


def _quoted(reason: Reason, key: object) -> str:
    if reason in (Reason.DUPLICATE_AUDIO, Reason.SHARED_AUDIO, Reason.SHARED_ID):
        return ""
    return f": {str(key)[:_SHOWN_TEXT]}"
