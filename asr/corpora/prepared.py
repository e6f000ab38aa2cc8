"""A listing -> manifests: the audio is opened, what does not fit is set aside, the sets are written.

OUT/<set>.jsonl for each set, and OUT/problems.tsv with a line for everything that was left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.codecs import printable
from asr.corpora.listing import SUBSETS, Clip, Listing, Problem, Reason
from asr.corpora.probing import Progress, probe_all
from asr.corpora.splits import Shares, split
from asr.errors import AsrError
from asr.manifest import Utterance, write_manifest
from asr.whole_file import writing

PROBLEMS_FILE = "problems.tsv"
_OVERHANG_S = 0.5  # times may end this much after the audio: they are rounded by hand and by tools


@dataclass(frozen=True)
class WrittenSet:
    """One manifest that was written."""

    name: str
    manifest: Path
    num_utterances: int
    num_speakers: int
    duration_s: float


@dataclass(frozen=True)
class Prepared:
    """What came of a corpus.

    Attributes:
        sets: the manifests, train before dev before test where the corpus was split.
        problems: what was left out; `problems_path` has them all, where there are any.
        notes: what was assumed, and how the sets came about.
        characters: how often each character stands in the texts as they are.
    """

    layout: str
    sets: tuple[WrittenSet, ...]
    problems: tuple[Problem, ...]
    problems_path: Path | None
    notes: tuple[str, ...]
    characters: Mapping[str, int]

    @property
    def reasons(self) -> list[tuple[Reason, int]]:
        """How many problems of each kind, the most frequent first."""
        return Counter(problem.reason for problem in self.problems).most_common()


def prepare_listing(
    listing: Listing,
    out: Path | str,
    *,
    name: str = "all",
    shares: Shares | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Open the audio of a listing and write its manifests.

    After a split, manifests of an earlier one whose sets this one has not become SET.jsonl.old: what
    they hold may be in another set now.

    Args:
        out: folder for manifests and problems.
        name: of the manifest of those clips that belong to no set, where nothing is split.
        shares: what to hold back for dev and test; None keeps the corpus's own sets.
        progress: see `probe_all`.

    Raises:
        AsrError: no clip has both audio and a text, or too few to split.
    """
    out = Path(out)
    clips, text_problems = _with_texts(listing.clips)
    utterances, audio_problems = _with_audio(clips, progress)
    problems = (*listing.problems, *text_problems, *audio_problems)
    problems_path = write_problems(out / PROBLEMS_FILE, problems)
    if not utterances:
        raise AsrError(_nothing_left(listing, problems, problems_path))
    subsets = {clip.utterance_id: clip.subset for clip in clips if clip.subset}
    given = {
        one.utterance_id: subsets[one.utterance_id]
        for one in utterances
        if one.utterance_id in subsets
    }
    notes = listing.notes
    sets: Mapping[str, Sequence[Utterance]]
    if shares is None:
        sets = _given_sets(utterances, given, name)
    else:
        divided = split(utterances, shares, given)
        sets, notes = divided.sets, (*notes, *divided.notes)
    written = tuple(_write_set(out, name, some) for name, some in sets.items())
    if shares is not None:
        notes = (*notes, *_set_aside(out, sets))
    characters = Counter(char for one in utterances for char in one.text)
    return Prepared(listing.layout, written, problems, problems_path, notes, characters)


def write_problems(path: Path, problems: Sequence[Problem]) -> Path | None:
    """Write a table of problems (reason, where, what), or remove an old one where there are none."""
    if not problems:
        path.unlink(missing_ok=True)
        return None
    rows = [("reason", "where", "what"), *((one.reason, one.where, one.what) for one in problems)]
    lines = ("\t".join(printable(cell) for cell in row) for row in rows)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _nothing_left(listing: Listing, problems: Sequence[Problem], path: Path | None) -> str:
    message = f"no utterance with both audio and a text ({listing.layout})"
    if not problems:
        return f"{message}: there are no clips at all"
    return f"{message}; {len(problems)} problems, all in {path}; the first: {problems[0]}"


def _with_texts(clips: Iterable[Clip]) -> tuple[list[Clip], list[Problem]]:
    """The clips that have a text and an id of their own."""
    first: dict[str, str] = {}
    kept, problems = [], []
    for clip in clips:
        if not clip.text.strip():
            problems.append(
                Problem(Reason.EMPTY_TEXT, clip.where, f"{clip.utterance_id} has no text")
            )
        elif clip.utterance_id in first:
            what = f"id {clip.utterance_id} was used before, in {first[clip.utterance_id]}"
            problems.append(Problem(Reason.ID_TWICE, clip.where, what))
        else:
            first[clip.utterance_id] = clip.where
            kept.append(clip)
    return kept, problems


def _with_audio(
    clips: Sequence[Clip], progress: Progress | None
) -> tuple[list[Utterance], list[Problem]]:
    """An utterance for each clip whose audio is there; an audio file is opened once."""
    found = dict(probe_all(list(dict.fromkeys(clip.audio_path for clip in clips)), progress))
    utterances: list[Utterance] = []
    problems = []
    for clip in clips:
        audio = found[clip.audio_path]
        result = audio if isinstance(audio, Problem) else _utterance(clip, audio)
        if isinstance(result, Problem):
            what = f"{clip.utterance_id}: {result.where}: {result.what}"
            problems.append(Problem(result.reason, clip.where, what))
        else:
            utterances.append(result)
    return utterances, problems


def _utterance(clip: Clip, audio_s: float) -> Utterance | Problem:
    end_s = audio_s if clip.end_s is None else clip.end_s
    times = f"{clip.offset_s:g} to {end_s:g} s"
    if not 0 <= clip.offset_s < end_s:
        return Problem(Reason.BAD_TIMES, str(clip.audio_path), f"{times} is no stretch of time")
    if end_s > audio_s + _OVERHANG_S or clip.offset_s >= audio_s:
        what = f"{times} is not in it: the audio is {audio_s:.2f} s long"
        return Problem(Reason.BAD_TIMES, str(clip.audio_path), what)
    return Utterance(
        utterance_id=clip.utterance_id,
        audio_path=clip.audio_path,
        text=" ".join(clip.text.split()),
        duration_s=round(min(end_s, audio_s) - clip.offset_s, 6),
        offset_s=clip.offset_s,
        speaker_id=clip.speaker_id,
        extra=clip.extra,
    )


def _given_sets(
    utterances: Iterable[Utterance], given: Mapping[str, str], name: str
) -> dict[str, list[Utterance]]:
    sets: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        sets.setdefault(given.get(utterance.utterance_id, name), []).append(utterance)
    return sets


def _set_aside(out: Path, sets: Iterable[str]) -> list[str]:
    """Rename manifests of train, dev or test that are not of `sets`, and say so."""
    notes = []
    for name in sorted({*SUBSETS.values()} - {*sets}):
        manifest = out / f"{name}.jsonl"
        if manifest.is_file():
            old = manifest.replace(f"{manifest}.old")
            notes.append(f"no {name} in this split: {manifest}, of an earlier one, is now {old}")
    return notes


def _write_set(out: Path, name: str, utterances: Sequence[Utterance]) -> WrittenSet:
    manifest = out / f"{name}.jsonl"
    write_manifest(manifest, utterances)
    return WrittenSet(
        name=name,
        manifest=manifest,
        num_utterances=len(utterances),
        num_speakers=len({one.speaker_id for one in utterances} - {None}),
        duration_s=sum(one.duration_s for one in utterances),
    )
