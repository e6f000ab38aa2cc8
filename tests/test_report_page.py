"""The page in a real browser: it sorts, filters, shows alignments, and runs no transcript."""

import random
import time
import wave
from pathlib import Path

import pytest
from browser import Browser

from asr.breakdown import analyse
from asr.facts import ReportFacts, UtteranceFacts
from asr.report import write_report
from asr.report_page import encode_alignment, json_block, script_hash
from asr.scoring import CorpusScore, score

ATTACK = "</script><script>window.attacked=true</script><img src=x onerror=window.attacked=true>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 right utterances and five odd ones, one of them an attack in every field."""
    references = {f"spk-{n}": f"sentence number {n}" for n in range(60)}
    hypotheses = dict(references)
    references |= {
        "wrong": "the cat sat down",
        "rtl": "مرحبا بالعالم",
        "silent": "",
        "lost": "gone",
    }
    hypotheses |= {"wrong": "a cat sat", "rtl": "مرحبا العالم", "silent": "um"}
    references[ATTACK], hypotheses[ATTACK] = ATTACK, f"{ATTACK} and more words than there were"
    speakers = dict.fromkeys(references, ATTACK)
    fields = {
        name: UtteranceFacts(2.0, None, 0.0, {ATTACK: ATTACK[: 9 + n % 2]})
        for n, name in enumerate(references)
    }
    facts = ReportFacts(ATTACK, system=ATTACK, utterances=fields, notes=(ATTACK,))
    out = tmp_path_factory.mktemp("report")
    return write_report(score(references, hypotheses, speakers=speakers), out, facts=facts).html


def _ids(browser: Browser) -> list[str]:
    found = browser.run(
        "[...document.querySelectorAll('#rows button.open')].map(b => b.textContent)"
    )
    return [str(one) for one in found]


def test_no_script_of_a_transcript_runs(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("document.querySelector('h1').textContent") == ATTACK
    assert browser.run("window.attacked === undefined") is True
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.errors == []


def test_policy_stops_a_script_that_is_not_the_pages_own(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(
        "(() => {const s = document.createElement('script'); s.textContent = 'window.attacked = true';"
        "document.body.append(s);})()"
    )
    assert browser.run("window.attacked === undefined") is True
    browser.errors.clear()  # the refusal itself is logged


def test_keyboard_filters_opens_and_moves(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("/", "/")
    assert browser.run("document.activeElement.id") == "filter"
    browser.type("number 5")
    time.sleep(0.3)
    assert _ids(browser) == ["spk-5", *(f"spk-{n}" for n in range(50, 60))]
    assert browser.run("document.getElementById('status').textContent").startswith("11 of 65")
    browser.run("document.querySelector('#rows button').focus()")
    browser.press("ArrowDown")
    browser.press("Enter")
    assert browser.run("document.activeElement.textContent") == "spk-50"
    assert browser.run("document.querySelectorAll('.details .pair').length") == 3
    assert browser.errors == []


def test_sorting_by_a_column_both_ways(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert _ids(browser)[1] in ("wrong", "lost", "rtl", "silent")  # most errors first
    click = "document.querySelector('th[data-column=id] button').click()"
    browser.run(click)
    ascending = _ids(browser)
    assert ascending[2:4] == ["rtl", "silent"]
    assert (
        browser.run("document.querySelector('th[data-column=id]').getAttribute('aria-sort')")
        == "ascending"
    )
    browser.run(click)
    assert _ids(browser)[0] == "wrong"


def test_link_to_an_utterance_shows_its_alignment(browser: Browser, page: Path) -> None:
    """the cat sat down / a cat sat: one substituted, two right, one deleted."""
    browser.open(page, "#u=wrong")
    kinds = browser.run("[...document.querySelectorAll('.details .pair')].map(p => p.className)")
    assert kinds == ["pair S", "pair =", "pair =", "pair D"]
    words = browser.run(
        "[...document.querySelectorAll('.details .pair.S bdi')].map(p => p.textContent)"
    )
    assert words == ["the", "a"]
    assert browser.run("document.activeElement.textContent") == "wrong"


def test_a_confusion_opens_its_utterances(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('button.confusion[data-reference=the]').click()")
    assert _ids(browser) == ["wrong"]
    browser.run("document.getElementById('clear').click()")
    assert len(_ids(browser)) == 50


def test_20000_utterances_stay_quick(browser: Browser, tmp_path: Path) -> None:
    """Sorting and filtering answer within half a second, and the page holds 50 rows at a time."""
    result = _large_score()
    browser.open(write_report(result, tmp_path, analysis=analyse(result, samples=100)).html)
    spent = browser.run(
        "(() => {const start = performance.now();"
        "document.querySelector('th[data-column=id] button').click();"
        "document.querySelector('th[data-column=wer] button').click();"
        "document.getElementById('kind').value = 'wrong';"
        "document.getElementById('kind').dispatchEvent(new Event('change'));"
        "return (performance.now() - start) / 3;})()"
    )
    assert spent < 500
    assert len(_ids(browser)) == 50
    assert browser.errors == []


def test_a_phone_shows_it_without_scrolling_sideways(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    browser.open(page)
    browser.screenshot(tmp_path / "phone.png", 390, 844)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert (tmp_path / "phone.png").read_bytes().startswith(b"\x89PNG")


def test_audio_next_to_the_page_is_played(browser: Browser, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "u.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    facts = ReportFacts(utterances={"u": UtteranceFacts(1.0, tmp_path / "u.wav")})
    browser.open(
        write_report(score({"u": "a"}, {"u": "b"}), tmp_path / "r", facts=facts).html, "#u=u"
    )
    browser.run("document.querySelector('audio').load()")
    deadline = time.monotonic() + 20
    while not (seconds := browser.run("document.querySelector('audio').duration")):
        assert time.monotonic() < deadline, browser.errors
        time.sleep(0.1)
    assert seconds == 1
    assert browser.errors == []


def _large_score() -> CorpusScore:
    draw = random.Random(0)
    vocabulary = [f"word{n}" for n in range(2000)]
    references = {f"utt-{n:05d}": " ".join(draw.choices(vocabulary, k=12)) for n in range(20_000)}
    hypotheses = {
        name: text.replace("word1", "word2", draw.randint(0, 2))
        for name, text in references.items()
    }
    return score(references, hypotheses)


def test_page_needs_nothing_from_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_json_block_cannot_end_its_element() -> None:
    assert "<" not in json_block([ATTACK])


def test_script_hash_is_the_browsers() -> None:
    """The example of the CSP specification: alert('Hello, world.'); in base64 of SHA-256."""
    assert script_hash("alert('Hello, world.');") == "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="


def test_alignments_are_run_lengths() -> None:
    utterance = score({"u": "a b c d e"}, {"u": "a b d e f"}).utterances[0]
    assert encode_alignment(utterance.alignment) == "=2D1=2I1"
