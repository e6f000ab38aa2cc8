"""--multirun: what runs, in which folder, what is left alone on resuming, and what the table says."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from run_folder import write_report, write_run
from tone_corpus import overrides, write_corpus, write_recipe

from asr.cli import main
from asr.describe import describe
from asr.errors import UsageError
from asr.training.config import RunConfig, load_config, to_yaml
from asr.training.sweep import (
    INTERRUPTED,
    Combination,
    Outcome,
    combinations,
    run_sweep,
)

DEMO = "recipe=synthetic/demo"


class Trainer:
    """Trains nothing: leaves the folder of a finished run, or fails where told to."""

    def __init__(self, fail: str = "nothing") -> None:
        self.fail = fail
        self.trained: list[str] = []

    def __call__(self, overrides: Sequence[str]) -> Outcome:
        config = load_config(overrides)
        run_dir = Path(config.run_dir)
        self.trained.append(run_dir.name)
        if self.fail in run_dir.name:
            return Outcome(3, "out of memory: lower data.batch_s | now")
        if not (run_dir / "config.yaml").is_file():
            write_run(run_dir)
        (run_dir / "config.yaml").write_text(to_yaml(config), "utf-8")
        write_report(run_dir, wer=config.optimizer.lr)
        return Outcome(0, "report: somewhere")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def test_all_combinations_in_order() -> None:
    found = combinations([DEMO, "optimizer.lr=1e-3,2e-3", "seed=range(1,3)", "data.batch_s=40"])
    assert [one.swept for one in found] == [
        ("optimizer.lr=0.001", "seed=1"),
        ("optimizer.lr=0.001", "seed=2"),
        ("optimizer.lr=0.002", "seed=1"),
        ("optimizer.lr=0.002", "seed=2"),
    ]
    assert found[0].overrides == (DEMO, "optimizer.lr=0.001", "seed=1", "data.batch_s=40")
    groups = combinations([DEMO, "trainer=auto,cpu-bf16", "data.speeds=[1.0],[0.9,1.1]"])
    assert groups[3].name == "trainer=cpu-bf16,data.speeds=[0.9,1.1]"
    assert [one.swept for one in combinations([DEMO, "seed=1,1,2"])] == [("seed=1",), ("seed=2",)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=1", "nothing to sweep"),
        ("seed=interval(1,2)", "no end of values"),
        ("run_dir=a,b", "run_dir is the same for all runs"),
        ("recipe=synthetic/demo,librispeech/mini", "recipe is the same for all runs"),
        ("data.batch_s=1,2", "data.batch_s is given twice"),
        ("seeed=1,2", "no such key: seeed. Did you mean seed?"),
        ("encoder.dropout=0.1,7", r"encoder.dropout must be in \[0, 1\)"),
        ("seed=1,,2", "seed=1,,2: "),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(
    override: str, message: str, tmp_path: Path
) -> None:
    trainer = Trainer()
    with pytest.raises(UsageError, match=message):
        run_sweep([DEMO, f"run_dir={tmp_path / 'sweep'}", "data.batch_s=40", override], trainer)
    assert trainer.trained == []
    assert not (tmp_path / "sweep").exists()


def test_folder_names_are_safe_and_different() -> None:
    names = {
        Combination((), (f"data.train=[{path}]",), RunConfig()).name
        for path in ("a/b.jsonl", "a_b.jsonl", "a b.jsonl", "é" * 300, "é" * 301)
    }
    assert len(names) == 5
    assert all("/" not in name and " " not in name and len(name) < 140 for name in names)


def test_a_failing_run_stops_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "with space, and 'quote'"
    settings = [DEMO, f"""run_dir="{folder}\"""", "optimizer.lr=3e-3,1e-3,2e-3"]
    trainer = Trainer(fail="0.001")
    sweep = run_sweep(settings, trainer)
    assert trainer.trained == ["optimizer.lr=0.003", "optimizer.lr=0.001", "optimizer.lr=0.002"]
    assert sweep.exit_status == 1
    assert [row["status"].split(":")[0] for row in rows(folder)] == ["done", "failed", "done"]
    table = (folder / "summary.md").read_text()
    assert "failed: out of memory: lower data.batch_s \\| now" in table
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| 0.003",
        "| 0.002",
        "| 0.001",
    ]
    assert "| optimizer.lr | best dev WER | WER test | minutes | parameters | status |" in table
    assert "| 0.002 | 10.00 % | 0.20 % |" in table
    assert table in describe(folder)
    with pytest.raises(UsageError, match="holds 2 of these 3 runs already"):
        run_sweep(settings, trainer)
    again = Trainer()
    assert run_sweep([*settings, "resume=true"], again).exit_status == 0
    assert again.trained == ["optimizer.lr=0.001"]
    assert {row["status"] for row in rows(folder)} == {"done"}


def test_resuming_goes_by_the_configuration(tmp_path: Path) -> None:
    """Other settings than those a finished run had mean that it is not done."""
    settings = [DEMO, f"run_dir={tmp_path}"]
    run_sweep([*settings, "seed=1,2"], Trainer())
    before = [row["minutes"] for row in rows(tmp_path)]
    longer = Trainer()
    run_sweep([*settings, "resume=true", "trainer.max_epochs=99", "seed=1,2"], longer)
    assert longer.trained == ["seed=1", "seed=2"]
    done = Trainer()
    run_sweep([*settings, "resume=true", "trainer.max_epochs=99", "seed=1,2,3"], done)
    assert done.trained == ["seed=3"]
    assert all(
        float(new["minutes"]) >= float(old)
        for new, old in zip(rows(tmp_path), before, strict=False)
    )


def test_ctrl_c_ends_the_sweep_with_its_table(tmp_path: Path) -> None:
    def interrupted(overrides: Sequence[str]) -> Outcome:
        return Outcome(INTERRUPTED, "interrupted")

    with pytest.raises(KeyboardInterrupt):
        run_sweep([DEMO, f"run_dir={tmp_path}", "seed=1,2"], interrupted)
    assert [row["status"] for row in rows(tmp_path)] == ["failed: interrupted", "to do"]
    assert [bool(row["minutes"]) for row in rows(tmp_path)] == [True, False]


def test_all_failed(tmp_path: Path) -> None:
    assert (
        run_sweep([DEMO, f"run_dir={tmp_path}", "seed=1,2"], Trainer(fail="seed")).exit_status == 3
    )


def test_a_real_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two processes, one of which finds no training set."""
    write_corpus(tmp_path, train=8, dev=2)
    write_recipe(tmp_path)
    folder = tmp_path / "sweep"
    command = ["train", "-m", *overrides(tmp_path, folder), "trainer.max_epochs=1"]
    swept = f"data.train=[{tmp_path / 'nowhere.jsonl'}],[{tmp_path / 'train.jsonl'}]"
    with pytest.raises(SystemExit) as ended:
        main([*command, swept, "--show"])
    assert ended.value.code == 0
    names = capfd.readouterr().out.splitlines()
    assert len(names) == 2
    assert not folder.exists()
    with pytest.raises(SystemExit) as ended:
        main([*command, swept])
    assert ended.value.code == 1
    captured = capfd.readouterr()
    assert captured.out.startswith("| data.train | best dev WER | WER dev | minutes | parameters |")
    assert "epoch 1/1" in captured.err
    failed, done = rows(folder)
    assert failed["status"].startswith("failed: no manifest at ")
    assert failed["status"].removeprefix("failed: ") in captured.err
    assert (done["run"], done["status"]) == (names[1], "done")
    assert int(done["parameters"]) > 1000
    assert (folder / names[1] / "bundle/model.safetensors").is_file()
