"""Two files of texts -> a score and what the report tells besides: what `asr score` does."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import AsrError, UsageError
from asr.facts import ReportFacts, UtteranceFacts
from asr.scoring import CorpusScore, Missing, score
from asr.substitutions import read_substitutions
from asr.text import DEFAULT_NORMALIZER, get_normalizer
from asr.textfiles import Columns, Side, Texts, detect_format, read_lines, read_texts
from asr.timedfiles import (
    read_ctm,
    read_stm,
    recordings_to_texts,
    segments_to_texts,
    words_to_segments,
)

WHISPER = "whisper-en"


@dataclass(frozen=True)
class ScoreOptions:
    """How files are read and scored; the defaults are those of `asr score`.

    Attributes:
        reference_format, hypothesis_format: None goes by suffix and first lines.
        by_line: both files are plain lines that belong together by their number.
        speakers: a file `utterance-id speaker`, for references that do not name speakers.
        speaker_pattern: a regular expression whose first group (or whole match) in the utterance
            id is the speaker.
        vocabulary: a file with a word at the start of each line.
    """

    reference_format: str | None = None
    hypothesis_format: str | None = None
    by_line: bool = False
    reference_columns: Columns = field(default_factory=Columns)
    hypothesis_columns: Columns = field(default_factory=Columns)
    encoding: str = "utf-8"
    missing: Missing = "count"
    normalizer: str = DEFAULT_NORMALIZER
    substitutions: Path | None = None
    speakers: Path | None = None
    speaker_pattern: str | None = None
    vocabulary: Path | None = None
    title: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class ScoredFiles:
    """A score with the facts for its report."""

    score: CorpusScore
    facts: ReportFacts


def score_files(
    reference: Path | str, hypothesis: Path | str, options: ScoreOptions | None = None
) -> ScoredFiles:
    """Read, normalise, join by utterance id, score.

    Raises:
        AsrError: a file that cannot be read, ids that do not meet, a normaliser that leaves
            nothing of most references. UsageError: options that do not fit.
    """
    options = options or ScoreOptions()
    references, hypotheses = _read_pair(Path(reference), Path(hypothesis), options)
    normalize, name = normalizer_of(options.normalizer, options.substitutions)
    result = score(
        references.texts,
        hypotheses.texts,
        speakers=_speakers(references, hypotheses, options),
        missing=options.missing,
        normalize=normalize,
        normalizer=name,
    )
    _check_not_emptied(result, options.normalizer)
    facts = ReportFacts(
        title=options.title or f"{references.path.name}: word error rate",
        system=options.system,
        reference=str(references.path),
        hypothesis=str(hypotheses.path),
        vocabulary=_vocabulary(options.vocabulary, normalize),
        vocabulary_name=str(options.vocabulary) if options.vocabulary else None,
        utterances=_joined_facts(references.facts, hypotheses.facts),
        notes=_dropped_letters(result, normalize),
    )
    return ScoredFiles(result, facts)


def normalizer_of(name: str, substitutions: Path | None = None) -> tuple[Callable[[str], str], str]:
    """The normaliser called `name`, followed by a substitutions file, and the name of both."""
    normalize, full_name = _whisper() if name == WHISPER else (get_normalizer(name), name)
    if substitutions is None:
        return normalize, full_name
    rules = read_substitutions(substitutions, normalize)
    return lambda text: rules.apply(normalize(text)), f"{full_name}+{rules.name}"


def _whisper() -> tuple[Callable[[str], str], str]:
    """Whisper's English normaliser, out of the package `whisper-normalizer` (extra `whisper`)."""
    try:
        from importlib.metadata import version

        from whisper_normalizer.english import (  # type: ignore[import-not-found, unused-ignore]
            EnglishTextNormalizer,
        )
    except ImportError:
        raise AsrError(
            f"the normaliser {WHISPER} needs the package whisper-normalizer: "
            "pip install 'asr[whisper]'"
        ) from None
    return EnglishTextNormalizer(), f"{WHISPER}-{version('whisper-normalizer')}"


def _read_pair(reference: Path, hypothesis: Path, options: ScoreOptions) -> tuple[Texts, Texts]:
    if options.by_line:
        return _read_lines_pair(reference, hypothesis, options)
    wanted = (options.reference_format, options.hypothesis_format)
    formats = [
        name or _format_of(path, options.encoding)
        for path, name in zip((reference, hypothesis), wanted, strict=True)
    ]
    if formats == ["stm", "ctm"]:
        segments = read_stm(reference, options.encoding)
        words = read_ctm(hypothesis, options.encoding)
        texts = segments_to_texts(reference, segments)
        return texts, words_to_segments(hypothesis, words, segments)
    references = _read_one(reference, "reference", formats[0], options)
    hypotheses = _read_one(hypothesis, "hypothesis", formats[1], options)
    key = references.text_key
    if key and key == hypotheses.text_key and reference.samefile(hypothesis):
        raise UsageError(
            f"{reference} has the references and the hypotheses, and both would be read from {key!r}: "
            "name them with --text-column and --hypothesis-column"
        )
    return references, hypotheses


