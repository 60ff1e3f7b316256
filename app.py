"""The app: drag a slider and watch what is in a clip and how it moves come apart.

    python app.py [--host 0.0.0.0] [--port 7860] [--weights DIR]

Layout and wiring only. What is done for a visitor stands in vidgen/web*.py; the live player,
the grid, the crop, the camera and the address bar in vidgen/assets. The page's recipe lives in the browser
(hub.js); every native control reports to it, and it sets them all when a recipe comes from elsewhere: the
address, a saved file, a cell of the grid.
"""

import argparse
import functools
import inspect
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

# Before torch comes: spinning OpenMP threads slow the live path tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

try:
    import spaces
except ImportError:  # not on a ZeroGPU Space
    spaces = None
import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from vidgen import endpoints, painter, web, web_compare, web_inspect, web_retarget
from vidgen.errors import VidgenError
from vidgen.recipe import PLAYBACKS, RANGES, Recipe

ASSETS = Path(web.__file__).parent / "assets"
WORDS = json.loads((ASSETS / "words.json").read_text(encoding="utf-8"))
i18n = gr.I18n(**WORDS)
DIRECTIONS = [f"direction_{number}" for number in range(6)]
HIDDEN = {"api_visibility": "private"}
LAUNCH = {
    "max_file_size": "25mb",
    "show_error": False,
    "run_history": False,
    "enable_monitoring": False,
    "state_session_capacity": 200,
    "max_threads": 8,
    "footer_links": ["api", "settings"],
    "app_kwargs": {"middleware": [Middleware(web.Guard)]},
}
Format = Literal["mp4", "gif", "webp", "png"]
log = logging.getLogger("vidgen.app")

if spaces:

    @spaces.GPU
    def no_gpu_needed() -> None:
        """Satisfy ZeroGPU, which refuses to start a Space without such a function; all work fits the CPU."""


def asset(name: str) -> str:
    """Read one of the page's files."""
    return (ASSETS / name).read_text(encoding="utf-8")


def told(work: Callable) -> Callable:
    """Turn a visitor's mistake into its one sentence, and any other fault into one that tells nothing."""

    @contextmanager
    def worded() -> Iterator[None]:
        try:
            yield
        except VidgenError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            log.exception("%s failed", work.__name__)
            raise gr.Error(web.FAULT, print_exception=False) from error

    @functools.wraps(work)
    def wrapped(*values: Any, **named: Any) -> Any:
        with worded():
            return work(*values, **named)

    @functools.wraps(work)
    def generated(*values: Any, **named: Any) -> Any:
        with worded():
            yield from work(*values, **named)

    return generated if inspect.isgeneratorfunction(work) else wrapped


@contextmanager
def cache_folder() -> Iterator[Path]:
    """Make a folder that Gradio serves from and clears after half an hour; remove it if the work fails."""
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def files_only(kind: type) -> type:
    """Let a component take files only: an address from an API caller would be fetched, whatever its size."""
    move = kind.async_move_resource_to_block_cache

    async def checked(self: Any, url_or_file_path: str | Path | None) -> str | None:
        if str(url_or_file_path).lower().lstrip().startswith(("http:", "https:", "ftp:")):
            raise gr.Error("Upload a file; addresses are not accepted.", print_exception=False)
        return await move(self, url_or_file_path)

    kind.async_move_resource_to_block_cache = checked
    return kind


@files_only
class UploadedClip(gr.File):
    """Take a file that was exported here."""

    is_template = True


@files_only
class Film(gr.Video):
    """Hand a video on as it is: gr.Video wants a system ffmpeg to convert and to mute."""

    is_template = True

    def preprocess(self, payload: gr.FileData | None) -> str | None:
        return payload and payload.path

    def postprocess(self, value: str | Path | None) -> gr.FileData | None:
        return value and gr.FileData(path=str(value), orig_name=Path(value).name)


