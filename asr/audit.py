"""What manifests hold and what is wrong with them, for training and for trusting what it gives.

`audit` reads manifests, `asr.audit_audio` looks at their files, `asr.audit_texts` at their texts,
`asr.audit_overlap` at what they share. Nothing is changed: `asr.audit_drop` writes cleaned manifests.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audit_audio import AudioAudit, Progress, audit_audio
from asr.audit_facts import (
    Audit,
    Finding,
    ManifestAudit,
    Reason,
    UnknownCharacter,
    density,
    distribution,
)
from asr.audit_overlap import Keyed, duplicates, overlaps
from asr.audit_texts import (
    Texts,
    choose_normalizer,
    count_characters,
    read_texts,
    speaking_rates,
    text_findings,
    unknown_characters,
)
from asr.bundle import Bundle
from asr.errors import UsageError
from asr.manifest import Utterance, read_manifest
from asr.model import ModelConfig
from asr.tokenizer import CharTokenizer, Tokenizer

_ORDER = {reason: place for place, reason in enumerate(Reason)}


@dataclass(frozen=True)
class AuditOptions:
    """How to audit.

    Attributes:
        bundle: the model whose alphabet, frames and normaliser the manifests are held against; None:
            the alphabet of the training manifests, and the frames of the default model.
        normalizer: name of the text normaliser; None: the bundle's, else the English one where it
            keeps most letters, else the one for any script.
        headers: open every audio file.
        content: decode every clip, too: silence, clipping, damage, the same audio under two names.
        jobs: threads for both; None: one a core.
    """

    bundle: Bundle | None = None
    normalizer: str | None = None
    headers: bool = True
    content: bool = False
    jobs: int | None = None


@dataclass(frozen=True)
class _Loaded:
    """A manifest with what was read for it."""

    name: str
    path: Path
    utterances: list[Utterance]
    texts: Texts
    audio: AudioAudit

    @property
    def is_train(self) -> bool:
        return Path(self.name).name.lower().startswith("train")

    @property
    def keyed(self) -> Keyed:
        return Keyed(self.name, self.utterances, self.texts.normalized, self.audio.keys)


def audit(
    manifests: Sequence[Path | str],
    options: AuditOptions | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit manifests, together where there are several.

    Manifests whose name starts with "train" (or else the first) are the training manifests: the
    alphabet is theirs unless there is a model, and in overlaps they count as the earliest.

    Raises:
        UsageError: no manifest, one given twice, an unknown normaliser.
        ManifestError: a manifest that cannot be read, or has no utterances.
    """
    options = options or AuditOptions()
    paths = _distinct([Path(path) for path in manifests])
    utterances = [read_manifest(path) for path in paths]
    raw = [count_characters(one.text for one in part) for part in utterances]
    normalizer = _normalizer(options, raw)
    sample_rate = _config(options).features.sample_rate
    loaded = [
        _Loaded(
            name, path, part, read_texts(part, characters, normalizer),
            audit_audio(
                part, sample_rate, headers=options.headers, content=options.content,
                jobs=options.jobs, progress=progress,
            ),
        )
        for name, path, part, characters in zip(_names(paths), paths, utterances, raw, strict=True)
    ]  # fmt: skip
    return _judge(loaded, options, normalizer)


