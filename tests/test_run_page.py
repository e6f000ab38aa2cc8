"""The run page: from the run folder alone, whole in one file, and no transcript can run anything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from browser import Browser
from run_folder import STEPS_PER_EPOCH, write_report, write_run

from asr.run_metrics import RunMetrics, Series, read_metrics
from asr.run_samples import read_validations
from asr.run_state import read_run
from asr.training.charts import charts
from asr.training.pictures import Posterior, draw_posterior, shown_tokens, write_picture
from asr.training.run_page import changed_settings, run_to_html, write_run_page

ATTACK = (
    "</script><script>window.attacked=true</script> <img src=x onerror=window.attacked=true> $x"
)
PNG = b"\x89PNG\r\n\x1a\n"


def posterior(text: str = "ab", num_tokens: int = 4) -> Posterior:
    random = np.random.default_rng(0)
    log_probs = np.log(random.dirichlet(np.full(num_tokens, 0.1), 30)).astype(np.float32)
    log_mel = random.standard_normal((90, 40)).astype(np.float32)
    tokens = ("<blank>", " ", *(chr(97 + n) for n in range(num_tokens - 2)))
    return Posterior("u1", text, text, log_mel, 1 / 90, log_probs, 1 / 30, tokens)


def test_the_page_of_a_resumed_run(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_report(tmp_path, wer=0.25)
    page = write_run_page(tmp_path).read_text("utf-8")
    for text in (
        "test/made", "10.00 %", "epoch 10 of 20", "20.0 minutes", "dotted lines: the run was resumed",
        "25.00 % WER", 'href="report/test/report.html"', "1,234,567", "2 utterances left out",
        "<dt>skipped steps</dt><dd>0</dd>", "3 utterances skipped in training",
        "Gradient norm", "Learning rate", "Padding and waiting",
        "<code>seed</code></td><td>3</td>",
    ):  # fmt: skip
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(PNG)
    assert not list(tmp_path.glob(".*"))


def test_a_run_without_anything_has_a_page_too(tmp_path: Path) -> None:
    assert "Nothing is logged yet" in write_run_page(tmp_path).read_text("utf-8")


def test_words_appear(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=30, text="one two three")
    page = run_to_html(read_run(tmp_path))
    growth = page.split('<section class="growth">')[1]
    assert growth.count("<tr>") == 8
    first, *_, last = growth.split("<tr>")[1:]
    assert "epoch 1<" in first
    assert '<bdi class="word D">three</bdi>' in first
    assert "epoch 30<" in last
    assert '<bdi class="word =">three</bdi>' in last


def test_every_logged_figure_is_drawn_once(tmp_path: Path) -> None:
    write_run(tmp_path)
    metrics = read_metrics(tmp_path)
    shown = charts(metrics)
    drawn = [line.series for chart in shown for line in chart.lines]
    for name, series in metrics.series.items():
        if name not in ("epoch", "lr-AdamW/pg2", "train/skipped_steps"):
            assert drawn.count(series) == 1, name
    assert [chart.title for chart in shown][:2] == ["Loss", "Errors on the development set"]


def test_parameter_groups_with_rates_of_their_own_are_named() -> None:
    rates = {f"lr-AdamW/pg{n}": Series((0, 1), (0.1 * n, 0.2)) for n in (1, 2)}
    (chart,) = charts(RunMetrics(rates))
    assert [line.name for line in chart.lines] == ["lr-AdamW/pg1", "lr-AdamW/pg2"]


def test_only_settings_that_differ_are_shown() -> None:
    settings = {
        "seed": 1,
        "resume": True,
        "trainer": {"max_epochs": 99, "devices": 1},
        "new": {"key": None},
    }
    found = {one.key: (one.value, one.default) for one in changed_settings(settings)}
    assert found == {"trainer.max_epochs": ("99", "30"), "new.key": ("null", "–")}


def test_the_posterior_picture(tmp_path: Path) -> None:
    for number, text in enumerate(("ab", "$\\alpha^ and 木", "")):
        path = tmp_path / f"{number}.png"
        write_picture(draw_posterior(posterior(text)), path)
        assert path.read_bytes().startswith(PNG)
    assert len(list(tmp_path.iterdir())) == 3
    figure = draw_posterior(
        replace(posterior(), log_probs=np.log(np.eye(4, dtype=np.float32)[[0, 2, 2, 0, 3]] + 1e-9))
    )
    lower = figure.axes[1]
    labelled = [(one.get_text(), round(one.xy[0] * 30, 6)) for one in lower.texts]
    assert labelled == [("a", 2.0), ("b", 4.5)]


def test_of_a_large_vocabulary_only_likely_tokens_are_shown() -> None:
    probabilities = np.full((10, 500), 1e-4, dtype=np.float32)
    probabilities[3, 77] = probabilities[5, 400] = 0.9
    assert shown_tokens(probabilities) == [0, 77, 400]
    assert shown_tokens(probabilities[:, :30]) == list(range(30))


def test_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """Pointing at one chart reads all of them at that step; nothing else runs or is fetched."""
    write_run(tmp_path, text=ATTACK)
    write_report(tmp_path, wer=0.25)
    (tmp_path / "posterior.png").write_bytes(PNG)
    page = write_run_page(tmp_path)
    assert read_validations(tmp_path)[0].samples[0].reference == ATTACK
    browser.open(page)
    assert browser.run("window.attacked") is None
    assert ATTACK.split()[0] in str(browser.run("document.querySelector('.said').textContent"))
    browser.run(
        "(() => { const svg = document.querySelector('svg.curve');"
        "const box = svg.getBoundingClientRect();"
        "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width * 0.4, "
        "clientY: box.top + 20, bubbles: true})); })()"
    )
    read = str(
        browser.run("[...document.querySelectorAll('.at')].map(a => a.textContent).join('|')")
    )
    steps = set(read.split("|"))
    assert len(steps) == 1
    step, epoch = steps.pop().removeprefix("step ").split(", epoch ")
    assert int(step) // STEPS_PER_EPOCH + 1 == int(epoch)
    browser.run(
        "document.querySelector('svg.curve').dispatchEvent(new PointerEvent('pointerleave'))"
    )
    assert browser.run("document.querySelector('.at').textContent") == ""
    assert [error for error in browser.errors if "posterior" not in error] == []
