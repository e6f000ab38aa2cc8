"""The model that comes with asr: there, small, plain files, and as good as its card says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import asr
from asr.bundle import SHIPPED, bundle_folder, load_bundle
from asr.card import model_card
from asr.cli import main
from asr.corpora.librispeech import prepare_librispeech
from asr.evaluate import evaluate
from asr.manifest import read_manifest, write_manifest

MEGABYTE = 1e6
RECIPES = Path(__file__).parent.parent / "recipes/librispeech"
MINI = Path(__file__).parent.parent / "models/librispeech-mini"


def test_it_is_a_small_folder_of_plain_files() -> None:
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert set(files) == {
        "README.md", "config.json", "lexicon.txt.xz", "lm.ngram", "model.safetensors", "pieces.json",
        "network-2.safetensors", "rnnlm.safetensors", "tokens.json",
    }  # fmt: skip
    assert sum(files.values()) < 30 * MEGABYTE
    bundle = load_bundle("default")
    assert bundle.weights == "int7"
    assert len(bundle.others) == 1
    assert bundle.shares == (2.0, 1.0)
    assert bundle.decoding is not None
    assert bundle.greedy_calibration is not None
    assert bundle.beam_calibration is not None


def test_loading_it_for_greedy_decoding_imports_no_compiler() -> None:
    """Which takes most of a second, and is for searches."""
    load = "import asr, sys; asr.load_model(decoder='greedy'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", load], check=False).returncode == 0


def test_its_card_is_its_own() -> None:
    bundle = load_bundle("default")
    assert bundle.sections.startswith("\n## Measured\n")
    assert (SHIPPED / "README.md").read_text("utf-8") == model_card(bundle) + bundle.sections


def test_default_is_its_name_everywhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bundle_folder("default") == SHIPPED
    assert bundle_folder(tmp_path) == tmp_path
    with pytest.raises(SystemExit):
        main(["info", "default"])
    assert "What it is not good for" in capsys.readouterr().out


def test_the_model_of_mini_has_the_wer_of_its_run(asr_data: Path, tmp_path: Path) -> None:
    """On every 32nd utterance of dev-clean, with the shipped language models."""
    if not MINI.is_dir():
        pytest.skip("models/ is in the repository alone")
    prepared, *_ = prepare_librispeech(asr_data, ["dev-clean"], tmp_path)
    write_manifest(tmp_path / "part.jsonl", read_manifest(prepared.manifest)[::32])
    text = (RECIPES / "RESULTS.md").read_text("utf-8")
    stated = re.search(r"\*\*([\d.]+) % with the language models\*\* \(all 671", text)
    assert stated is not None
    recognizer = asr.load_model(MINI, lm=SHIPPED, rnnlm=SHIPPED / "rnnlm.safetensors")
    found = evaluate(tmp_path / "part.jsonl", recognizer, tmp_path / "report")
    assert 100 * found.score.wer == pytest.approx(float(stated[1]), rel=0.25)


@pytest.mark.parametrize("name", ["librispeech-mini", "librispeech-released"])
def test_the_models_beside_it_say_all_words_of_its_language_model(name: str) -> None:
    """As recipes/librispeech/README.md evaluates them."""
    if not MINI.is_dir():
        pytest.skip("models/ is in the repository alone")
    ours, shipped = (load_bundle(path).lexicon for path in (MINI.parent / name, SHIPPED))
    assert ours is not None
    assert shipped is not None
    assert ours.read_bytes() == shipped.read_bytes()


def test_it_has_the_wer_of_its_card(asr_data: Path, tmp_path: Path) -> None:
    """On every eighth utterance of dev-clean, within what so few of them leave open."""
    prepared, *_ = prepare_librispeech(asr_data, ["dev-clean"], tmp_path)
    write_manifest(tmp_path / "part.jsonl", read_manifest(prepared.manifest)[::8])
    card = (SHIPPED / "README.md").read_text("utf-8")
    row = re.search(r"^\| dev-clean, 11 speakers \| .*$", card, flags=re.MULTILINE)
    assert row is not None
    greedy, beam = (float(cell.split()[0]) for cell in row[0].split(" | ")[2:4])
    for decoder, stated in (("greedy", greedy), ("beam", beam)):
        recognizer = asr.load_model(decoder=decoder)
        found = evaluate(tmp_path / "part.jsonl", recognizer, tmp_path / decoder)
        assert 100 * found.score.wer == pytest.approx(stated, rel=0.12)
