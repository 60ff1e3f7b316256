"""The app without a browser: what untrusted requests may do, the endpoints, and what is shut."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from fake_session import FakeSession
from gradio.routes import App
from gradio_client import Client, handle_file
from PIL import Image
from starlette.testclient import TestClient

import app
from vidgen import web
from vidgen.errors import VidgenError
from vidgen.recipe import Recipe
from vidgen.video_io import read_clip, read_recipe

NAN = math.nan


@pytest.fixture
def service() -> web.Service:
    return web.Service(FakeSession())


# ---- what a request may say


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "recipes",
        {},
        {"recipes": []},
        {"recipes": [{}] * 9},
        {"recipes": {}},
        {"recipes": [None]},
        {"recipes": [{}], "more": 1},
        {"recipes": [{"model": "../../etc/passwd"}]},
        {"recipes": [{"model": "/weights/mocogan-sprites.safetensors"}]},
        {"recipes": [{"model": 3}]},
        {"recipes": [{"unknown": 1}]},
        {"recipes": [{"content_seed": NAN}]},
        {"recipes": [{"speed": math.inf}]},
        {"recipes": [{"speed": "fast"}]},
        {"recipes": [{"directions": [0, 0]}]},
        {"recipes": [{"directions": [0, 0, 0, 0, 0, NAN]}]},
        {"recipes": [{"playback": "sideways"}]},
        {"recipes": [{"category": 999}]},
    ],
)
def test_a_bad_request_is_told_in_one_sentence(service: web.Service, request_: object) -> None:
    answer = service.preview(request_, "somebody")
    assert set(answer) == {"error"}
    assert "\n" not in answer["error"]
    assert not service.session.rendered


def test_numbers_out_of_range_are_clamped(service: web.Service) -> None:
    recipe = service.read({"frames": 10**9, "speed": 1e9, "fps": -5, "content_seed": 10**12, "strength": -1})
    assert (recipe.frames, recipe.speed, recipe.fps) == (128, 4.0, 1.0)
    assert (recipe.content_seed, recipe.strength) == (2**31 - 1, 0.0)
    assert service.read({"frames": 1}).frames == 8


def test_a_fault_tells_nothing(service: web.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a path: /secret")

    monkeypatch.setattr(service.session, "render", fail)
    assert service.preview({"recipes": [{}]}, "somebody") == {"error": web.FAULT}


# ---- what it answers


def sheet(answer: dict) -> np.ndarray:
    """Decode an answer's JPEG."""
    head, _, data = answer["src"].partition(",")
    assert head == "data:image/jpeg;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_preview_is_a_sheet_of_frames_and_columns(service: web.Service) -> None:
    recipes = [{"frames": 10, "content_seed": seed, "fps": 20} for seed in (1, 2, 3)]
    answer = service.preview({"recipes": recipes}, "somebody")
    assert {name: answer[name] for name in ("frames", "columns", "width", "height", "fps")} == {
        "frames": 10,
        "columns": 3,
        "width": 64,
        "height": 64,
        "fps": 20.0,
    }
    picture = sheet(answer).astype(int)
    assert picture.shape == (640, 192, 3)
    truth = service.session.render(Recipe(frames=10, content_seed=2, fps=20))
    assert np.abs(picture[64:128, 64:128] - truth[1]).mean() < 4
    json.dumps(answer)


def test_details_come_from_the_clip_that_is_already_there(service: web.Service) -> None:
    service.preview({"recipes": [{"frames": 16}]}, "somebody")
    drawn = len(service.session.rendered)
    answer = service.details({"recipe": {"frames": 16}}, "somebody")
    assert len(answer["path"]) == 16
    assert set(answer["meters"]) == {"content_drift", "motion_energy", "flicker"}
    assert len(service.session.rendered) == drawn


def test_the_clips_kept_stay_within_their_memory(service: web.Service) -> None:
    clip = np.zeros((8, 128, 64, 64, 3), np.uint8)
    for number in range(5):
        service._keep(str(number), clip)
    assert list(service._kept) == ["3", "4"]
    assert sum(kept.nbytes for kept in service._kept.values()) <= web.KEPT_BYTES


