"""Inspect: where each motion style acts and how alike they are, in the model, the library, the command line
and the app.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from browser import browsing, find_browser
from fake_session import FakeSession
from gradio_client import Client
from test_app import sheet

import app
from vidgen import __main__ as cli
from vidgen import heat, sampling, session, web
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.models.mostganv import MoStGANV, MoStGANVConfig
from vidgen.recipe import Recipe
from vidgen.session import Session
from vidgen.video_io import read_clip
from vidgen.web_inspect import LENGTHS, Inspector

TINY = {
    "size": 32,
    "content_dim": 6,
    "style_dim": 8,
    "motion_dim": 4,
    "code_dim": 8,
    "motion_distance": 4,
    "motion_kernel": 2,
    "motion_styles": 3,
    "motion_style_dim": 4,
    "motion_hidden": 8,
    "num_labels": 0,
    "label_dim": 4,
    "base_width": 4,
    "max_width": 8,
    "longest_period": 16.0,
    "clip_length": 8,
}


def tiny(**changes: object) -> MoStGANV:
    torch.manual_seed(0)
    return MoStGANV(MoStGANVConfig(**TINY | changes)).eval()


# ---- the model


def points_of(model: MoStGANV, frames: int = 2) -> torch.Tensor:
    return torch.randn(frames, model.config.style_dim + model.config.code_dim, 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("order", ["content", "motion"])
def test_heat_is_what_the_filters_that_attend_to_a_style_put_out(order: str) -> None:
    model = tiny(order=order)
    points = points_of(model)
    outputs = []
    for conv in model.image.convs:
        conv.register_forward_hook(lambda *parts: outputs.append(parts[-1]))
    model.image(points)
    seen = [(x, scores) for x, scores in outputs if scores is not None]
    assert len(seen) == 4, "two layers at 16 px and two at 32"
    heat, _ = model.image.attention(points)
    assert heat.shape == (2, 3, 32, 32)
    for frame in range(2):
        total = torch.zeros(3, 32, 32)
        for x, scores in seen:
            layer = torch.zeros(3, *x.shape[-2:])
            for style in range(3):
                for o in range(x.shape[1]):
                    share = scores[frame, o, style].exp() / scores[frame, o].exp().sum()
                    layer[style] += share * x[frame, o].abs()
            layer = F.interpolate(layer[None], size=(32, 32), mode="bilinear")[0]
            total += layer / layer.max() / len(seen)
        torch.testing.assert_close(heat[frame], total)
    assert 0 <= heat.min() < heat.max() <= 1
    assert (heat[:, 0] - heat[:, 1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3])
def test_cosines_are_of_the_styles_of_each_frame(count: int) -> None:
    model = tiny(motion_styles=count)
    points = points_of(model)
    _, cosine = model.image.attention(points)
    assert cosine.shape == (2, count, count)
    torch.testing.assert_close(cosine, cosine.mT)
    torch.testing.assert_close(cosine.diagonal(dim1=1, dim2=2), torch.ones(2, count))
    styles = model.image.styles(points.flatten(1))
    for one in range(count):
        for other in range(count):
            a, b = styles[1, one], styles[1, other]
            torch.testing.assert_close(cosine[1, one, other], (a @ b) / (a.norm() * b.norm()))


@torch.no_grad()
def test_a_single_style_has_all_the_attention() -> None:
    model = tiny(motion_styles=1, attention_from=32)
    points = points_of(model)
    seen = []
    for conv in model.image.convs[-2:]:
        conv.register_forward_hook(lambda *parts: seen.append(parts[-1][0].abs().sum(1, keepdim=True)))
    model.image(points)
    whole = [layer / layer.amax((1, 2, 3), keepdim=True) for layer in seen]
    torch.testing.assert_close(model.image.attention(points)[0], sum(whole) / 2)


@pytest.mark.parametrize("changes", [{"motion_styles": 0}, {"attention_from": 64}])
def test_layers_that_follow_no_style_have_none_to_show(changes: dict) -> None:
    assert tiny().image.motion_styles == 3
    assert tiny(**changes).image.motion_styles == 0


# ---- the library


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a model of three motion styles, which knows categories, and two without styles."""
    folder = tmp_path_factory.mktemp("weights")
    about = {"fps": 8, "default_frames": 10, "truncation": True}
    named = about | {"categories": ["walk", "wave"], "title": "Tiny styles"}
    save_model(folder / "styles.safetensors", tiny(num_labels=2), named)
    save_model(folder / "no-styles.safetensors", tiny(motion_styles=0), about)
    save_model(folder / "mocogan-sprites.safetensors", MoCoGAN(MoCoGANConfig(size=16, base_width=4)), {})
    return folder