def visitor_of(request: gr.Request | None) -> str:
    """Name the visitor whose budget pays: by address; on a Space, by the one that its proxy forwards."""
    if request is None or request.client is None:
        return "unknown"
    forwarded = request.headers.get("x-forwarded-for") if os.getenv("SPACE_ID") else None
    return forwarded.split(",")[0].strip() if forwarded else request.client.host


# ---- layout -----------------------------------------------------------------------------------------


def slider(name: str, value: float, step: float, **more: Any) -> gr.Slider:
    """Make one slider of the recipe, labelled in the visitor's language."""
    low, high = web.SHOWN_RANGES[name]
    settings = {"label": i18n(name), "elem_id": name, "min_width": 130, "buttons": ["reset"]}
    return gr.Slider(low, high, value, step=step, **(settings | more))


def seed_row(kind: str) -> tuple[gr.Number, gr.Button, gr.Checkbox]:
    """Lay out a seed with its dice and its lock."""
    with gr.Row(elem_classes="vg-seed"):
        low, high = RANGES[f"{kind}_seed"]
        seed = gr.Number(
            1,
            precision=0,
            minimum=low,
            maximum=high,
            label=i18n(f"{kind}_seed"),
            elem_id=f"{kind}_seed",
            scale=3,
            min_width=110,
        )
        dice = gr.Button(i18n("roll"), elem_id=f"{kind}_dice", elem_classes="vg-dice", scale=1, min_width=70)
        lock = gr.Checkbox(False, label=i18n(f"{kind}_lock"), elem_id=f"{kind}_lock", scale=2, min_width=120)
    return seed, dice, lock


def content_card(controls: dict[str, Any]) -> gr.Button:
    """Lay out what the clip shows: seed, six directions, the drag pad. Returns the dice."""
    with gr.Group(elem_classes="vg-card vg-content"):
        gr.Markdown(i18n("content"), elem_classes="vg-title")
        controls["content_seed"], dice, controls["content_lock"] = seed_row("content")
        with gr.Row(elem_classes="vg-split"):
            with gr.Column(scale=5, min_width=200, elem_classes="vg-sliders"):
                for name in DIRECTIONS:
                    controls[name] = slider("directions", 0, 0.05, label=name, elem_id=name)
            with gr.Column(scale=2, min_width=170):
                pad = asset("pad.html")
                gr.HTML(
                    html_template=pad,
                    js_on_load="window.vidgen.mountPad(element);",
                    elem_id="pad",
                    apply_default_css=False,
                )
    return dice


def motion_card(controls: dict[str, Any], axes: list[dict]) -> gr.Button:
    """Lay out how the clip moves: seed, category, strength, smoothness, speed, playback. Returns the dice."""
    with gr.Group(elem_classes="vg-card vg-motion"):
        gr.Markdown(i18n("motion"), elem_classes="vg-title")
        controls["motion_seed"], dice, controls["motion_lock"] = seed_row("motion")
        category_radios(controls, axes, "category_a", "category_b", "any")
        with gr.Row():
            controls["strength"] = slider("strength", 1, 0.05)
            controls["smoothness"] = slider("smoothness", 0, 0.05)
            controls["speed"] = slider("speed", 1, 0.05)
        names = [(i18n(name), name) for name in PLAYBACKS]
        controls["playback"] = gr.Radio(names, value="forward", label=i18n("playback"), elem_id="playback")
        with gr.Accordion(i18n("category_change"), open=False, elem_id="category_change"):
            category_radios(controls, axes, "to_a", "to_b", "no_change")
            controls["category_at"] = slider("category_at", 8, 1, label=i18n("change_at"))
    return dice


def category_radios(controls: dict[str, Any], axes: list[dict], first: str, second: str, none: str) -> None:
    """Lay out a category as one or two radios: action x direction is easier to read than their product."""
    for number, name in enumerate((first, second)):
        axis = axes[number] if number < len(axes) else {"name": "category", "values": []}
        names = [(value.replace("_", " ").capitalize(), i) for i, value in enumerate(axis["values"])]
        choices = [(i18n(none), -1), *names] if number == 0 else names
        controls[name] = gr.Radio(
            choices,
            value=-1 if number == 0 else 0,
            label=axis["name"].capitalize(),
            visible=number == 0 and bool(axes),  # the second comes when the first is chosen
            elem_id=name,
        )


