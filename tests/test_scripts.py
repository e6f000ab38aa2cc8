"""The scripts that a person runs first: they parse, are executable, and say what a machine lacks."""

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