@pytest.fixture(scope="module")
def opened(weights: Path) -> Session:
    return Session(weights)


def test_an_inspection_is_of_the_clip_frame_by_frame(opened: Session) -> None:
    recipe = Recipe(model="styles", frames=sampling.CHUNK + 5, content_seed=3, motion_seed=4, category=1)
    found = opened.inspect(recipe)
    assert (found.clip == opened.render(recipe)).all()
    assert (found.heat.shape, found.heat.dtype) == ((21, 3, 32, 32), np.float32)
    assert (found.cosine.shape, found.cosine.dtype) == ((3, 3), np.float32)
    model = tiny(num_labels=2)
    codes = sampling.codes([recipe], model, None, 8)
    with torch.no_grad():
        latents = model.latents(codes.content, codes.motion, codes.times, codes.label)
        plain, cosine = model.image.attention(latents[0, :, :, None, None])
    np.testing.assert_allclose(found.heat, plain, atol=0.01)  # the file holds half precision
    np.testing.assert_allclose(found.cosine, cosine.mean(0), atol=0.01)
    shorter = opened.inspect(recipe.replace(frames=5))
    # Not bit for bit on every processor: a matrix product's last digit may depend on how many rows it has.
    np.testing.assert_allclose(shorter.heat, found.heat[:5], atol=1e-5)
    other = opened.inspect(recipe.replace(motion_seed=5))
    assert np.abs(other.heat - found.heat).max() > 0.01


@pytest.mark.parametrize("name", ["no-styles", "mocogan-sprites"])
def test_a_model_without_styles_is_told(opened: Session, name: str) -> None:
    with pytest.raises(VidgenError, match=f"{name} has no motion styles to inspect; choose one .*: styles"):
        opened.inspect(Recipe(model=name))


def test_heat_has_a_largest_size(opened: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_HEAT_BYTES", 100_000)
    opened.inspect(Recipe(model="styles", frames=8))
    with pytest.raises(VidgenError, match="9 frames of 3 motion styles .* fewer frames"):
        opened.inspect(Recipe(model="styles", frames=9))


def test_the_list_says_which_models_have_styles(opened: Session) -> None:
    counts = {info.name: info.motion_styles for info in opened.models()}
    assert counts == {"mocogan-sprites": 0, "no-styles": 0, "styles": 3}


# ---- the pictures


def test_equal_steps_of_heat_look_equal() -> None:
    shown = heat.colours(np.linspace(0, 1, 21)) / 255
    linear = np.where(shown > 0.04045, ((shown + 0.055) / 1.055) ** 2.4, shown / 12.92)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)  # CIE L*
    steps = np.diff(lightness)
    assert lightness[0] < 20 < 85 < lightness[-1]
    assert steps.min() > 0.75 * steps.mean()
    assert steps.max() < 1.25 * steps.mean()


def test_overlays_show_heat_and_picture() -> None:
    clip = np.zeros((2, 4, 4, 3), np.uint8)
    clip[:, 0] = 255
    values = np.zeros((2, 3, 4, 4), np.float32)
    values[1, 2, 3, 3] = 0.25  # the strongest of this clip
    shown = heat.with_overlays(clip, values)
    assert shown.shape == (4, 2, 4, 4, 3)
    assert (shown[0] == clip).all()
    assert (shown[1] == shown[2]).all()
    changed = np.argwhere((shown[3] != shown[1]).any(-1))
    assert changed.tolist() == [[1, 3, 3]]
    np.testing.assert_allclose(shown[3, 1, 3, 3], 0.9 * heat.VIRIDIS[-1], atol=1)
    np.testing.assert_allclose(shown[1, 0, 0, 0], 0.4 * heat.VIRIDIS[0] + 0.6 * 0.7 * 255, atol=1)
    grey = heat.with_overlays(clip[..., :1], values)
    assert (grey == shown).all()


@pytest.mark.parametrize(("count", "size"), [(2, (42, 66)), (4, (86, 66)), (5, (86, 100)), (9, (130, 100))])
def test_a_film_of_labelled_cells_is_as_square_as_it_can_be(count: int, size: tuple[int, int]) -> None:
    clips = (
        np.zeros((count, 3, 30, 32, 3), np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None, None, None]
    )
    film = heat.labelled(clips, [str(number + 1) for number in range(count)])
    assert film.shape == (3, *size, 3)
    (top, left) = divmod(count - 1, round(size[1] / 34))
    top, left = top * 44 + 12, left * 34
    assert (film[:, top : top + 30, left : left + 32] == count - 1).all()
    labels = [film[0, :12, place : place + 32] for place in (0, 34)]
    assert all(label.min() < 100 for label in labels)
    assert (labels[0] != labels[1]).any()


