"""Borders that a user feels: the help without torch, inference without lightning and hydra, a wheel
that carries its recipes."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "asr"


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules loaded once `code` has run in a fresh interpreter."""
    script = f"{code}\nimport sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["transcribe", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import contextlib, io\nfrom asr.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    main({arguments!r})"
    )
    heavy = {"torch", "torchaudio", "numpy", "librosa", "numba", "lightning", "hydra", "jinja2"}
    assert not modules_after(code) & heavy


def test_inference_imports_neither_lightning_nor_hydra() -> None:
    loaded = modules_after(
        "import asr.transcribe, asr.batch, asr.evaluate, asr.formats, asr.report"
    )
    assert "torch" in loaded
    assert not loaded & {"lightning", "pytorch_lightning", "hydra", "omegaconf", "tensorboard"}


def test_scoring_imports_no_torch() -> None:
    assert "torch" not in modules_after("import asr.scoring, asr.report, asr.compare")


def test_command_modules_import_only_typer_at_the_top() -> None:
    """Everything else is imported inside the commands: that is what keeps --help quick."""
    light = {"typer", "click", "asr", "rich"}
    for path in (PACKAGE / "cli").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in light or top in sys.stdlib_module_names, (path.name, name)


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "base", "core", "misc"}
    assert not {path.stem for path in PACKAGE.rglob("*.py")} & drawers


def test_the_wheel_carries_its_recipes_and_runs_from_an_empty_folder(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 40e6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "asr", "train", "recipe=synthetic/demo", "--show"],
        cwd=empty, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "recipe_name: synthetic/demo" in result.stdout
    where = subprocess.run(
        [sys.executable, "-c", "import asr; print(asr.__file__)"],
        cwd=empty, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path / "site"))
    assert (tmp_path / "site/asr/recipes/own-data/template.yaml").is_file()
    assert (tmp_path / "site/asr/py.typed").is_file()
    shipped = {path.name for path in (PACKAGE / "pretrained").iterdir()}
    assert {path.name for path in (tmp_path / "site/asr/pretrained").iterdir()} == shipped
