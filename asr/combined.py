"""Results -> lines of the combined formats (jsonl, ctm, trn), one for every input."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asr.batch import Result
from asr.formats import COMBINED_FORMATS, Labelled, as_json, transcript_from_json
from asr.items import Item
from asr.transcript import Transcript

_OUTCOME = ("status", "reason", "notes")  # of an input, as jsonl and the log have it


def outcome(result: Result) -> dict[str, Any]:
    """Whether an input was transcribed, and what was odd about it."""
    fields: dict[str, Any] = {"status": result.status.value}
    if result.reason:
        fields["reason"] = result.reason
    if result.notes:
        fields["notes"] = list(result.notes)
    return fields


def transcript_fields(item: Item, transcript: Transcript) -> dict[str, Any]:
    """A transcript as JSON, without what the item's manifest says besides: `combined_line` adds it."""
    return as_json(labelled(replace(item, extra={}), transcript))


def labelled(item: Item, transcript: Transcript) -> Labelled:
    """A transcript with its item's labels."""
    return Labelled(transcript, item.utterance_id, str(item.path), item.channel, item.extra)


def combined_line(
    item: Item, line: Mapping[str, Any], name: str, audio_filepath: str | None = None
) -> str:
    """An item's part of a combined file, from its line in the log; the path as jsonl has it.

    An input without a transcript has an empty text, and in jsonl its `status` and `reason`: so it
    counts as errors in a score, and is not forgotten.
    """
    known = "words" in line
    transcript = transcript_from_json(line) if known else Transcript("", (), 0.0)
    status = {key: line[key] for key in _OUTCOME if key in line}
    extra = {key: value for key, value in item.extra.items() if key not in _OUTCOME}
    utterance_id = item.utterance_id if name == "jsonl" else item.field_id or item.utterance_id
    return COMBINED_FORMATS[name](
        Labelled(
            transcript, utterance_id, audio_filepath or str(item.path), item.channel, extra | status
        )
    )


def result_line(result: Result, name: str) -> str:
    """`combined_line` for a result that is in no log."""
    line = outcome(result)
    if result.transcript is not None:
        line |= transcript_fields(result.item, result.transcript)
    return combined_line(result.item, line, name)