# ---- the command line

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Give a function that runs `inspect` in an empty folder: (code, standard output, error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "open_session", lambda: Session(weights))

    def call(*argv: object) -> tuple[int, str, str]:
        code = cli.main(["inspect", *(str(word) for word in argv)])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp", "png"])
def test_the_film_has_a_cell_for_each_style(run: Run, opened: Session, ending: str) -> None:
    seeds = ["--content-seed", 3, "--motion-seed", 5, "--category", "wave", "--frames", 9]
    code, text, error = run("--model", "styles", *seeds, "--out", f"a.{ending}")
    assert code == 0, error
    film = read_clip(f"a.{ending}")
    recipe = Recipe(model="styles", content_seed=3, motion_seed=5, category=1, frames=9, fps=8)
    assert film.frames.shape == (9, 90, 66, 3)
    assert Recipe.from_dict(film.recipe) == recipe
    found = opened.inspect(recipe)
    if ending == "png":
        assert (film.frames[:, 12:44, :32] == found.clip).all()
        assert (film.frames[:, 58:, 34:] == heat.with_overlays(found.clip, found.heat)[3]).all()
    _, head, *rows = text.splitlines()
    assert head.split() == ["1", "2", "3"]
    table = np.array([[float(word) for word in row.split()] for row in rows])
    assert table[:, 0].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table[:, 1:], found.cosine, atol=0.0051)


def test_the_matrix_comes_as_json_too(run: Run, opened: Session) -> None:
    code, text, _ = run("--model", "styles", "--out", "a.png", "--json")
    assert code == 0
    record = json.loads(text)
    assert (record["model"], record["frames"]) == ("styles", 10)
    found = opened.inspect(Recipe(model="styles", frames=10, fps=8))
    np.testing.assert_allclose(record["cosine"], found.cosine)


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--out", "a.mp4"], "choose one that has: styles"),
        (["--out", "a.mp4", "--model", "no-styles"], "no-styles has no motion styles"),
        (["--out", "a.mp4", "--model", "style"], "did you mean 'styles'"),
        (["--out", "a.txt", "--model", "styles"], "must end in"),
        (["--out", "a.mp4", "--model", "styles", "--category", 2], "0 to 1"),
        (["--out", "a.mp4", "--model", "styles", "--frames", 0], "frames"),
        (["--model", "styles"], "--out"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, argv: list[object], part: str) -> None:
    code, text, error = run(*argv)
    assert (code, text, error.count("\n")) == (2, "", 1)
    assert part in error
    assert os.listdir() == []


# ---- what the app does for a visitor


@pytest.fixture
def inspector(opened: Session) -> Inspector:
    return Inspector(web.Service(opened))


def test_the_tab_gets_a_sheet_and_the_cosines(inspector: Inspector, opened: Session) -> None:
    recipe = {"model": "styles", "frames": 9, "motion_seed": 2, "fps": 20}
    answer = inspector.view({"recipe": recipe}, "somebody")
    json.dumps(answer)
    numbers = {name: answer[name] for name in ("frames", "columns", "width", "height", "fps")}
    assert numbers == {"frames": 9, "columns": 4, "width": 32, "height": 32, "fps": 20.0}
    found = opened.inspect(Recipe(**recipe))
    shown = heat.with_overlays(found.clip, found.heat)
    picture = sheet(answer).astype(int)
    assert picture.shape == (9 * 32, 4 * 32, 3)
    assert np.abs(picture[32:64, 64:96] - shown[2, 1]).mean() < 4
    np.testing.assert_allclose(answer["cosine"], found.cosine, atol=0.0006)


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        (None, "field 'recipe'"),
        ({}, "field 'recipe'"),
        ({"recipe": {}, "more": 1}, "field 'recipe'"),
        ({"recipe": []}, "JSON object"),
        ({"recipe": {"model": "no-styles"}}, "no-styles has no motion styles"),
        ({"recipe": {"model": "../styles"}}, "There is no model"),
        ({"recipe": {"model": "styles", "category": 2}}, "categories 0 to 1"),
        ({"recipe": {"model": "styles", "motion_seed": "x"}}, "must be a number"),
        ({"recipe": {"model": "styles", "colour": 1}}, "no field 'colour'"),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(inspector: Inspector, request_: object, part: str) -> None:
    answer = inspector.view(request_, "somebody")
    assert set(answer) == {"error"}
    assert part in answer["error"]
    assert "\n" not in answer["error"]