# ---- how much a visitor may ask for


def test_a_budget_refills_and_is_each_visitors_own() -> None:
    now = [0.0]
    budget = web.Budget(web.Limits(burst=100, per_second=10), clock=lambda: now[0])
    budget.spend("one", 80)
    with pytest.raises(web.BusyError) as busy:
        budget.spend("one", 60)
    assert busy.value.seconds == pytest.approx(4)
    budget.spend("two", 60)
    now[0] = 4.0
    budget.spend("one", 60)


def test_a_request_above_the_burst_is_served_when_the_budget_is_full() -> None:
    budget = web.Budget(web.Limits(burst=100, per_second=10), clock=lambda: 0.0)
    budget.spend("one", 500)
    with pytest.raises(web.BusyError):
        budget.spend("one", 1)


def test_visitors_are_forgotten() -> None:
    budget = web.Budget(web.Limits(visitors=10), clock=lambda: 0.0)
    for visitor in range(50):
        budget.spend(str(visitor), 1)
    assert len(budget._left) == 10


def test_a_visitor_over_budget_is_told_when_to_come_again() -> None:
    service = web.Service(FakeSession(), web.Limits(burst=20, per_second=10))
    assert "src" in service.preview({"recipes": [{"frames": 16}]}, "one")
    answer = service.preview({"recipes": [{"frames": 16, "content_seed": 5}]}, "one")
    assert answer["busy"] and 0 < answer["retry"] < 3
    assert "src" in service.preview({"recipes": [{"frames": 16, "content_seed": 5}]}, "two")


def test_one_renders_at_a_time_and_the_next_waits_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    service = web.Service(FakeSession(), web.Limits(patience=0.05))
    go, inside = threading.Event(), threading.Event()
    draw = FakeSession.render

    def slow(session: FakeSession, recipe: Recipe) -> np.ndarray:
        inside.set()
        go.wait(10)
        return draw(session, recipe)

    monkeypatch.setattr(FakeSession, "render", slow)
    first = threading.Thread(target=service.preview, args=({"recipes": [{}]}, "one"))
    first.start()
    inside.wait(10)
    assert service.preview({"recipes": [{"content_seed": 2}]}, "two")["busy"]
    go.set()
    first.join(10)
    assert "src" in service.preview({"recipes": [{"content_seed": 2}]}, "two")


# ---- files


@pytest.mark.parametrize("kind", web.KINDS)
def test_an_exported_clip_gives_its_recipe_back(service: web.Service, tmp_path: Path, kind: str) -> None:
    recipe = service.read(
        {"frames": 20, "content_seed": 7, "directions": [1, 0, 0, 0, 0, 0.5], "category": 3}
    )
    *shares, path = service.export(recipe, kind, tmp_path, 2)
    assert all(isinstance(share, float) for share in shares)
    assert Recipe.from_dict(read_recipe(path), clamp=False) == recipe
    if kind != "png":
        assert read_clip(path).frames.shape[:3] == (20, 128, 128)
    assert service.read_file(path, delete=True) == recipe
    assert not path.exists(), "an upload is deleted once it is read"


def test_pixel_art_keeps_its_edges_when_it_grows(service: web.Service) -> None:
    clip = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    art, smooth = web.enlarged(clip, 4, True), web.enlarged(clip, 4, False)
    assert art.shape == smooth.shape == (2, 32, 32, 3)
    assert (art[:, ::4, ::4] == clip).all() and (art[:, 3::4, 3::4] == clip).all()
    assert (smooth != art).mean() > 0.5
    assert abs(smooth.astype(float).mean() - clip.mean()) < 3
    assert (web.enlarged(clip, 1, False) == clip).all()
    assert [info.pixel_art for info in service.models.values()] == [
        info.data == "sprites" for info in service.models.values()
    ]
    assert {web.describe(info)["pixel_art"] for info in service.models.values()} == {True, False}