def clip_card(controls: dict[str, Any], info: dict) -> None:
    """Lay out the clip's length, rate and, where the model has it, truncation."""
    with gr.Group(elem_classes="vg-card"), gr.Row():
        trained, usual = info["clip_length"], info["defaults"]
        controls["frames"] = slider("frames", usual["frames"], 1, info=f"({trained})", min_width=230)
        controls["fps"] = slider("fps", info["fps"], 1, min_width=230)
        controls["truncation"] = slider("truncation", 1, 0.05, visible=info["truncation"], min_width=300)


def save_card() -> dict[str, Any]:
    """Lay out export and its way back."""
    parts: dict[str, Any] = {}
    with gr.Accordion(i18n("save"), open=False, elem_id="save_card", elem_classes="vg-card"):
        with gr.Row():
            parts["kind"] = gr.Radio(
                list(web.KINDS), value="mp4", label=i18n("format"), elem_id="format", scale=3
            )
            scales = [(f"{scale}×", scale) for scale in web.SCALES]
            parts["scale"] = gr.Radio(scales, value=4, label=i18n("scale"), elem_id="scale", scale=2)
        with gr.Row():
            parts["save"] = gr.Button(i18n("save_clip"), variant="primary", elem_id="save")
            parts["cancel"] = gr.Button(i18n("cancel"), elem_id="cancel")
        saved = {"label": i18n("saved"), "interactive": False, "visible": False, "elem_id": "saved"}
        parts["file"] = gr.File(**saved)
        parts["upload"] = UploadedClip(
            label=i18n("restore"),
            file_types=[f".{kind}" for kind in web.KINDS],
            elem_id="restore",
            height=130,
        )
    return parts


def source_column(studio: web_retarget.Studio) -> dict[str, Any]:
    """Lay out where a clip comes from, and what is cut out of it."""
    parts: dict[str, Any] = {}
    parts["consent"] = gr.Checkbox(False, label=i18n("consent"), elem_id="consent", container=False)
    parts["video"] = Film(
        label=i18n("source_clip"),
        sources=["upload", "webcam"],
        buttons=[],
        elem_id="source_clip",
    )
    if studio.examples:
        gr.Examples(
            [[str(path)] for path in studio.examples],
            parts["video"],
            label=i18n("examples"),
            elem_id="examples",
            api_visibility="private",
        )
    script = asset("retarget.js") + "vidgen.mountCrop(element);"
    crop = {"html_template": asset("crop.html"), "js_on_load": script, "elem_id": "crop"}
    gr.HTML(**crop, apply_default_css=False)
    return parts


def result_column(studio: web_retarget.Studio, live: Callable) -> dict[str, Any]:
    """Lay out what a clip becomes: character, blend, panels, the film, the live camera."""
    parts: dict[str, Any] = {}
    names = [(info.title, name) for name, info in studio.models.items()]
    with gr.Group(elem_classes="vg-card vg-choices"):
        parts["model"] = gr.Dropdown(names, value=names[0][1], label=i18n("character"), elem_id="character")
        panels = [(i18n(f"panel_{name}"), name) for name in studio.panels(names[0][1])]
        parts["panels"] = gr.CheckboxGroup(
            panels, value=["source", "result"], label=i18n("panels"), elem_id="panels"
        )
        with gr.Accordion(i18n("more_choices"), open=False, elem_id="more_choices"):
            blend = {"info": i18n("predictor_blend_info"), "elem_id": "predictor_blend"}
            parts["blend"] = gr.Slider(
                0, 1, painter.BLEND, step=0.05, label=i18n("predictor_blend"), buttons=["reset"], **blend
            )
            longest = {"maximum": web_retarget.MAX_CONTINUE, "step": 1, "buttons": ["reset"]}
            parts["continue_frames"] = gr.Slider(
                0, **longest, label=i18n("continue_frames"), elem_id="continue"
            )
            parts["paste_back"] = gr.Checkbox(False, label=i18n("paste_back"), elem_id="paste_back")
    with gr.Row():
        parts["run"] = gr.Button(i18n("retarget_run"), variant="primary", elem_id="run_retarget", scale=3)
        parts["cancel"] = gr.Button(i18n("cancel"), elem_id="cancel_retarget", scale=1, min_width=110)
    parts["result"] = Film(
        label=i18n("result"), interactive=False, autoplay=True, loop=True, elem_id="retargeted"
    )
    report = "<p class='vg-report vg-help' aria-live='polite'></p>"
    gr.HTML(html_template=report, elem_id="report", apply_default_css=False, js_on_load="")
    with gr.Accordion(i18n("live"), open=False, elem_id="live_card", elem_classes="vg-card"):
        gr.HTML(
            html_template=asset("live.html"),
            js_on_load="window.vidgen.mountLive(element, server);",
            server_functions=[live],
            elem_id="live",
            apply_default_css=False,
        )
    return parts