def test_a_visitor_pays_and_waits_as_for_previews(opened: Session) -> None:
    limits = web.Limits(burst=40, per_second=0.001, patience=0.01)
    inspector = Inspector(web.Service(opened, limits))
    wish = {"recipe": {"model": "styles", "frames": 20}}
    assert "src" in inspector.view(wish, "one")
    assert inspector.view(wish, "one")["busy"]
    with inspector.service.my_turn():
        assert inspector.view(wish, "two") == {"busy": True, "retry": 0.5}
    assert inspector.read({"model": "styles", "frames": 10**9}).frames == LENGTHS[1]


# ---- the app served


def named(blocks: gr.Blocks) -> list[str]:
    return [function.api_name for function in blocks.fns.values() if function.api_visibility == "public"]


def test_without_styles_there_is_no_tab() -> None:
    blocks = app.build_app(FakeSession())
    assert "inspect" not in named(blocks)
    assert not [part for part in blocks.blocks.values() if getattr(part, "elem_id", None) == "inspect"]


@pytest.fixture(scope="module")
def served(opened: Session) -> Iterator[gr.Blocks]:
    blocks = app.build_app(opened)
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


def test_the_endpoint_gives_film_and_matrix(served: gr.Blocks, opened: Session) -> None:
    remote = Client(served.local_url, verbose=False)
    described = remote.view_api(return_format="dict")["named_endpoints"]["/inspect"]
    assert [one["parameter_name"] for one in described["parameters"]][:3] == [
        "model",
        "content_seed",
        "motion_seed",
    ]
    film, matrix = remote.predict(motion_seed=7, frames=9, category=1, format="gif", api_name="/inspect")
    recipe = Recipe(model="styles", motion_seed=7, frames=9, category=1)
    assert read_clip(film).frames.shape == (9, 90, 66, 3)
    assert Recipe.from_dict(read_clip(film).recipe) == recipe
    np.testing.assert_allclose(matrix, opened.inspect(recipe).cosine, atol=0.0006)
    counts = {info["name"]: info["motion_styles"] for info in remote.predict(api_name="/models")}
    assert counts == {"mocogan-sprites": 0, "no-styles": 0, "styles": 3}
    mistakes = {"no motion styles": {"model": "no-styles"}, "choose one of": {"format": "exe"}}
    for sentence, values in mistakes.items():
        with pytest.raises(Exception, match=sentence):
            remote.predict(**values, api_name="/inspect")


@pytest.mark.browser
def test_a_visitor_sees_the_styles(served: gr.Blocks, opened: Session) -> None:
    if find_browser() is None:
        assert not os.environ.get("VIDGEN_REQUIRE_BROWSER")
        pytest.skip("no Chromium on this machine: the app is not driven in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, browsing(playwright, locale="en-US") as page:
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_default_timeout(60_000)
        page.goto(served.local_url)
        page.get_by_role("tab", name="Inspect").click()
        page.wait_for_function("() => window.vidgen?.inspected")
        tab = page.locator("#inspect")
        assert tab.locator("figcaption").all_inner_texts() == ["Clip", "Style 1", "Style 2", "Style 3"]
        assert tab.get_by_role("img").count() == 4
        assert [tab.get_by_role("columnheader").count(), tab.get_by_role("rowheader").count()] == [3, 3]
        # On one clock: a step moves all.
        tab.get_by_role("button", name="Pause").click()
        pixels = "[...document.querySelectorAll('#inspect canvas')].map((one) => one.toDataURL())"
        before, frame = page.evaluate(pixels), tab.locator(".vg-count").inner_text()
        tab.get_by_role("button", name="One frame on").click()
        after = page.evaluate(pixels)
        assert tab.locator(".vg-count").inner_text() != frame
        assert all(one != other for one, other in zip(before, after, strict=True))
        # Another motion: other heat, and the matrix of the library.
        tab.get_by_role("spinbutton", name="Motion seed", exact=True).fill("12")
        tab.get_by_role("spinbutton", name="Motion seed", exact=True).press("Enter")
        page.wait_for_function("() => vidgen.inspected.recipe.motion_seed === 12")
        assert page.evaluate(pixels)[1:] != after[1:]
        tab.get_by_label("Category").select_option("1")
        page.wait_for_function("() => vidgen.inspected.recipe.category === 1")
        seen = page.evaluate("vidgen.inspected.recipe")
        cosine = opened.inspect(Recipe.from_dict(seen)).cosine
        texts = tab.locator("tbody td").all_inner_texts()
        assert all(re.fullmatch("1|−?[.][0-9]{2}", text) for text in texts)
        values = [float(text.replace("−", "-")) for text in texts]
        np.testing.assert_allclose(np.reshape(values, (3, 3)), cosine, atol=0.0062)
        tab.get_by_role("button", name="Roll again: Content seed").click()
        page.wait_for_function("() => vidgen.inspected.recipe.content_seed !== 1")
        assert not faults
