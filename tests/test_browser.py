"""The app in a real headless Chromium, as visitors use it; mostly over the fast stand-in for the models."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import FLAGS, READY, find_browser
from fake_session import FakeSession

import app
from vidgen import web
from vidgen.catalogue import WEIGHTS
from vidgen.recipe import Recipe
from vidgen.session import Session
from vidgen.video_io import read_recipe

pytestmark = pytest.mark.browser
LIVE = re.compile("/component_server")
SLOW = 60_000  # milliseconds; a loaded machine still has to pass


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = find_browser()
    if path is None:
        assert not os.environ.get("VIDGEN_REQUIRE_BROWSER"), (
            "VIDGEN_REQUIRE_BROWSER is set, but there is no Chromium"
        )
        pytest.skip("no Chromium on this machine: the app is not driven in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    blocks = app.build_app(FakeSession())
    app.serve(blocks)
    yield blocks.local_url
    blocks.close(verbose=False)


class Visitor:
    """A page, and the few things that tests ask of it."""

    def __init__(self, context: Any, url: str) -> None:
        self.context, self.url, self.faults = context, url, []
        self.page = context.new_page()
        self.page.set_default_timeout(SLOW)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self, query: str = "") -> Visitor:
        self.page.goto(self.url + query)
        self.page.wait_for_function(READY)
        self.settled()
        return self

    def recipe(self) -> dict:
        return self.page.evaluate("window.vidgen.recipe")

    def until(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript condition on the page holds."""
        self.page.wait_for_function(f"(x) => {condition}", arg=argument)

    def settled(self) -> None:
        """Wait until the picture of the newest recipe is shown and the echoes of set controls have passed."""
        self.page.wait_for_timeout(500)
        self.until("JSON.stringify(vidgen.shown.recipe) === JSON.stringify(vidgen.recipe)")

    def picture(self) -> str:
        """Freeze the clip at its first frame and give its pixels."""
        return self.page.evaluate(
            "() => { vidgen.clock.step(-vidgen.clock.frame);"
            " return document.querySelector('.vg-screen').toDataURL(); }"
        )

    def tab(self, number: int) -> None:
        self.page.get_by_role("tab").nth(number).click()

    def board(self) -> Visitor:
        """Open the Swap tab and wait until all its cells are drawn."""
        self.tab(1)
        return self.drawn()

    def drawn(self) -> Visitor:
        self.page.wait_for_timeout(100)
        self.until(
            "document.querySelector('.vg-cell') && !document.querySelector('.vg-cell[aria-busy=true]')"
        )
        return self

    def cells(self) -> list[str]:
        """Give the pixels of every cell, all at the same frame."""
        return self.page.evaluate(
            "[...document.querySelectorAll('.vg-cell canvas')].map((one) => one.toDataURL())"
        )

    def freeze(self) -> None:
        """Stop the board's clock."""
        self.page.locator(".vg-board-play").click()


@pytest.fixture(scope="module")
def room(chromium: Any) -> Iterator[Any]:
    """Share one browser context: its cache makes every page after the first cheap."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    yield context
    context.close()


@pytest.fixture
def visitor(room: Any, served: str) -> Iterator[Visitor]:
    visitor = Visitor(room, served)
    yield visitor
    visitor.page.close()
    assert not visitor.faults


def seeds(visitor: Visitor, kind: str) -> list[str]:
    """Read the seeds at the heads of the board's rows or columns."""
    return visitor.page.locator(f".vg-head.vg-{kind} > span").all_inner_texts()


# ---- the live clip


def test_dragging_a_slider_changes_the_picture_while_the_hand_moves(visitor: Visitor) -> None:
    page = visitor.open().page
    before, count = visitor.picture(), page.evaluate("vidgen.shown.count")
    box = page.locator("#direction_0 input[type=range]").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    for step in range(20):
        page.mouse.move(box["x"] + box["width"] * (0.5 + step / 45), middle)
        page.wait_for_timeout(30)
    assert page.evaluate("vidgen.shown.count") > count + 2, "pictures come before the hand lets go"
    page.mouse.up()
    visitor.settled()
    assert visitor.picture() != before
    assert visitor.recipe()["directions"][0] == float(
        page.locator("#direction_0 input[type=range]").input_value()
    )