def retarget_tab(studio: web_retarget.Studio, live: Callable) -> dict[str, Any]:
    """Lay out the Retarget tab; without a translator, one sentence."""
    if not studio.models:
        gr.Markdown(i18n("no_character"), elem_id="no_character")
        return {}
    gr.Markdown(i18n("retarget_help"), elem_classes="vg-lead")
    with gr.Row(elem_classes="vg-pair"):
        with gr.Column(min_width=320):
            parts = source_column(studio)
        with gr.Column(min_width=320):
            parts |= result_column(studio, live)
    parts["crop"] = gr.Textbox("auto", visible=False)
    parts["face"] = gr.Number(1, visible=False)
    parts["seen"], parts["report"] = gr.JSON(visible=False), gr.JSON(visible=False)
    return parts


def compare_tab(comparer: web_compare.Comparer, functions: list[Callable]) -> None:
    """Lay out the Compare tab: two models, blind votes, their count."""
    gr.HTML(
        html_template=asset("compare.html"),
        js_on_load=asset("compare.js"),
        server_functions=functions,
        elem_id="compare",
        apply_default_css=False,
        pair=comparer.pair,
        alike=comparer.alike,
        questions=web_compare.QUESTIONS,
        answers=("left", "same", "right"),
        most=web_compare.MOST,
        lengths=web.FRAMES,
    )


def inspect_tab(inspector: web_inspect.Inspector, inspect: Callable) -> None:
    """Lay out the Inspect tab: where motion styles act, and how alike they are."""
    gr.HTML(
        html_template=asset("inspect.html"),
        js_on_load=asset("inspect.js"),
        server_functions=[inspect],
        elem_id="inspect",
        apply_default_css=False,
        names=list(inspector.models),
        lengths=web_inspect.LENGTHS,
        legend=web_inspect.LEGEND,
    )


def about_tab(service: web.Service, studio: web_retarget.Studio) -> None:
    """Lay out each model's card, contact sheet and licence."""
    for number, info in enumerate((*service.models.values(), *studio.models.values())):
        with gr.Accordion(info.title, open=number == 0):
            sheet = Path(info.path).with_suffix(".png")
            if sheet.is_file():
                gr.Image(
                    str(sheet), label=info.title, interactive=False, buttons=["fullscreen"], show_label=False
                )
            facts = f"**{info.title}** · {info.size} px · {info.fps:g} fps"
            facts += f" · {len(info.categories)} categories" if number < len(service.models) else ""
            gr.Markdown(f"{facts} · **{info.licence}**\n\n{info.credit}")
            if info.card:
                gr.Markdown(web.card_text(info.card))


# ---- wiring -----------------------------------------------------------------------------------------


