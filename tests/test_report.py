"""What a report's files hold: JSON by its schema, CSV, trn files for sclite, a summary."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asr.errors import AsrError
from asr.facts import ReportFacts, UtteranceFacts
from asr.report import ReportPaths, write_report
from asr.report_json import ReportError, read_report
from asr.report_text import percent
from asr.scoring import CorpusScore, score

SCHEMA = Path(__file__).parent.parent / "asr" / "templates" / "report.schema.json"


@pytest.fixture
def result() -> CorpusScore:
    """5 errors in 10 words: sat/sits, down deleted, both words of the lost one, um inserted."""
    return score(
        {
            "a-1": "the cat sat down",
            "a-2": "yes, sir",
            "b-1": "quite gone",
            "b-2": "every one",
            "c": "",
        },
        {"a-1": "the cat sits", "a-2": "yes, sir", "b-2": "every one", "c": "um", "z": "?"},
        speakers={"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"},
        normalizer="test-1",
    )


@pytest.fixture
def paths(result: CorpusScore, tmp_path: Path) -> ReportPaths:
    facts = ReportFacts(
        "A title",
        system="model 7",
        audio_s=60.0,
        wall_s=2.0,
        vocabulary=frozenset({"the", "cat"}),
        utterances={"a-1": UtteranceFacts(1.5, confidences=(0.9, 0.8, 0.3))},
    )
    return write_report(result, tmp_path / "new" / "folder", facts=facts)


def test_json_begins_with_the_rates(paths: ReportPaths) -> None:
    report = json.loads(paths.json.read_text(encoding="utf-8"))
    assert list(report)[:3] == ["wer", "cer", "counts"]
    assert report["wer"] == 0.5
    assert report["counts"]["deletions"] == 3
    assert report["scoring"]["missing_ids"] == ["b-1"]
    assert report["scoring"]["extra_ids"] == ["z"]
    assert report["normalizer"] == "test-1"
    assert report["system"]["real_time_factor"] == pytest.approx(1 / 30)
    assert report["empty_references"]["counts"]["insertions"] == 1


def test_json_follows_its_schema(paths: ReportPaths) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    report = json.loads(paths.json.read_text(encoding="utf-8"))
    assert list(_violations(report, schema, schema)) == []
    del report["wer"]
    report["utterances"][0]["missing"] = "no"
    report["new"] = 1
    assert [one.split(":")[0] for one in _violations(report, schema, schema)] == [
        "$",
        "$",
        "$.utterances[0].missing",
    ]


def _violations(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> Any:
    """The part of JSON Schema that the schema uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        if all(list(_violations(value, one, root, at)) for one in schema["anyOf"]):
            yield f"{at}: fits no alternative"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: is none of {schema['enum']}"
    types = schema.get("type", [])
    if types and not any(_is(value, one) for one in ([types] if isinstance(types, str) else types)):
        yield f"{at}: is not {types}"
        return
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{at}: lacks {key}" for key in schema.get("required", []) if key not in value)
        if schema.get("additionalProperties") is False:
            yield from (f"{at}: has {key}" for key in value if key not in known)
        for key in known.keys() & value.keys():
            yield from _violations(value[key], known[key], root, f"{at}.{key}")
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            yield from _violations(one, schema["items"], root, f"{at}[{number}]")


def _is(value: Any, name: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if name in kinds:
        return isinstance(value, kinds[name])
    number = int if name == "integer" else (int, float)
    return isinstance(value, number) and not isinstance(value, bool)


def test_report_can_be_read_again(paths: ReportPaths, result: CorpusScore) -> None:
    for path in (paths.folder, paths.json):
        stored = read_report(path)
        assert stored.name == "model 7"
        assert stored.references == {one.utterance_id: one.reference for one in result.utterances}
        assert stored.speakers == {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
        again = score(stored.references, stored.hypotheses)
        assert again.counts == result.counts


def test_what_is_no_report_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no report at .*asr score"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ReportError, match="not JSON"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"wer": 0.1}')
    with pytest.raises(ReportError, match="not a report of format"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"format": "asr-report-1"}')
    with pytest.raises(ReportError, match="damaged"):
        read_report(tmp_path)


def test_tables(paths: ReportPaths) -> None:
    with paths.utterances.open(encoding="utf-8", newline="") as file:
        rows = {row["utterance_id"]: row for row in csv.DictReader(file)}
    assert rows["a-2"]["reference"] == "yes, sir"
    assert (rows["b-1"]["missing"], rows["b-1"]["deletions"], rows["b-1"]["wer"]) == (
        "1",
        "2",
        "1.000000",
    )
    assert rows["c"]["wer"] == ""  # no rate without reference words
    with paths.speakers.open(encoding="utf-8", newline="") as file:
        speakers = {row["speaker"]: row for row in csv.DictReader(file)}
    assert speakers["a"]["wer"] == f"{2 / 6:.6f}"


def test_trn_files_score_the_same_in_sclite(paths: ReportPaths) -> None:
    if shutil.which("sctk") is None:
        pytest.skip("sclite (Debian package sctk) is not installed")
    command = "sctk sclite -s -i rm -r ref.trn trn -h hyp.trn trn -o rsum stdout"
    done = subprocess.run(
        command.split(), cwd=paths.folder, capture_output=True, text=True, check=True
    )
    total = next(line for line in done.stdout.splitlines() if "| Sum" in line)
    assert total.split()[3:] == ["5", "10", "|", "6", "1", "3", "1", "5", "3", "|"]


def test_summary_is_markdown_that_no_transcript_breaks(tmp_path: Path) -> None:
    bad = "a|b <b>bold</b>"
    result = score({"u": bad}, {"u": "x y z"})
    text = write_report(result, tmp_path, facts=ReportFacts(title=bad)).summary.read_text()
    assert "| WER | **150.00 %**" in text
    assert "<b>" not in text
    assert "a\\|b" in text


def test_nothing_to_rate_makes_a_report_all_the_same(tmp_path: Path) -> None:
    paths = write_report(score({"u": ""}, {"u": ""}), tmp_path)
    assert json.loads(paths.json.read_text())["wer"] is None
    assert "–" in paths.html.read_text(encoding="utf-8")


def test_out_that_is_a_file_is_an_error(result: CorpusScore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AsrError, match="cannot write to"):
        write_report(result, tmp_path / "file")


def test_report_with_lone_surrogates_and_control_characters(tmp_path: Path) -> None:
    paths = write_report(score({"u": "a\ud800b \x00"}, {"u": "\u202eab"}), tmp_path)
    assert json.loads(paths.json.read_text(encoding="utf-8"))["num_utterances"] == 1


def test_audio_is_linked_relative_to_the_page(result: CorpusScore, tmp_path: Path) -> None:
    audio = tmp_path / "wavs" / "a #1.wav"
    audio.parent.mkdir()
    audio.touch()
    facts = ReportFacts(
        utterances={
            "a-1": UtteranceFacts(2.0, audio, 3.0),
            "a-2": UtteranceFacts(2.0, tmp_path / "absent.wav"),
        }
    )
    page = write_report(result, tmp_path / "out", facts=facts).html.read_text(encoding="utf-8")
    assert '"../wavs/a%20%231.wav#t=3.00,5.00"' in page
    assert "absent.wav" not in page


def test_percent() -> None:
    assert (percent(0.12345), percent(None), percent(1.5, 0)) == ("12.35 %", "–", "150 %")


def test_reports_import_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, asr.report, asr.compare_text, asr.score_files;"
        "print(*sorted({'torch', 'librosa', 'matplotlib', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