def test_no_veil_stays_over_the_page(visitor: Visitor) -> None:
    visitor.open()
    veils = "[...document.querySelectorAll('.app > [data-testid=status-tracker]')]"
    visitor.until(f"{veils}.every((veil) => !veil.offsetParent)")
    visitor.tab(1)  # which a veil would keep from us


def test_only_the_newest_of_many_wishes_is_drawn_and_none_is_lost(visitor: Visitor) -> None:
    page = visitor.open().page
    asked = []
    page.on("request", lambda request: asked.append(request) if "component_server" in request.url else None)
    page.evaluate("for (let i = 0; i < 50; i += 1) vidgen.change({ ...vidgen.recipe, strength: i / 50 })")
    visitor.settled()
    assert page.evaluate("vidgen.shown.recipe.strength") == 0.98
    assert len(asked) <= 4, "one in flight, then the newest, then the numbers under it"


def test_the_clip_obeys_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open().page
    page.locator(".vg-screen").focus()
    visitor.until("vidgen.clock.playing")
    page.keyboard.press("Space")
    assert not page.evaluate("vidgen.clock.playing")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".vg-count").inner_text() == "2 / 32"
    page.keyboard.press("End")
    assert page.locator(".vg-count").inner_text() == "32 / 32"
    seed = visitor.recipe()["content_seed"]
    page.keyboard.press("c")
    visitor.until("vidgen.recipe.content_seed !== x", seed)
    page.keyboard.press("Space")
    frame = page.evaluate("vidgen.clock.frame")
    visitor.until("vidgen.clock.frame !== x", frame)