def live_functions(
    service: web.Service,
    studio: web_retarget.Studio,
    inspector: web_inspect.Inspector,
    comparer: web_compare.Comparer,
) -> list[Callable]:
    """Make the functions that the tabs call past the queue; `web.Service` guards them."""

    def preview(data: Any, request: gr.Request) -> dict:
        return service.preview(data, visitor_of(request))

    def details(data: Any, request: gr.Request) -> dict:
        return service.details(data, visitor_of(request))

    def live(data: Any, request: gr.Request) -> dict:
        return studio.live(data, visitor_of(request))

    def inspect(data: Any, request: gr.Request) -> dict:
        return inspector.view(data, visitor_of(request))

    def compare(data: Any, request: gr.Request) -> dict:
        return comparer.show(data, visitor_of(request))

    def vote(data: Any) -> dict:
        return comparer.vote(data)

    def tally(data: Any) -> dict:
        return comparer.tally(data)

    return [preview, details, live, inspect, compare, vote, tally]


def wire_controls(stage: gr.HTML, controls: dict[str, Any], dice: dict[str, gr.Button]) -> None:
    """Let every control report to the hub, and the hub set every control."""
    inputs = list(controls.values())
    report = "(...values) => { window.vidgen?.controls?.(values); }"
    changes = [control.change for control in inputs]
    gr.on(changes, fn=None, inputs=inputs, js=report, trigger_mode="multiple", **HIDDEN)
    adopt = "() => { window.vidgen.adopted = true; return window.vidgen.updates(); }"
    stage.adopt(fn=None, js=adopt, outputs=inputs, trigger_mode="multiple", **HIDDEN)
    for kinds, button in dice.items():
        names = ", ".join(f"'{kind}'" for kind in kinds.split())
        seeds = [controls[f"{kind}_seed"] for kind in kinds.split()]
        roll = f"() => window.vidgen.rolled({names})"
        button.click(fn=None, js=roll, outputs=seeds, trigger_mode="multiple", **HIDDEN)