def test_a_cancelled_export_leaves_nothing(service: web.Service, tmp_path: Path) -> None:
    steps = service.export(service.read({"frames": 128}), "mp4", tmp_path)
    next(steps)
    steps.close()
    assert not list(tmp_path.iterdir())
    assert "src" in service.preview({"recipes": [{}]}, "one"), "the turn is free again"


@pytest.mark.parametrize(
    ("kind", "scale"), [("exe", 1), (None, 1), ("mp4", 3), ("mp4", 10**6), ("mp4", None)]
)
def test_only_known_formats_and_scales(
    service: web.Service, tmp_path: Path, kind: object, scale: object
) -> None:
    with pytest.raises(VidgenError, match="choose one of"):
        list(service.export(service.read({}), kind, tmp_path, scale))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a clip", b"\0" * 1000, b"GIF89a" + b"\xff" * 50])
def test_a_foreign_upload_is_told_by_name_and_deleted(
    service: web.Service, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "mine.mp4"
    path.write_bytes(content)
    with pytest.raises(VidgenError) as told:
        service.read_file(path, delete=True)
    assert str(tmp_path) not in str(told.value)
    assert not path.exists()


def test_a_clip_of_somebody_else_cannot_name_a_path(service: web.Service, tmp_path: Path) -> None:
    (export := service.export(service.read({}), "gif", tmp_path))
    *_, path = export
    bad = service.film(
        "bad", [read_clip(path).frames], 32, folder=tmp_path, kind="gif", fps=12, recipe={"model": "/x"}
    )
    *_, path = bad
    with pytest.raises(VidgenError, match="no model"):
        service.read_file(path, delete=True)


# ---- the app served


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    blocks = app.build_app(FakeSession())
    yield TestClient(App.create_app(blocks, app_kwargs=app.LAUNCH["app_kwargs"]))


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/process_recording", "/gradio_api/deep_link", "/monitoring", "/monitoring/summary"],
)
def test_what_invites_misuse_is_shut(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path, json={}).status_code == 404


def test_a_huge_body_is_refused(client: TestClient) -> None:
    assert client.post("/gradio_api/component_server", content=b"x" * 2**19).status_code == 413


def component(client: TestClient, name: str) -> int:
    """Find a component's number by its elem_id."""
    parts = client.get("/config").json()["components"]
    return next(part["id"] for part in parts if part["props"].get("elem_id") == name)


def call(client: TestClient, data: object, name: str = "preview") -> dict:
    """Call a server function as the page does."""
    body = {"data": data, "component_id": component(client, "stage"), "fn_name": name, "session_hash": "x"}
    return client.post("/gradio_api/component_server", json=body).json()


def test_the_live_function_answers_past_the_queue(client: TestClient) -> None:
    assert call(client, {"recipes": [{"frames": 8}]})["frames"] == 8
    assert "path" in call(client, {"recipe": {"frames": 8}}, "details")
    assert call(client, {"recipes": [{"model": "/etc/passwd"}]})["error"].startswith("There is no model")


def test_no_other_method_can_be_called(client: TestClient) -> None:
    body = {
        "data": {},
        "component_id": component(client, "stage"),
        "fn_name": "postprocess",
        "session_hash": "x",
    }
    assert client.post("/gradio_api/component_server", json=body).status_code == 404


def test_the_schema_holds_the_named_endpoints_and_nothing_else(client: TestClient) -> None:
    info = client.get("/gradio_api/info").json()
    names = ["sample", "export", "grid", "interpolate", "swap", "splice", "models", "motion_path", "meters"]
    names += ["read_recipe", "retarget", "translators", "compare_clips"]
    assert set(info["named_endpoints"]) == {f"/{name}" for name in names}
    assert not info["unnamed_endpoints"]
    for name, endpoint in info["named_endpoints"].items():
        assert endpoint["description"], name
        for parameter in endpoint["parameters"]:
            assert parameter["parameter_name"] not in ("values", "named"), name
            if name != "/read_recipe":
                assert f"{parameter['parameter_name']}:" in endpoint["description"], (name, parameter)


def test_every_language_has_every_word() -> None:
    words = app.WORDS
    assert {"en", "de", "es"} <= set(words)
    for language, known in words.items():
        assert set(known) == set(words["en"]), language
        assert all(known.values()), language


