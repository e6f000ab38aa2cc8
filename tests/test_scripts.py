"""The scripts that a person runs first: they parse, are executable, and say what a machine lacks."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("scripts/demo", "scripts/test", "scripts/release", "scripts/setup.sh", ".ci/run")

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not (ROOT / "scripts").is_dir(),
    reason="needs bash and a checkout",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts alone, so that nothing here touches the real .venv."""
    shutil.copytree(ROOT / "scripts", tmp_path / "a checkout" / "scripts")
    return tmp_path / "a checkout"


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_parses(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    assert os.access(ROOT / script, os.X_OK) == (not script.endswith(".sh"))


@pytest.mark.parametrize("script", ["demo", "test"])
def test_machine_without_python_is_told_what_to_install(
    checkout: Path, tmp_path: Path, script: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        [str(tools / "bash"), str(checkout / "scripts" / script)],
        env={"PATH": str(tools)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "asr needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "PYTHON=/path/to/python" in done.stderr
    assert [path.name for path in checkout.iterdir()] == ["scripts"]


def test_unsuitable_chosen_python_is_not_replaced_by_another(checkout: Path) -> None:
    done = subprocess.run(
        ["bash", str(checkout / "scripts" / "test")],
        env={**os.environ, "PYTHON": "/nowhere/python"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "PYTHON=/nowhere/python is no Python 3.11, 3.12 or 3.13" in done.stderr


STUB = """#!/usr/bin/env bash
# In place of Python: writes down what it is asked for, and leaves what the next step looks for.
if [[ $1 == -c ]]; then exit "${SLOW_BFLOAT16:-0}"; fi
echo "$*" >> "$CALLS"
for argument in "$@"; do
  case $argument in run_dir=*) run_dir=${argument#run_dir=} ;; esac
done
if [[ $3 == train ]]; then
  mkdir -p "$run_dir"
  touch "$run_dir/config.yaml"
  [[ ${BREAKS_OFF:-} != "$run_dir" ]] || exit 1
  mkdir -p "$run_dir/report"
fi
if [[ "$3 $4" == 'lm train' ]]; then touch "${@: -1}/lm.ngram"; fi
if [[ "$3 $4" == 'lm train-rnn' ]]; then touch "${@: -1}/rnnlm.safetensors"; fi
if [[ $3 == lexicon || ${@: -1} == *-heard ]]; then touch "${@: -1}"; fi
"""


def test_a_release_goes_on_where_it_was_broken_off(checkout: Path, tmp_path: Path) -> None:
    """Every step in its order; the training that failed is resumed, and what is there is kept."""
    data, stub = tmp_path / "some data", tmp_path / "python"
    names = ("a-1-A", "a-2-A", "a-2-B", "b-1-A", "a-3-A", "b-2-A", "b-2-B")
    for folder in ("noise", "rir", "lm", "LibriSpeech", "speechocean762", "kathleen"):
        (data / folder).mkdir(parents=True)
    for name in names:
        (data / f"noise/{name}.opus").touch()
    with gzip.open(data / "lm/train-clean-100.txt.gz", "wt") as file:
        file.write("1-2-3 SOME WORDS\n")
    stub.write_text(STUB)
    stub.chmod(0o755)
    calls = tmp_path / "calls"
    environment = os.environ | {"ASR_DATA": str(data), "PYTHON": str(stub), "CALLS": str(calls)}

    def release(**more: str) -> tuple[int, list[str]]:
        calls.write_text("")
        done = subprocess.run(
            ["bash", str(checkout / "scripts/release"), "seed=3"],
            env=environment | more, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, calls.read_text().splitlines()

    status, asked = release(BREAKS_OFF="runs/release/speller")
    assert status != 0
    commands = [*["prepare"] * 3, "lm", "lm", "lexicon", *["train"] * 6, "export", "train"]
    assert [call.split()[2] for call in asked] == commands
    assert "lexicon runs/release/lm/lm.ngram data/released/train-clean-5.jsonl" in asked[5]
    trainings = (
        ("mini", "mini", ""),
        ("first", "released", "mini"),
        ("released", "released", "first"),
        ("further", "released", "released"),
    )
    mean = asked.pop(12)
    mini = asked.pop(7)
    assert "export runs/release/further/bundle --average runs/release/released/bundle" in mean
    assert "--with runs/release/second/bundle --shares 2 1 -o runs/release/speller-heard" in mean
    for call, (name, recipe, begun) in zip(asked[6:10], trainings, strict=True):
        assert f"recipe=librispeech/{recipe} run_dir=runs/release/{name} " in call
        assert not begun or f"init_from=runs/release/{begun}/bundle" in call
        assert "loss.lexicon=runs/release/lm/lexicon.txt" in call
        assert "features.kind" not in call
        assert call.endswith("seed=3 seed=4" if name == "further" else "seed=3")
    released = asked[10]
    assert "recipe=librispeech/mini run_dir=runs/release/mini-2 " in mini
    assert "features.kind=mfcc" in mini
    assert "encoder.conv_kind=conv1d" in mini
    assert "recipe=librispeech/released run_dir=runs/release/second " in released
    assert "init_from=runs/release/mini-2/bundle" in released
    assert mini.endswith("seed=3 seed=2")
    assert released.endswith("seed=3 seed=2")
    assert "recipe=librispeech/speller run_dir=runs/release/speller" in asked[11]
    assert "init_from=runs/release/speller-heard" in asked[11]
    assert "data.train" not in asked[11]
    novels = "data/released/novels.txt.xz"
    assert f"lm train {novels} data/released/train-clean-100.txt --words scripts/words" in asked[3]
    assert f"lm train-rnn {novels} data/released/train-clean-100.txt" in asked[4]
    assert (checkout / novels).readlink() == data / "lm/novels.txt.xz"
    assert all("resume=false" in call and "seed=3" in call for call in asked[6:])
    assert all("trainer.precision=bf16-mixed" in call for call in asked[6:])
    assert "--precision bfloat16" in asked[4]
    noise = checkout / "data/released/noise"
    test_clips = sorted(path.name for path in (noise / "test").iterdir())
    assert test_clips == ["b-2-A.opus", "b-2-B.opus"]  # the fifth recording, both clips of it
    assert len(list((noise / "train").iterdir())) == 5
    assert (checkout / "data/released/rir").resolve() == data / "rir"

    status, asked = release(SLOW_BFLOAT16="1")
    assert status == 0
    assert "trainer.precision=32-true" in asked[0]
    assert [" ".join(call.split()[:4]) for call in asked[:-1]] == [
        "-m asr train recipe=librispeech/speller",
        "-m asr export runs/release/speller/bundle",
        "-m asr tune data/released/dev-clean.jsonl",
    ]
    assert "--with" not in asked[1]
    assert "resume=true init_from=runs/release/speller-heard" in asked[0]
    assert asked[-1].startswith("scripts/model_card.py --model asr/pretrained")
    text = checkout / "data/released/train-clean-100.txt"
    assert text.read_text() == "SOME WORDS\n"

    status, asked = release(SHIP="mini")
    assert status == 0
    heard, speller, shipped, *_ = asked
    assert "export runs/release/mini/bundle --with runs/release/mini-2/bundle --shares 2 1" in heard
    assert "run_dir=runs/release/mini-speller " in speller
    assert "init_from=runs/release/mini-speller-heard" in speller
    assert "data.train=[data/released/train-clean-5.jsonl]" in speller
    assert "-m asr export runs/release/mini-speller/bundle -o asr/pretrained" in shipped

    status, asked = release(SHIP="tiny")
    assert status == 2
    assert not asked
