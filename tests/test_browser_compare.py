"""The Compare tab in a real headless Chromium, over the fast stand-in for the models."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from browser import browsing, find_browser
from test_compare import MORE, SPRITES, TwoSprites

import app
from vidgen.errors import VidgenError

pytestmark = pytest.mark.browser
TITLES = {SPRITES: "Sprites", MORE: "More sprites"}
BLUE = """[...document.querySelectorAll('#compare canvas')]
  .map((one) => one.getContext('2d').getImageData(0, 0, 1, 1).data[2] > 99)"""

# A loaded browser reports several changes of sight at once, and only the last of them holds.
LATE = """window.IntersectionObserver = class extends IntersectionObserver {
  constructor(tell) { super((all) => tell([{ isIntersecting: !all.at(-1).isIntersecting }, ...all])); }
};"""


@pytest.fixture(scope="module")
def session() -> TwoSprites:
    return TwoSprites()


@pytest.fixture(scope="module")
def served(session: TwoSprites) -> Iterator[gr.Blocks]:
    blocks = app.build_app(session)
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


@pytest.fixture
def page(served: gr.Blocks) -> Iterator[Any]:
    """Open the tab on a phone that wants little motion, with two models that share categories."""
    if find_browser() is None:
        assert not os.environ.get("VIDGEN_REQUIRE_BROWSER")
        pytest.skip("no Chromium on this machine: the app is not driven in a browser")
    from playwright.sync_api import sync_playwright

    how = {"locale": "en-US", "viewport": {"width": 400, "height": 800}, "reduced_motion": "reduce"}
    with sync_playwright() as playwright, browsing(playwright, **how) as page:
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_default_timeout(60_000)
        page.add_init_script(LATE)
        page.goto(served.local_url)
        enter(page)
        page.get_by_label("Second model").select_option(MORE)
        ready(page)
        yield page
        assert not faults


def enter(page: Any) -> None:
    page.get_by_role("tab", name="Compare").click()
    ready(page)


def ready(page: Any) -> None:
    """Wait for a pair to vote on."""
    page.wait_for_function("() => document.querySelector('#compare .vg-ballot button:enabled')")


def vote(page: Any, motion: str, subject: str) -> list[str]:
    """Vote by keyboard; gives the names under the clips, left first."""
    names = page.locator("#compare figcaption")
    assert names.all_inner_texts() == ["Left", "Right"]
    for question, answer in (("More natural motion", motion), ("More consistent subject", subject)):
        assert page.locator("#compare .vg-next-pair").is_disabled()
        button = page.get_by_role("group", name=question).get_by_role("button", name=answer)
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function("() => document.activeElement.matches('.vg-next-pair:enabled')")
    assert page.get_by_role("group").get_by_role("button").nth(0).is_disabled()
    sides = [text.split(": ") for text in names.all_inner_texts()]
    assert [side for side, _ in sides] == ["Left", "Right"]
    return [title for _, title in sides]


def test_a_blind_vote(page: Any, tmp_path: Path) -> None:
    tab = page.locator("#compare")
    offered = tab.get_by_label("Category").locator("option").all_inner_texts()
    assert offered == ["Any", "Walk down", "Cast up"]
    assert not any(title in tab.locator(".vg-styles").inner_text() for title in TITLES.values())
    assert tab.locator("caption").inner_text() == "No votes yet"
    assert tab.get_by_role("button", name="Download as CSV").is_disabled()

    first = vote(page, "Left", "No difference")
    assert sorted(first) == sorted(TITLES.values())
    assert page.evaluate(BLUE) == [title == TITLES[MORE] for title in first], "the names are the clips' own"
    page.keyboard.press("Enter")  # Next pair has the focus
    ready(page)
    second = vote(page, "Left", "Right")

    # The table counts by model, A being the first by name.
    page.wait_for_function(
        "() => document.querySelector('#compare tbody td:nth-child(5)')?.textContent === '2'"
    )
    assert tab.locator("tbody th[scope=rowgroup]").inner_text() == "A: Sprites. B: More sprites."
    cells = [row.locator("td").all_inner_texts() for row in tab.locator("tbody tr").all()[1:]]
    of_a = [first[0], second[0]].count(TITLES[SPRITES])
    p = "0.500" if of_a != 1 else "1.000"
    subject = [str(int(second[1] == TITLES[model])) for model in (SPRITES, MORE)]
    assert cells == [[str(of_a), str(2 - of_a), "0", "2", p], [*subject, "1", "2", "1.000"]]

    with page.expect_download() as saved:
        tab.get_by_role("button", name="Download as CSV").click()
    saved.value.save_as(tmp_path / "votes.csv")
    with open(tmp_path / "votes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [TITLES[row["left"]] for row in rows] == [first[0], second[0]]
    assert [(row["motion"], row["subject"]) for row in rows] == [("left", "same"), ("left", "right")]
    assert rows[0]["motion_seed"] != rows[1]["motion_seed"], "each pair has new seeds"

    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.reload()
    enter(page)
    assert tab.locator("tbody td:nth-child(5)").all_inner_texts() == ["2", "2"], "the votes outlast the page"
    page.once("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Delete my votes").click()
    page.wait_for_function("() => !document.querySelector('#compare tbody')")


def test_a_failed_render_loses_nothing(page: Any, session: TwoSprites) -> None:
    tab, status = page.locator("#compare"), page.locator("#compare .vg-status")
    vote(page, "Right", "Right")
    session.fault = VidgenError("The paint has run out.")
    tab.get_by_role("button", name="Next pair").click()
    page.wait_for_function("() => document.querySelector('#compare .vg-status').dataset.state === 'error'")
    assert status.inner_text() == "The paint has run out."
    session.fault = None
    tab.get_by_role("button", name="Next pair").click()
    ready(page)
    assert status.get_attribute("data-state") == "idle"
    assert tab.locator("tbody td:nth-child(5)").all_inner_texts() == ["1", "1"]
    vote(page, "Left", "Left")


def test_both_play_on_one_clock_when_asked(page: Any) -> None:
    tab = page.locator("#compare")
    assert tab.get_by_role("button", name="Play").count() == 1, "it stands still where less motion is wanted"
    assert [one.get_attribute("aria-label") for one in tab.get_by_role("img").all()] == [
        "Left clip",
        "Right clip",
    ]
    pixels = "[...document.querySelectorAll('#compare canvas')].map((one) => one.toDataURL())"
    before = page.evaluate(pixels)
    tab.get_by_role("button", name="One frame on").click()
    after = page.evaluate(pixels)
    assert tab.locator(".vg-count").inner_text() == "2 / 16"
    assert before[0] != after[0] and before[1] != after[1]
    tab.get_by_role("button", name="Play").click()
    assert tab.get_by_role("button", name="Pause").count() == 1
