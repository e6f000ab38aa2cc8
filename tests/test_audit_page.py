"""The audit's page: static, self-contained, with pictures and clips to listen to."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import READY_WITHOUT_SCRIPT, Browser
from tones import RATE, speech

from asr.audit import AuditOptions, audit
from asr.audit_drop import write_audit
from asr.manifest import Utterance, write_manifest
from asr.plots_audit import count_top

ATTACK = "</script><script>window.attacked=true</script><img src=x onerror=window.attacked=true>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty clips, one of them far too slow and an attack in every field; texts in two scripts."""
    folder = tmp_path_factory.mktemp("audit")
    random = np.random.default_rng(0)
    utterances = []
    for number in range(30):
        waveform = speech([600] * random.integers(3, 12))
        seconds = len(waveform) / RATE
        soundfile.write(folder / f"{number} #.flac", waveform, RATE)
        text = "abcde fgh ä"[: random.integers(3, 12)] * round(2 * seconds)
        utterances.append(
            Utterance(f"u{number}", folder / f"{number} #.flac", text, seconds, speaker_id="s")
        )
    utterances[7] = Utterance(ATTACK, folder / "7 #.flac", "ж" + ATTACK, 900.0, speaker_id=ATTACK)
    write_manifest(folder / "train.jsonl", utterances)
    write_manifest(folder / "dev.jsonl", utterances[5:9])
    result = audit([folder / "train.jsonl", folder / "dev.jsonl"], AuditOptions(content=True))
    return write_audit(result, folder / "out")


def test_page_needs_nothing_from_outside(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<script" not in text
    assert "<img" not in text
    assert 'id="shared-speaker"' in text
    assert "the normaliser leaves out ж" in text


def test_page_in_a_browser(browser: Browser, page: Path, tmp_path: Path) -> None:
    """No script of a transcript runs, all pictures are drawn, clips can be played."""
    browser.open(page, ready=READY_WITHOUT_SCRIPT)
    assert browser.run("window.attacked === undefined") is True
    assert browser.run("document.querySelectorAll('figure svg rect.bar').length") > 20
    assert browser.run("document.querySelectorAll('circle.del').length") >= 1
    assert browser.run(
        "[...document.querySelectorAll('a')].every(a => document.querySelector(a.hash) !== null)"
    )
    browser.run("(window.clip = document.querySelector('audio')).load()")
    link = browser.run("window.clip.getAttribute('src')")
    assert link.startswith("../")
    assert link.endswith("%20%23.flac")
    assert browser.errors == []
    browser.screenshot(tmp_path / "phone.png", 390, 844)
    assert browser.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("most", "top"), [(1, 4), (4, 4), (5, 8), (117, 120), (121, 200), (12_001, 20_000)]
)
def test_an_axis_of_counts_has_round_quarters(most: int, top: int) -> None:
    assert count_top(most) == top