def wire_saving(blocks: gr.Blocks, service: web.Service, parts: dict[str, Any], recipe: gr.JSON) -> None:
    """Export with progress and cancel; read a dropped file back."""

    @told
    def save(values: dict, kind: str, scale: int, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008
        with cache_folder() as folder:
            for step in service.export(service.read(values), kind, folder, scale):
                if isinstance(step, Path):
                    yield gr.File(str(step), visible=True)
                else:
                    progress(step)
                    yield gr.skip()

    @told
    def read_recipe(file: str | None) -> dict:
        """Read the recipe inside a clip that was exported here: mp4, gif, webp or png."""
        # Only what was uploaded: a caller may name any file that Gradio serves, such as a contact sheet.
        return service.read_file(file, delete=file in blocks.upload_file_set).to_dict()

    take = "(_, kind, scale) => [window.vidgen.recipe, kind, scale]"
    inputs = [recipe, parts["kind"], parts["scale"]]
    saving = parts["save"].click(save, inputs, parts["file"], js=take, concurrency_id="work", **HIDDEN)
    hand_over = """(file) => { if (!file?.url) return;
        const link = document.createElement('a');
        Object.assign(link, {href: file.url, download: file.orig_name || ''});
        document.body.append(link); link.click(); link.remove(); }"""
    saving.success(fn=None, inputs=parts["file"], js=hand_over, **HIDDEN)
    parts["cancel"].click(fn=None, cancels=[saving], **HIDDEN)
    reading = parts["upload"].upload(read_recipe, parts["upload"], recipe, api_name="read_recipe")
    adopt = "(recipe) => { window.vidgen.adopt(recipe); return null; }"
    reading.success(fn=None, inputs=recipe, outputs=parts["upload"], js=adopt, **HIDDEN)


class Uploads:
    """Tell visitors' files from the examples, which a file equal to one of them shares its path with."""

    def __init__(self, blocks: gr.Blocks, shown: gr.Video) -> None:
        self.blocks, self.shown = blocks, shown

    def __contains__(self, path: object) -> bool:
        return path in self.blocks.upload_file_set and path not in self.shown.keep_in_cache


def wire_looking(
    blocks: gr.Blocks, studio: web_retarget.Studio, parts: dict[str, Any], uploads: Uploads
) -> None:
    """Show the faces of a clip as soon as it is there and the visitor consents; forget what is replaced."""
    video, consent, seen = parts["video"], parts["consent"], parts["seen"]

    @told
    def look(source: str | None, agreed: bool, request: gr.Request) -> dict | None:
        mine = source in uploads
        studio.shelf.hold(str(request.session_hash), source if mine else None)
        if not source:
            return None
        return {"ask": True} if mine and not agreed else studio.look(source)

    def leave(request: gr.Request) -> None:
        studio.shelf.hold(str(request.session_hash), None)

    # Chrome's recordings come by `change`; `input` fires while they are not there yet.
    changes = [video.change, consent.change]
    looking = gr.on(changes, look, [video, consent], seen, trigger_mode="always_last", **HIDDEN)
    looking.success(fn=None, inputs=seen, js="(seen) => window.vidgen.retarget.show(seen)", **HIDDEN)
    looking.failure(fn=None, outputs=video, js="() => null", **HIDDEN)  # and so it is deleted
    blocks.unload(leave)


def wire_retargeting(studio: web_retarget.Studio, parts: dict[str, Any], uploads: Uploads) -> None:
    """Retarget with progress and cancel, for the page and, as an endpoint, for other programs."""
    outputs = [parts["result"], parts["report"]]
    retarget = endpoints.retargeting(studio, uploads)

    def work(*values: Any, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008
        for step in retarget(*values)(cache_folder):
            if isinstance(step, web_retarget.Done):
                yield str(step.path), asdict(step.report)
            else:
                progress(step)
                yield gr.skip(), gr.skip()

    def once(video: str | None, *more: Any, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008
        try:
            yield from work(video, *more, progress=progress)
        finally:
            if video in uploads:
                web_retarget.delete(video)

    named = inspect.signature(retarget)
    last = inspect.signature(work).parameters["progress"]
    for function in (work, once):
        function.__signature__ = named.replace(parameters=[*named.parameters.values(), last])
    take = "(...values) => window.vidgen.retarget.take(values)"  # the page's own parts say what is cut out
    how = {"outputs": outputs, "concurrency_id": "work"}
    inputs = [parts[name] for name in named.parameters]
    running = parts["run"].click(told(work), inputs, js=take, **how, **HIDDEN)
    tell = "(report) => window.vidgen.retarget.report(document.querySelector('#report'), report)"
    running.success(fn=None, inputs=parts["report"], js=tell, **HIDDEN)
    parts["cancel"].click(fn=None, cancels=[running], **HIDDEN)
    # Other programs have their own inputs: the page's would refuse a choice before the upload can be deleted.
    kinds = {"video": Film, "face": gr.Number, "blend": gr.Number, "continue_frames": gr.Number}
    kinds |= {"panels": gr.JSON, "paste_back": gr.Checkbox, "consent": gr.Checkbox}
    asked = []
    for name, parameter in named.parameters.items():
        value = {"video": None, "model": next(iter(studio.models))}.get(name, parameter.default)
        value = list(value) if isinstance(value, tuple) else value
        asked.append(kinds.get(name, gr.Textbox)(value, visible=False, label=name))
    gr.Button(visible=False).click(
        told(once), asked, api_name="retarget", api_description=inspect.getdoc(retarget), **how
    )


def wire_choices(studio: web_retarget.Studio, parts: dict[str, Any]) -> None:
    """Keep the camera told of the character, and the panels to those that it has."""
    told_live = [parts["model"], parts["blend"], parts["consent"]]
    tell = "(model, blend, consent) => { Object.assign(window.vidgen.retarget, { model, blend, consent }); }"
    gr.on([one.change for one in told_live], fn=None, inputs=told_live, js=tell, **HIDDEN)

    def offered(model: str, chosen: list[str]) -> gr.CheckboxGroup:
        names = studio.panels(model)
        choices = [(i18n(f"panel_{name}"), name) for name in names]
        return gr.CheckboxGroup(choices, value=[name for name in chosen if name in names])

    alone = """(whole) => (
        { __type__: 'update', value: whole ? ['result'] : ['source', 'result'], interactive: !whole })"""
    whole, panels = parts["paste_back"], parts["panels"]
    whole.change(fn=None, inputs=whole, outputs=panels, js=alone, **HIDDEN)
    both = [parts["model"], panels]
    parts["model"].change(offered, both, panels, queue=False, **HIDDEN)


def wire_retarget(blocks: gr.Blocks, studio: web_retarget.Studio, parts: dict[str, Any]) -> None:
    """Wire the Retarget tab, unless there is nothing in it."""
    if parts:
        uploads = Uploads(blocks, parts["video"])
        wire_looking(blocks, studio, parts, uploads)
        wire_retargeting(studio, parts, uploads)
        wire_choices(studio, parts)


def published(endpoint: Callable) -> Callable:
    """Let an endpoint of `vidgen.endpoints` write its film where Gradio serves it from."""

    @functools.wraps(endpoint)
    def answer(*values: Any, **named: Any) -> gr.FileData:
        film = endpoint(*values, **named)
        with cache_folder() as folder:
            *_, path = film(folder)
            return gr.FileData(path=str(path), orig_name=path.name)

    answer.__signature__ = inspect.signature(endpoint).replace(return_annotation=gr.FileData)
    return told(answer)


def with_matrix(endpoint: Callable) -> Callable:
    """Let `endpoints.inspecting` write its film where Gradio serves it from; its matrix goes along."""

    @functools.wraps(endpoint)
    def answer(*values: Any, **named: Any) -> tuple:
        work = endpoint(*values, **named)
        with cache_folder() as folder:
            path, matrix = work(folder)
            return gr.FileData(path=str(path), orig_name=path.name), matrix

    both = tuple[gr.FileData, list[list[float]]]
    answer.__signature__ = inspect.signature(endpoint).replace(return_annotation=both)
    return told(answer)


def wire_endpoints(
    service: web.Service,
    studio: web_retarget.Studio,
    inspector: web_inspect.Inspector,
    comparer: web_compare.Comparer,
) -> None:
    """Publish what the tabs do under names, with typed and documented arguments."""
    films = endpoints.films(service) + ([endpoints.comparing(comparer)] if comparer.pair else [])
    for endpoint in films:
        gr.api(published(endpoint), concurrency_id="work", api_description=inspect.getdoc(endpoint))
    if inspector.models:
        endpoint = endpoints.inspecting(inspector)
        gr.api(with_matrix(endpoint), concurrency_id="work", api_description=inspect.getdoc(endpoint))
    for endpoint in endpoints.numbers(service, studio):
        gr.api(told(endpoint), api_description=inspect.getdoc(endpoint))


def build_app(session: Any) -> gr.Blocks:
    """Build the page over a Session (or anything with its methods), without launching it."""
    service = web.Service(session)
    studio, inspector = web_retarget.Studio(service), web_inspect.Inspector(service)
    comparer = web_compare.Comparer(service)
    if not service.models:
        raise VidgenError(
            "There are no weights to show: the folder holds no .safetensors file; see --weights."
        )
    models = [web.describe(info) for info in service.models.values()]
    first = models[0]
    controls: dict[str, Any] = {}
    props = {"models": models, "words": WORDS, "ranges": web.SHOWN_RANGES, "plain": Recipe().to_dict()}
    live = live_functions(service, studio, inspector, comparer)
    with gr.Blocks(title="vidgen", analytics_enabled=False, delete_cache=(600, 1800)) as app:
        gr.Markdown("# vidgen", elem_id="headline")
        gr.Markdown(i18n("tagline"), elem_id="tagline")
        recipe = gr.JSON(visible=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(i18n("generate"), id="generate"), gr.Row(elem_classes="vg-page"):
                with gr.Column(scale=4, min_width=300, elem_classes="vg-left"):
                    names = [*CONTROLS]
                    script = asset("hub.js") + asset("player.js")
                    script += "vidgen.mountStage(element, props, server, trigger);"
                    stage = gr.HTML(
                        html_template=asset("stage.html"),
                        js_on_load=script,
                        server_functions=live[:2],
                        elem_id="stage",
                        apply_default_css=False,
                        names=names,
                        **props,
                    )
                with gr.Column(scale=6, min_width=320, elem_classes="vg-right"):
                    with gr.Row(elem_classes="vg-top"):
                        titles = [(info["title"], info["name"]) for info in models]
                        controls["model"] = gr.Dropdown(
                            titles, value=first["name"], label=i18n("model"), elem_id="model", scale=3
                        )
                        both = gr.Button(i18n("surprise"), variant="primary", elem_id="both_dice", scale=1)
                    content_dice = content_card(controls)
                    motion_dice = motion_card(controls, first["axes"])
                    clip_card(controls, first)
                    parts = save_card()
            with gr.Tab(i18n("swap"), id="swap"):
                board = gr.HTML(
                    html_template=asset("board.html"),
                    js_on_load=asset("swap.js"),
                    server_functions=live[:1],
                    elem_id="board",
                    apply_default_css=False,
                )
            with gr.Tab(i18n("retarget"), id="retarget"):
                retargeting = retarget_tab(studio, live[2])
            if comparer.pair:
                with gr.Tab(i18n("compare"), id="compare"):
                    compare_tab(comparer, live[4:])
            if inspector.models:
                with gr.Tab(i18n("inspect"), id="inspect"):
                    inspect_tab(inspector, live[3])
            with gr.Tab(i18n("about"), id="about"):
                about_tab(service, studio)
        ordered = {name: controls[name] for name in CONTROLS}
        dice = {"content": content_dice, "motion": motion_dice, "content motion": both}
        wire_controls(stage, ordered, dice)
        wire_saving(app, service, parts, recipe)
        wire_retarget(app, studio, retargeting)
        wire_endpoints(service, studio, inspector, comparer)
        turn = "() => ({ __type__: 'update', selected: 'generate' })"
        board.promote(fn=None, js=turn, outputs=tabs, **HIDDEN)
    return app.queue(default_concurrency_limit=1, max_size=16, api_open=False)


CONTROLS = (
    ["model", "content_seed", "content_lock", *DIRECTIONS, "motion_seed", "motion_lock"]
    + [
        "category_a",
        "category_b",
        "strength",
        "smoothness",
        "speed",
        "playback",
        "to_a",
        "to_b",
        "category_at",
    ]
    + ["frames", "fps", "truncation"]
)


def theme() -> gr.themes.Base:
    """Give the look: the visitor's own fonts (none is fetched), teal for content, neutral slate."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    mono = ["ui-monospace", "Consolas", "monospace"]
    look = gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=fonts, font_mono=mono)
    # The hue's usual step, 500, gives white text 2.5:1; 700 gives 5.5:1.
    return look.set(
        color_accent="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_600",
        checkbox_background_color_selected="*primary_700",
        checkbox_border_color_selected="*primary_700",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
    )


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve the app.", allow_abbrev=False)
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860 on)")
    parser.add_argument("--weights", type=Path, default=web.WEIGHTS, help="folder of .safetensors files")
    return parser.parse_args(argv)


def serve(blocks: gr.Blocks, host: str | None = None, port: int | None = None) -> None:
    """Start serving in a thread; `blocks.local_url` is the address then."""
    style = {"theme": theme(), "css": asset("style.css"), "i18n": i18n}
    try:
        blocks.launch(server_name=host, server_port=port, prevent_thread_lock=True, **style, **LAUNCH)
    except ValueError:
        # Gradio's check of its own address waits three seconds; on a loaded machine the server is only late.
        if not blocks.is_running:
            raise


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the app until interrupted; exit code 2 after a mistake on the command line."""
    chosen = options(argv)
    session = web.LateSession(chosen.weights)
    try:
        blocks = build_app(session)
        serve(blocks, chosen.host, chosen.port)
    except (VidgenError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    first = Recipe.from_dict(web.defaults(web.models(session)[0]))
    threading.Thread(target=session.warm, args=(first,), daemon=True).start()
    blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