def test_the_controls_obey_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open().page
    page.locator("#direction_2 input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    visitor.until("vidgen.recipe.directions[2] === 0.05")
    page.locator(".vg-pad").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    assert visitor.recipe()["pad"] == [-0.5, 0.1]
    page.keyboard.press("Home")
    assert visitor.recipe()["pad"] == [0, 0]


def test_the_pad_is_dragged_in_two_directions(visitor: Visitor) -> None:
    page = visitor.open().page
    box = page.locator(".vg-pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.2, steps=5)
    page.mouse.up()
    across, up = visitor.recipe()["pad"]
    assert 2 < across <= 3 and 1.5 < up <= 3


def test_scrubbing_moves_the_playhead_and_the_filmstrip_too(visitor: Visitor) -> None:
    page = visitor.open().page
    page.locator(".vg-scrub").evaluate("(one) => { one.value = 20; one.dispatchEvent(new Event('input')); }")
    assert page.locator(".vg-count").inner_text() == "21 / 32"
    assert not page.evaluate("vidgen.clock.playing")
    box = page.locator(".vg-film").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.26, box["y"] + 10)
    assert page.evaluate("vidgen.clock.frame") in (8, 9)


def test_a_model_without_categories_offers_no_change_of_them(visitor: Visitor) -> None:
    page = visitor.open("?m=mocogan-shapes").page
    visitor.until("vidgen.shown")
    assert not page.locator("#category_change").is_visible()


def test_pixels_show_only_where_they_are_art(visitor: Visitor) -> None:
    page = visitor.open("?m=mocogan-sprites").page
    look = "getComputedStyle(document.querySelector('{}')).imageRendering"
    visitor.until("vidgen.shown")
    assert page.evaluate(look.format(".vg-screen")) == "pixelated"
    page.evaluate("vidgen.adopt({ ...vidgen.recipe, model: 'mocogan-shapes', category: null })")
    visitor.until("vidgen.shown.recipe.model === 'mocogan-shapes'")
    assert page.evaluate(look.format(".vg-screen")) == "auto"
    page.get_by_role("tab", name="Swap").click()
    visitor.until("vidgen.boardShown?.done === vidgen.boardShown?.all")
    assert page.evaluate(look.format(".vg-cell canvas")) == "auto"


def test_path_and_meters_follow_the_clip(visitor: Visitor) -> None:
    page = visitor.open().page
    visitor.until("document.querySelector('[data-meter=motion_energy] dd').textContent !== ''")
    before = page.locator("[data-meter=motion_energy] dd").inner_text()
    page.evaluate("vidgen.adopt({ ...vidgen.recipe, strength: 0.1 })")
    visitor.until("document.querySelector('[data-meter=motion_energy] dd').textContent !== x", before)


def test_a_lock_holds_its_half_when_the_dice_roll(visitor: Visitor) -> None:
    page = visitor.open("?content=5&motion=7").page
    page.locator("#content_lock input").check()
    visitor.until("vidgen.locks.content_lock")
    page.locator("#both_dice").click()
    visitor.until("vidgen.recipe.motion_seed !== 7")
    assert visitor.recipe()["content_seed"] == 5
    page.locator("#content_dice").click()
    page.wait_for_timeout(300)
    assert visitor.recipe()["content_seed"] == 5
    assert page.locator("#motion_seed input").input_value() == str(visitor.recipe()["motion_seed"])


def test_category_is_two_radios_and_may_change_on_the_way(visitor: Visitor) -> None:
    page = visitor.open().page
    assert visitor.recipe()["category"] is None
    assert not page.locator("#category_b").is_visible()
    page.locator("#category_a").get_by_text("Cast").click()
    page.locator("#category_b").get_by_text("Down").click()
    visitor.until("vidgen.recipe.category === 6")
    visitor.settled()
    page.locator("#category_change").get_by_role("button").click()
    page.locator("#to_a").get_by_text("Slash").click()
    visitor.until("vidgen.recipe.category_to === 8")
    visitor.settled()
    page.locator("#to_a").get_by_text("No change").click()
    visitor.until("vidgen.recipe.category_to === null")
    visitor.settled()
    page.locator("#playback").get_by_text("There and back").click()
    visitor.until("vidgen.recipe.playback === 'loop'")


def test_another_model_brings_its_own_controls(visitor: Visitor) -> None:
    page = visitor.open("?cat=6&d=1,0,0,0,0,0").page
    assert not page.locator("#truncation").is_visible()
    assert page.locator("#category_change").is_visible()
    page.locator("#model input").click()
    page.get_by_role("option", name="Shapes").click()
    visitor.until("vidgen.recipe.model === 'mocogan-shapes'")
    visitor.until("document.querySelector('#truncation')")
    page.locator("#truncation").wait_for()
    assert not page.locator("#category_a").is_visible()
    assert not page.locator("#category_change").is_visible()
    assert visitor.recipe()["category"] is None
    assert visitor.recipe()["directions"] == [0] * 6
    visitor.settled()
    assert "m=mocogan-shapes" in page.url


# ---- busy, error, offline


def intercept(visitor: Visitor, handle: Callable) -> None:
    """Let a handler take the next request for a preview; other requests go on as they are."""

    taken = []

    def once(route: Any) -> None:
        if not taken and '"preview"' in (route.request.post_data or ""):
            taken.append(route)
            handle(route)
        else:
            route.continue_()

    visitor.page.route(LIVE, once)


def test_busy_and_error_are_told_apart(visitor: Visitor) -> None:
    page = visitor.open().page
    intercept(visitor, lambda route: route.fulfill(json={"busy": True, "retry": 1}))
    page.locator("#content_dice").click()
    visitor.until("document.querySelector('.vg-stage .vg-status').dataset.state === 'waiting'")
    visitor.settled()
    assert page.locator(".vg-stage .vg-status").get_attribute("data-state") == "idle", (
        "it asks again by itself"
    )
    page.unroute(LIVE)
    intercept(visitor, lambda route: route.fulfill(json={"error": "This is wrong."}))
    page.locator("#content_dice").click()
    visitor.until("document.querySelector('.vg-stage .vg-status').dataset.state === 'error'")
    assert page.locator(".vg-stage .vg-status").inner_text() == "This is wrong."
    page.locator("#content_dice").click()
    visitor.settled()
    assert page.locator(".vg-stage .vg-status").get_attribute("data-state") == "idle"


def test_a_server_out_of_reach_is_said_and_the_next_wish_is_served(visitor: Visitor) -> None:
    page = visitor.open().page
    intercept(visitor, lambda route: route.abort())
    page.locator("#content_dice").click()
    visitor.until("document.querySelector('.vg-stage .vg-status').dataset.state === 'error'")
    page.locator("#content_dice").click()
    visitor.settled()


# ---- the swap board


def test_rows_are_contents_and_columns_motions_on_one_clock(visitor: Visitor) -> None:
    page = visitor.open("?rows=1.2.3&columns=4.5").board().page
    assert seeds(visitor, "row") == ["1", "2", "3"]
    assert seeds(visitor, "column") == ["4", "5"]
    visitor.freeze()
    drawn = visitor.cells()
    assert len(set(drawn)) == 6, "six different pictures"
    assert (
        page.locator(".vg-cell").first.get_attribute("aria-label") == "Content 1, motion 4: open in Generate"
    )


def test_a_row_is_rolled_alone_and_what_is_locked_stays(visitor: Visitor) -> None:
    page = visitor.open("?rows=1.2.3&columns=4.5.6").board().page
    visitor.freeze()
    before = visitor.cells()
    page.locator(".vg-row").nth(1).get_by_role("button").nth(0).click()
    visitor.drawn()
    rows, after = seeds(visitor, "row"), visitor.cells()
    assert rows[0] == "1" and rows[1] != "2" and rows[2] == "3"
    assert [old == new for old, new in zip(before, after, strict=True)] == [True] * 3 + [False] * 3 + [
        True
    ] * 3
    page.locator(".vg-row").nth(0).get_by_role("button").nth(1).click()
    page.locator(".vg-column").nth(2).get_by_role("button").nth(1).click()
    page.get_by_text("Roll all").click()
    visitor.drawn()
    rows, columns = seeds(visitor, "row"), seeds(visitor, "column")
    assert rows[0] == "1" and rows[2] != "3"
    assert columns[2] == "6" and columns[0] != "4"


def test_a_pinned_row_comes_first_and_survives_a_smaller_grid(visitor: Visitor) -> None:
    page = visitor.open("?rows=1.2.3.4&columns=4.5").board().page
    page.locator(".vg-row").nth(3).get_by_role("button").nth(2).click()
    assert seeds(visitor, "row") == ["4", "1", "2", "3"]
    page.locator("[data-size=rows]").select_option("2")
    visitor.drawn()
    assert seeds(visitor, "row") == ["4", "1"]
    page.locator("[data-size=rows]").select_option("8")
    page.locator("[data-size=columns]").select_option("8")
    visitor.drawn()
    assert len(visitor.cells()) == 64


def test_a_cell_goes_to_generate(visitor: Visitor) -> None:
    page = visitor.open("?rows=11.12&columns=21.22&speed=2").board().page
    page.locator(".vg-cell").nth(2).click()
    page.locator("#content_seed input").wait_for()
    visitor.settled()
    recipe = visitor.recipe()
    assert (recipe["content_seed"], recipe["motion_seed"], recipe["speed"]) == (12, 21, 2)
    visitor.until("document.querySelector('#content_seed input').value === '12'")
    assert page.locator("#motion_seed input").input_value() == "21"


def test_a_and_b_exchange_their_motions(visitor: Visitor) -> None:
    page = visitor.open("?content=1&motion=2&d=1,0,0,0,0,0").board().page
    page.locator("[data-mode=ab]").click()
    visitor.drawn()
    numbers = page.locator(".vg-tools input[type=number]")
    assert [one.input_value() for one in numbers.all()[:2]] == ["1", "2"]
    numbers.nth(2).fill("3")
    numbers.nth(2).press("Enter")
    visitor.drawn()
    numbers.nth(3).fill("4")
    numbers.nth(3).press("Enter")
    visitor.drawn()
    page.get_by_label("A's content, B's motion").click()
    visitor.settled()
    recipe = visitor.recipe()
    assert (recipe["content_seed"], recipe["motion_seed"], recipe["directions"][0]) == (1, 4, 1)


def test_a_blend_and_a_splice_reach_generate_and_can_be_dropped(visitor: Visitor) -> None:
    page = visitor.open().board().page
    page.locator("[data-mode=blend]").click()
    visitor.drawn()
    assert len(visitor.cells()) == 7
    page.locator(".vg-cell").nth(3).click()
    visitor.settled()
    assert visitor.recipe()["content_mix"] == 0.5
    chip = page.locator(".vg-chips button")
    assert "50%" in chip.inner_text()
    chip.click()
    visitor.settled()
    assert visitor.recipe()["content_to"] is None
    visitor.tab(1)
    page.locator("[data-mode=splice]").click()
    visitor.drawn()
    page.locator(".vg-cell").nth(1).click()
    visitor.settled()
    assert visitor.recipe()["splice_seed"] is not None and visitor.recipe()["splice_at"] == 16


SLOWER = """const plain = window.fetch;
window.fetch = async (...what) => {
  const live = String(what[0]?.url ?? what[0]).includes('component_server');
  if (live) await new Promise((go) => setTimeout(go, 1500));
  return plain(...what);
};"""


def test_a_big_grid_shows_progress_and_can_be_cancelled(visitor: Visitor) -> None:
    visitor.page.add_init_script(SLOWER)
    page = visitor.open("?rows=1.2.3.4.5.6&columns=4.5").page
    visitor.tab(1)
    visitor.until("vidgen.boardShown?.done >= 2")
    assert 0 < page.locator(".vg-bar").evaluate("(one) => one.value / one.max") < 1
    page.locator(".vg-board .vg-cancel").click()
    assert page.locator(".vg-said").inner_text() == "Stopped."
    page.wait_for_timeout(3500)
    assert page.locator(".vg-cell[aria-busy=true]").count() > 0


# ---- files and the address


@pytest.mark.parametrize("kind", ["mp4", "gif", "webp", "png"])
def test_a_saved_clip_brings_its_settings_back(visitor: Visitor, tmp_path: Path, kind: str) -> None:
    page = visitor.open("?content=5&motion=7&d=0.5,0,0,0,0,-1&pad=1,2&cat=6&speed=1.5&n=24&fps=18").page
    wanted, picture = visitor.recipe(), visitor.picture()
    page.locator("#save_card > button, #save_card .label-wrap").first.click()
    page.locator("#format").get_by_text(kind, exact=True).click()
    with page.expect_download() as download:
        page.locator("#save").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == f".{kind}"
    assert read_recipe(path) == Recipe.from_dict(wanted).to_dict()
    page.evaluate("vidgen.adopt({ model: 'mocogan-actions' })")
    visitor.settled()
    page.locator("#restore input[type=file]").set_input_files(path)
    visitor.until("vidgen.recipe.content_seed === 5")
    visitor.settled()
    assert visitor.recipe() == wanted
    assert visitor.picture() == picture
    assert page.locator("#direction_5 input[type=range]").input_value() == "-1"


def test_a_foreign_file_is_told_in_a_sentence(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open().page
    page.locator("#save_card > button, #save_card .label-wrap").first.click()
    path = tmp_path / "other.mp4"
    path.write_bytes(b"no clip at all")
    page.locator("#restore input[type=file]").set_input_files(path)
    page.get_by_text(re.compile("other.mp4")).first.wait_for()
    assert "Traceback" not in page.content()


def test_the_address_carries_everything(visitor: Visitor, room: Any, served: str) -> None:
    page = visitor.open("?content=5&motion=7").page
    page.locator("#strength input[type=range]").fill("0.5")
    page.locator("#category_a").get_by_text("Walk").click()
    page.evaluate("vidgen.adopt({ ...vidgen.recipe, pad: [1, -2], splice_seed: 9, splice_at: 4 })")
    visitor.settled()
    visitor.until("location.search.includes('splice=9')")
    wanted, picture, query = visitor.recipe(), visitor.picture(), page.url.partition("/?")[2]
    other = Visitor(room, served).open("?" + query)
    assert other.recipe() == wanted
    assert other.picture() == picture
    assert other.page.locator("#strength input[type=range]").input_value() == "0.5"
    other.page.close()


@pytest.mark.parametrize(
    "query",
    [
        "?content=NaN&motion=1e99&d=1,2&pad=x,y&cat=999&n=1e9&fps=-1&play=sideways&speed=Infinity",
        "?m=../../etc/passwd&content=<script>alert(1)</script>",
        "?rows=a.b&columns=1&board=nothing",
    ],
)
def test_a_mad_address_gives_a_clip_all_the_same(visitor: Visitor, query: str) -> None:
    recipe = visitor.open(query).recipe()
    assert recipe["model"] == "mocogan-sprites"
    Recipe.from_dict(recipe, clamp=False)
    assert visitor.page.locator(".vg-stage .vg-status").get_attribute("data-state") == "idle"


# ---- people


def test_a_narrow_screen_needs_no_sideways_scrolling_and_keeps_the_clip_in_sight(
    chromium: Any, served: str
) -> None:
    visitor = Visitor(
        chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True), served
    ).open()
    page = visitor.page
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(wide) <= 0
    page.mouse.wheel(0, 700)
    page.wait_for_timeout(300)
    assert page.locator(".vg-screen").bounding_box()["y"] >= 0, "the stage sticks"
    page.mouse.wheel(0, -2000)
    page.wait_for_timeout(300)
    visitor.board()
    assert page.evaluate(wide) <= 0
    visitor.tab(2)
    page.wait_for_timeout(500)
    assert page.evaluate(wide) <= 0
    visitor.context.close()
    assert not visitor.faults


def test_reduced_motion_stands_still_until_asked(chromium: Any, served: str) -> None:
    visitor = Visitor(chromium.new_context(reduced_motion="reduce"), served).open()
    assert not visitor.page.evaluate("vidgen.clock.playing")
    visitor.page.locator(".vg-play").click()
    assert visitor.page.evaluate("vidgen.clock.playing")
    visitor.context.close()


@pytest.mark.parametrize(("locale", "word"), [("de-DE", "Würfeln"), ("es-MX", "Tirar"), ("fr-FR", "Roll")])
def test_the_page_speaks_the_visitors_language(chromium: Any, served: str, locale: str, word: str) -> None:
    visitor = Visitor(chromium.new_context(locale=locale), served).open()
    assert visitor.page.locator("#content_dice").inner_text() == word
    ready = app.WORDS.get(locale[:2], app.WORDS["en"])["idle"]
    assert visitor.page.locator(".vg-stage .vg-status").inner_text() == ready
    visitor.context.close()


def luminance(colour: str) -> float:
    """Relative luminance of rgb(...), WCAG 2."""
    parts = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


BACKGROUND = """(one) => { for (let node = one; node; node = node.parentElement) {
  const fill = getComputedStyle(node).backgroundColor;
  if (!/, 0\\)$|transparent/.test(fill)) return fill; } return 'rgb(255, 255, 255)'; }"""
TEXTS = [
    "#tagline p",
    ".vg-count",
    ".vg-status",
    ".vg-meters dt",
    ".vg-pad-hint",
    ".vg-title p",
    "#both_dice",
]
TEXTS += [
    "#content_dice",
    "#strength label",
    "#frames [data-testid=block-info]",
    "[role=tab][aria-selected=true]",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(chromium: Any, served: str, scheme: str) -> None:
    visitor = Visitor(chromium.new_context(color_scheme=scheme), served).open()
    for selector in TEXTS:
        for place in visitor.page.locator(selector).all()[:3]:
            ink = luminance(place.evaluate("(one) => getComputedStyle(one).color"))
            paper = luminance(place.evaluate(BACKGROUND))
            ratio = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
            assert ratio >= 4.5, (scheme, selector, ratio)
    visitor.context.close()


NAMELESS = """() => [...document.querySelectorAll('main :is(button, input, select, canvas, [role])')]
  .filter((one) => one.offsetParent && one.type !== 'file' && !one.ariaHidden)
  .filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.title
    || one.labels?.[0]?.textContent.trim()))
  .map((one) => one.outerHTML.slice(0, 200))"""


def test_every_control_has_a_name(visitor: Visitor) -> None:
    visitor.open()
    assert visitor.page.evaluate(NAMELESS) == []
    visitor.board()
    assert visitor.page.evaluate(NAMELESS) == []


# ---- the shipped weights


@pytest.mark.skipif(not list(WEIGHTS.glob("*.safetensors")), reason="there are no weights in this checkout")
def test_the_shipped_weights_are_drawn(chromium: Any) -> None:
    session = web.LateSession()
    blocks = app.build_app(session)
    app.serve(blocks)
    visitor = Visitor(chromium.new_context(), blocks.local_url).open("?content=3&motion=4&n=8")
    before = visitor.picture()
    visitor.page.locator("#content_dice").click()
    visitor.settled()
    assert visitor.picture() != before
    clip = Session(threads=1).render(Recipe.from_dict(visitor.recipe()))
    pixels = visitor.page.evaluate(
        "() => { vidgen.clock.step(-vidgen.clock.frame); const screen = document.querySelector('.vg-screen');"
        " return [...screen.getContext('2d').getImageData(0, 0, 64, 64).data]; }"
    )
    drawn = np.array(pixels).reshape(64, 64, 4)[..., :3]
    assert np.abs(drawn - clip[0].astype(int)).mean() < 8, "the canvas shows the clip, up to JPEG"
    visitor.context.close()
    blocks.close(verbose=False)
    assert not visitor.faults