def test_an_empty_folder_is_one_sentence_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert app.main(["--weights", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_building_launches_nothing_and_needs_no_torch() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import app, fake_session;"
        "app.build_app(fake_session.FakeSession()); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(app.__file__).parent, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def blocks() -> Iterator[gr.Blocks]:
    blocks = app.build_app(FakeSession())
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def remote(blocks: gr.Blocks) -> Client:
    return Client(blocks.local_url, verbose=False)


FILES = {
    "/sample": {"content_seed": 3, "frames": 12, "category": 2},
    "/export": {"recipe": {"content_seed": 3, "frames": 12}, "format": "gif", "scale": 2},
    "/grid": {"contents": [1, 2, 3], "motions": [4, 5], "frames": 12},
    "/interpolate": {"what": "motion", "first": 1, "second": 2, "steps": 5, "frames": 12},
    "/swap": {"content_a": 1, "motion_a": 2, "content_b": 3, "motion_b": 4, "frames": 12},
    "/splice": {"content_seed": 1, "motion_a": 2, "motion_b": 3, "at": 5, "frames": 12},
}
SIZES = {"/export": (128, 128), "/grid": (196, 130), "/interpolate": (64, 328), "/swap": (64, 262)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_endpoint_gives_a_clip(remote: Client, name: str) -> None:
    path = remote.predict(**FILES[name], api_name=name)
    frames = read_clip(path).frames
    assert frames.shape[0] == 12
    assert frames.shape[1:3] == SIZES.get(name, (64, 64))


def test_the_other_endpoints(remote: Client) -> None:
    assert [info["name"] for info in remote.predict(api_name="/models")][0] == "mocogan-sprites"
    assert len(remote.predict({"frames": 20}, api_name="/motion_path")) == 20
    assert remote.predict({"frames": 20}, api_name="/meters")["content_drift"] > 0
    path = remote.predict(content_seed=5, format="webp", api_name="/sample")
    assert remote.predict(handle_file(path), api_name="/read_recipe")["content_seed"] == 5


def test_only_an_upload_is_deleted_once_it_is_read(
    blocks: gr.Blocks, remote: Client, service: web.Service, tmp_path: Path
) -> None:
    *_, mine = service.export(service.read({"content_seed": 6}), "gif", tmp_path)
    assert remote.predict(handle_file(mine), api_name="/read_recipe")["content_seed"] == 6
    assert blocks.upload_file_set and not any(Path(path).exists() for path in blocks.upload_file_set)
    with app.cache_folder() as folder:
        *_, shown = service.export(service.read({"content_seed": 7}), "gif", folder)
    given = {"path": str(shown), "meta": {"_type": "gradio.FileData"}}
    assert remote.predict(given, api_name="/read_recipe")["content_seed"] == 7
    assert shown.exists(), "what the app shows to all is not a visitor's to delete"
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("/sample", {"model": "nope"}, "There is no model 'nope'"),
        ("/sample", {"category": 999}, "category is 999"),
        ("/sample", {"format": "exe"}, "choose one of"),
        ("/sample", {"content_seed": "abc"}, "must be a number"),
        ("/grid", {"contents": [1] * 9, "motions": [1]}, "choose 1 to 8"),
        ("/grid", {"contents": [-1], "motions": [1]}, "choose 0 to"),
        ("/interpolate", {"what": "x", "first": 1, "second": 2}, "content or motion"),
        ("/interpolate", {"what": "content", "first": 1, "second": 2, "steps": 99}, "choose 2 to 8"),
        ("/meters", {"recipe": {"colour": 1}}, "no field 'colour'"),
        (
            "/read_recipe",
            {"file": {"path": "https://example.org/a.mp4", "meta": {"_type": "gradio.FileData"}}},
            "addresses",
        ),
    ],
)
def test_a_mistake_is_told_to_other_programs_too(
    remote: Client, name: str, values: dict, sentence: str
) -> None:
    with pytest.raises(Exception, match=sentence):
        remote.predict(**values, api_name=name)