def _format_of(path: Path, encoding: str) -> str:
    return "folder" if path.is_dir() else detect_format(path, read_lines(path, encoding))


def _read_one(path: Path, side: Side, format: str, options: ScoreOptions) -> Texts:
    if format == "ctm":
        return recordings_to_texts(path, read_ctm(path, options.encoding))
    if format == "stm":
        return segments_to_texts(path, read_stm(path, options.encoding))
    columns = options.reference_columns if side == "reference" else options.hypothesis_columns
    return read_texts(path, side, format=format, columns=columns, encoding=options.encoding)


def _read_lines_pair(
    reference: Path, hypothesis: Path, options: ScoreOptions
) -> tuple[Texts, Texts]:
    references = read_texts(reference, "reference", format="lines", encoding=options.encoding)
    hypotheses = read_texts(hypothesis, "hypothesis", format="lines", encoding=options.encoding)
    counts = len(references.texts), len(hypotheses.texts)
    if counts[0] != counts[1]:
        raise AsrError(
            f"{reference} has {counts[0]} lines but {hypothesis} has {counts[1]}: by line number "
            "they cannot belong together; give both files utterance ids"
        )
    return references, hypotheses


def _speakers(references: Texts, hypotheses: Texts, options: ScoreOptions) -> Mapping[str, str]:
    if options.speakers is not None:
        speakers = read_texts(options.speakers, "reference", format="text").texts
        if not speakers.keys() & references.texts.keys():
            raise UsageError(
                f"--speakers {options.speakers} has no utterance id of {references.path}, such as "
                f"{next(iter(references.texts))!r}"
            )
        return speakers
    if options.speaker_pattern is None:
        named = {**hypotheses.speakers, **references.speakers}
        column = options.reference_columns.speaker
        if column and not named:
            raise UsageError(f"--speaker-column {column!r}: neither file has a speaker under that")
        return named
    try:
        pattern = re.compile(options.speaker_pattern)
    except re.error as error:
        raise UsageError(f"--speaker-pattern {options.speaker_pattern!r}: {error}") from None
    matches = {name: pattern.search(name) for name in references.texts}
    if not any(matches.values()):
        example = next(iter(references.texts))
        raise UsageError(
            f"--speaker-pattern {options.speaker_pattern!r} matches no utterance id, such as "
            f"{example!r}"
        )
    return {name: m[1] if m.re.groups else m[0] for name, m in matches.items() if m}


def _check_not_emptied(result: CorpusScore, normalizer: str) -> None:
    spoken = [one for one in result.utterances if one.raw_reference.strip()]
    emptied = [one for one in spoken if not one.reference]
    if 2 * len(emptied) > len(spoken):
        raise AsrError(
            f"the normaliser {normalizer} leaves nothing of {len(emptied)} of {len(spoken)} "
            f"references, such as {emptied[0].raw_reference[:60]!r}; choose another with "
            "--normalizer (asr-any-1 keeps the letters of any script, none keeps all)"
        )


def _dropped_letters(result: CorpusScore, normalize: Callable[[str], str]) -> tuple[str, ...]:
    """A note on letters that the normaliser drops: words that differ in them may count as one."""
    spoken = [one.raw_reference for one in result.utterances if not one.raw_reference.isascii()]
    letters = {char for text in spoken for char in text if char.isalpha() and not char.isascii()}
    dropped = {letter for letter in letters if not normalize(letter)}
    having = [text for text in spoken if not dropped.isdisjoint(text)]
    if not having:
        return ()
    example = next(char for char in having[0] if char in dropped)
    return (
        f"{len(having):,} of {len(result.utterances):,} references have letters that the normaliser "
        f"{result.normalizer} drops, such as {example!r}, so that words which differ in them may count "
        "as the same; asr-any-1 keeps the letters of every script.",
    )


def _vocabulary(path: Path | None, normalize: Callable[[str], str]) -> frozenset[str] | None:
    """The first word of each line, normalised: word lists, lexicons and counts all begin so."""
    if path is None:
        return None
    firsts = {line.split()[0] for line in read_lines(path) if line.strip()}
    return frozenset(word for first in firsts for word in normalize(first).split())


def _joined_facts(
    references: Mapping[str, UtteranceFacts], hypotheses: Mapping[str, UtteranceFacts]
) -> dict[str, UtteranceFacts]:
    """What the reference file says wins; word confidences are the hypothesis file's alone."""
    none = UtteranceFacts()
    joined = {}
    for name in {**references, **hypotheses}:
        one, other = references.get(name, none), hypotheses.get(name, none)
        joined[name] = UtteranceFacts(
            one.duration_s if one.duration_s is not None else other.duration_s,
            one.audio_path or other.audio_path,
            one.offset_s or other.offset_s,
            {**other.fields, **one.fields},
            other.confidences,
        )
    return joined