def _judge(loaded: Sequence[_Loaded], options: AuditOptions, normalizer: str) -> Audit:
    tokenizer, alphabet_name = _alphabet(loaded, options.bundle)
    config = _config(options)
    unknown = [
        unknown_characters(one.utterances, one.texts, tokenizer, normalizer) for one in loaded
    ]
    # Stable: training manifests first, the rest as given.
    order = sorted(loaded, key=lambda one: not one.is_train)
    shared, shared_findings = overlaps([one.keyed for one in order])
    findings = shared_findings
    for one, strange in zip(loaded, unknown, strict=True):
        findings += _findings(one, strange, tokenizer, config)
    place = {one.name: number for number, one in enumerate(loaded)}
    findings.sort(key=lambda found: (place[found.manifest], _ORDER[found.reason]))
    return Audit(
        manifests=tuple(map(_describe, loaded, unknown)),
        overlaps=tuple(shared),
        findings=tuple(findings),
        normalizer=normalizer,
        alphabet="".join(tokenizer.tokens[1:]),
        alphabet_name=alphabet_name,
        output_frame_s=config.output_frame_s,
        model_name=_model_name(options.bundle),
        sample_rate=config.features.sample_rate,
        headers_checked=options.headers,
        content_checked=options.headers and options.content,
    )


def _findings(
    one: _Loaded,
    unknown: Sequence[UnknownCharacter],
    tokenizer: Tokenizer,
    config: ModelConfig,
) -> list[Finding]:
    findings = [
        Finding(reason, one.name, utterance, detail)
        for utterance, issues in zip(one.utterances, one.audio.issues, strict=True)
        for reason, detail in issues
    ]
    findings += text_findings(
        one.name, one.utterances, one.texts, one.audio.durations_s, unknown, tokenizer, config
    )
    findings += duplicates(one.keyed)
    return findings


def _describe(one: _Loaded, unknown: tuple[UnknownCharacter, ...]) -> ManifestAudit:
    durations, texts = one.audio.durations_s, one.texts
    seconds: dict[str, float] = defaultdict(float)
    for utterance, duration_s in zip(one.utterances, durations.tolist(), strict=True):
        if utterance.speaker_id is not None:
            seconds[utterance.speaker_id] += duration_s
    return ManifestAudit(
        name=one.name,
        path=one.path,
        num_utterances=len(one.utterances),
        duration_s=float(durations.sum()),
        num_speakers=len(seconds),
        num_without_speaker=sum(utterance.speaker_id is None for utterance in one.utterances),
        num_words=texts.num_words,
        num_distinct_words=texts.num_distinct_words,
        characters=tuple(texts.characters.most_common()),
        unknown=unknown,
        durations=distribution(durations[durations > 0]),
        rates=distribution(speaking_rates(texts, durations)),
        pairs=density(durations, texts.num_characters),
        speaker_minutes=distribution(np.array(list(seconds.values())) / 60),
        audio=one.audio.summary,
    )


def _alphabet(loaded: Sequence[_Loaded], bundle: Bundle | None) -> tuple[Tokenizer, str]:
    if bundle is not None:
        return bundle.tokenizer, "the model"
    chosen = [one for one in loaded if one.is_train] or [loaded[0]]
    tokenizer = CharTokenizer.from_texts(char for one in chosen for char in one.texts.characters)
    return tokenizer, ", ".join(one.name for one in chosen)


def _config(options: AuditOptions) -> ModelConfig:
    """Of the model, or of one with the default front end and encoder."""
    return options.bundle.model.config if options.bundle else ModelConfig(vocab_size=1)


def _model_name(bundle: Bundle | None) -> str | None:
    return None if bundle is None else bundle.training.recipe or bundle.model_id


def _normalizer(options: AuditOptions, characters: Sequence[Counter[str]]) -> str:
    if options.normalizer is not None:
        return options.normalizer
    if options.bundle is not None:
        return options.bundle.normalizer
    return choose_normalizer(sum(characters, Counter()))


def _distinct(paths: list[Path]) -> list[Path]:
    if not paths:
        raise UsageError("name at least one manifest")
    for path, times in Counter(path.resolve() for path in paths).items():
        if times > 1:
            raise UsageError(f"{path} was given {times} times; name each manifest once")
    return paths


def _names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix; where two are the same, with as many folders as tell them apart."""
    parts = [path.absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [
            "/".join((*part[-depth:-1], path.stem)) for part, path in zip(parts, paths, strict=True)
        ]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]  # one folder, one name, two suffixes
