"""The command line: python -m vidgen models | sample | grid | inspect | retarget | eval | bench.

    python -m vidgen models
    python -m vidgen sample --model mocogan-sprites --content-seed 3 --motion-seed 5 --out walk.mp4
    python -m vidgen sample --recipe walk.mp4 --speed 0.5 --out slow.gif
    python -m vidgen grid --model mocogan-sprites --contents 1 2 3 --motions 4 5 6 --out grid.mp4
    python -m vidgen inspect --model NAME --motion-seed 5 --out styles.mp4
    python -m vidgen retarget --model NAME --input me.mp4 --out character.mp4 --panels source,result
    python -m vidgen eval --model mocogan-shapes --data shapes --json shapes.json
    python -m vidgen bench

A mistake is told in one sentence on the standard error, with exit code 2, and no file is left behind.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from vidgen.errors import VidgenError
from vidgen.heat import labelled, with_overlays
from vidgen.painter import BLEND
from vidgen.recipe import Recipe
from vidgen.video_io import check_output, check_suffix, read_recipe, tile, write_clip

if TYPE_CHECKING:
    from vidgen.session import ModelInfo, Session

MAX_GRID_BYTES = 2**31  # of frames in memory at once
MAX_JSON_BYTES = 2**20
MAX_THREADS = 256


class Parser(argparse.ArgumentParser):
    """Parse without abbreviations; a mistake is a VidgenError instead of a page of usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise VidgenError(f"{message[0].upper()}{message[1:]}; see {self.prog} --help.")


def number(text: str) -> float:
    """Parse a finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def optional_int(text: str) -> int | None:
    """Parse a whole number, or `none`."""
    return None if text.lower() == "none" else int(text)


@dataclass(frozen=True)
class Option:
    """How one field of a recipe is given on the command line."""

    field: str
    kind: Callable[[str], Any]
    help: str
    count: int | str | None = None
    choices: tuple[str, ...] | None = None

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        shown = None if self.choices else self.field.split("_")[-1].upper()
        flag = "--" + self.field.replace("_", "-")
        # What is not given stays out of the namespace, so a recipe file keeps its own values.
        parser.add_argument(
            flag,
            type=self.kind,
            help=self.help,
            nargs=self.count,
            choices=self.choices,
            metavar=shown,
            default=argparse.SUPPRESS,
        )


SEEDS = (
    Option("content_seed", int, "who or what is seen: 0 to 2147483647"),
    Option("motion_seed", int, "how it moves: 0 to 2147483647"),
)
OPTIONS = (
    Option("model", str, "a name from `models`, or the path of a .safetensors file"),
    Option("content_to", optional_int, "a second content seed, to blend with (or none)"),
    Option("content_mix", number, "how far to blend towards it: 0 to 1"),
    Option("motion_to", optional_int, "a second motion seed, to blend with (or none)"),
    Option("motion_mix", number, "how far to blend towards it: 0 to 1"),
    Option("splice_seed", optional_int, "the motion goes on with this seed (or none) ..."),
    Option("splice_at", int, "... from this frame on"),
    Option("directions", number, "up to six steps along the content directions: -3 to 3 each", "+"),
    Option("pad", number, "two steps on the content plane: -3 to 3 each", 2),
    Option("strength", number, "how much motion: 0 (still) to 2"),
    Option("smoothness", number, "how much the motion is smoothed: 0 to 1"),
    Option("speed", number, "how fast the motion passes: 0.1 to 4"),
    Option("playback", str, "the order of the frames", None, ("forward", "reverse", "loop", "freeze")),
    Option("category", str, "the index or the name of a category, or none to draw it"),
    Option("category_to", str, "another category (or none) ..."),
    Option("category_at", int, "... from this frame on"),
    Option("frames", int, "how many frames: 1 to 1024"),
    Option("fps", number, "frames per second: 1 to 60"),
    Option("truncation", number, "how near the contents stay to the average, for models that have it"),
)


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser and, by name, those of its commands."""
    parser = Parser(prog="python -m vidgen", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="models | sample | grid | inspect | retarget | eval | bench"
    )
    models = commands.add_parser("models", help="list the models")
    sample = commands.add_parser("sample", help="make one clip")
    grid = commands.add_parser("grid", help="make a film of contents (rows) x motions (columns)")
    inspect = commands.add_parser("inspect", help="show where each motion style acts, and how alike they are")
    retarget = commands.add_parser("retarget", help="turn the face in a video into a character's")
    evaluate = commands.add_parser("eval", help="measure a model against real clips")
    bench = commands.add_parser("bench", help="measure the speed of rendering against the plain network")
    known = {"models": models, "sample": sample, "grid": grid, "inspect": inspect, "retarget": retarget}
    known |= {"eval": evaluate, "bench": bench}
    runs = (run_models, run_sample, run_grid, run_inspect, run_retarget, run_eval, run_bench)
    for command, run in zip(known.values(), runs, strict=True):
        command.set_defaults(run=run)
    add_retarget_options(retarget)
    add_eval_options(evaluate)
    for command in (models, inspect, bench):
        command.add_argument("--json", action="store_true", help="print JSON")
    bench.add_argument("--model", default=Recipe().model, help=OPTIONS[0].help)
    bench.add_argument("--threads", type=int, default=1, help="processor threads for both ways (default: 1)")
    grid.add_argument("--contents", type=int, nargs="+", required=True, metavar="SEED", help="content seeds")
    grid.add_argument("--motions", type=int, nargs="+", required=True, metavar="SEED", help="motion seeds")
    for command, options in ((sample, SEEDS + OPTIONS), (grid, OPTIONS), (inspect, SEEDS + OPTIONS)):
        for option in options:
            option.add_to(command)
        command.add_argument(
            "--recipe", metavar="FILE", help="start from the recipe in an exported clip or .json"
        )
        command.add_argument(
            "--out", required=True, metavar="FILE", help="an .mp4, .gif, .webp or .png (strip)"
        )
    return parser, known


def add_retarget_options(parser: Parser) -> None:
    """Add the options of retarget."""
    parser.add_argument("--model", required=True, help="a translator's name from `models`, or its path")
    parser.add_argument("--input", required=True, metavar="FILE", help="a video of a face")
    parser.add_argument("--out", required=True, metavar="FILE", help="an .mp4 or .webm")
    parser.add_argument(
        "--crop",
        default="auto",
        help="auto follows a face (the default), none takes the middle square, x,y,w,h a box in pixels",
    )
    parser.add_argument("--face", type=int, default=1, metavar="N", help="which face, 1 the largest")
    parser.add_argument(
        "--blend", type=number, default=BLEND, help=f"weight of the predictor's frames: 0 to 1 ({BLEND})"
    )
    parser.add_argument("--paste-back", action="store_true", help="put the result into the whole picture")
    parser.add_argument(
        "--continue",
        dest="continue_frames",
        type=int,
        default=0,
        metavar="FRAMES",
        help="frames that the predictor adds beyond the end",
    )
    parser.add_argument(
        "--panels", default="result", help="side by side: some of source,result,cycle,residual"
    )


def add_eval_options(parser: Parser) -> None:
    """Add the options of eval."""
    parser.add_argument("--model", required=True, help=OPTIONS[0].help)
    parser.add_argument(
        "--data",
        required=True,
        help="real clips: shapes, a pack, a folder of clips, or a clone of the sprites",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="some of fvd acd mcs swap diversity memorisation meters, of translators motion flicker cycle",
    )
    parser.add_argument(
        "--i3d", metavar="FILE", type=Path, help="the I3D detector, TorchScript: FVD as published"
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", metavar="FRAMES", help="of clips for --i3d (16 128)"
    )
    parser.add_argument("--judge", metavar="FILE", type=Path, help="a judge of train.probes, if none ships")
    parser.add_argument("--samples", type=int, help="clips of each of 3 seeds (2048; of a translator 24)")
    parser.add_argument("--seed", type=int, default=0, help="the first of 3 (0)")
    parser.add_argument(
        "--split",
        choices=("test", "train"),
        default="test",
        help="real clips (test; train for published FVD)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures")
    parser.add_argument("--against", metavar="FILE", type=Path, help="an earlier --json, to compare with")
    parser.add_argument("--sheet", metavar="FILE", type=Path, help="a .png of the nearest training clips")
    parser.add_argument("--cache", metavar="FOLDER", type=Path, help="for packs and statistics of real clips")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--threads", type=int, help="processor threads (default: as torch chooses)")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; an unknown option is a VidgenError with the nearest name."""
    parser, commands = build_parser()
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].split("=")[0]
        known = [flag for flag in commands[options.command]._option_string_actions if flag.startswith("--")]
        near = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"see {commands[options.command].prog} --help."
        raise VidgenError(f"There is no option {word} for {options.command}: {hint}")
    return options


def open_session(device: str = "cpu", threads: int | None = None) -> Session:
    """Open the shipped models."""
    from vidgen.session import Session  # it brings torch, which takes longer than reading a wrong option

    return Session(device=device, threads=threads)


def run_models(options: argparse.Namespace) -> None:
    """Print the models as a table or as JSON."""
    models = open_session().models()
    if options.json:
        records = [asdict(model) for model in models]
        sys.stdout.write(json.dumps(records, indent=2, default=str) + "\n")
        return
    rows = [("name", "family", "size", "categories", "licence", "path")]
    rows += [
        (m.name, m.family, str(m.size), ", ".join(m.categories) or "-", m.licence, str(m.path))
        for m in models
    ]
    widths = [min(40, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def run_sample(options: argparse.Namespace) -> None:
    """Write one clip."""
    check_output(check_suffix(options.out))
    session = open_session()
    recipe = chosen_recipe(session, options)
    frames = chain.from_iterable(session.stream(recipe))
    write_clip(options.out, frames, recipe.fps, recipe.to_dict())


def run_grid(options: argparse.Namespace) -> None:
    """Write contents x motions as one film; the recipe in it is that of the first cell."""
    check_output(check_suffix(options.out))
    session = open_session()
    first = {"content_seed": options.contents[0], "motion_seed": options.motions[0]}
    recipe = chosen_recipe(session, options, first)
    for content in options.contents:
        recipe.replace(content_seed=content)  # a seed out of range is told before anything is rendered
    for motion in options.motions:
        recipe.replace(motion_seed=motion)
    size = session.info(recipe.model).size
    cells = len(options.contents) * len(options.motions)
    if cells * recipe.frames * size * size * 3 > MAX_GRID_BYTES:
        raise VidgenError(
            f"{cells} cells of {recipe.frames} frames are over the {MAX_GRID_BYTES / 2**30:g} GiB that a "
            "grid may take: ask for fewer cells or frames."
        )
    rows = []
    for row in session.grid(recipe, options.contents, options.motions):
        rows.append(row)
        _progress(len(rows), len(options.contents))
    write_clip(options.out, tile(np.stack(rows)), recipe.fps, recipe.to_dict())


def run_inspect(options: argparse.Namespace) -> None:
    """Write a clip with, beside it, where each motion style acts; print the cosines of the styles."""
    check_output(check_suffix(options.out))
    session = open_session()
    recipe = chosen_recipe(session, options)
    found = session.inspect(recipe)
    names = [str(style + 1) for style in range(len(found.cosine))]
    film = labelled(with_overlays(found.clip, found.heat), ["clip", *names])
    write_clip(options.out, film, recipe.fps, recipe.to_dict())
    if options.json:
        record = {"model": recipe.model, "frames": recipe.frames, "cosine": found.cosine.tolist()}
        sys.stdout.write(json.dumps(record, indent=2) + "\n")
        return
    sys.stdout.write("cosines of the motion styles, mean over the frames\n")
    for name, row in (("", names), *zip(names, found.cosine, strict=True)):
        cells = (one if isinstance(one, str) else f"{one:.2f}" for one in row)
        sys.stdout.write(f"{name:>4}" + "".join(f"{cell:>7}" for cell in cells) + "\n")


def run_retarget(options: argparse.Namespace) -> None:
    """Write a retargeted video and tell what was written."""
    from vidgen.retarget import RetargetOptions, read_crop, retarget

    chosen = RetargetOptions(
        crop=read_crop(options.crop),
        face=options.face - 1,
        blend=options.blend,
        paste_back=options.paste_back,
        panels=tuple(options.panels.split(",")),
        continue_frames=options.continue_frames,
    )
    check_output(options.out)
    translator = open_session().translator(options.model)
    report = retarget(translator, options.input, options.out, chosen, _progress_of_frames)
    sound = "with its sound" if report.sound else "without sound"
    sys.stdout.write(
        f"{options.out}: {report.frames} frames at {report.fps:.4g} a second, {sound}; "
        f"made at {report.frames_per_second:.1f} frames a second, face out of sight in {report.misses}\n"
    )


def run_eval(options: argparse.Namespace) -> None:
    """Print what was measured of a model, as a table."""
    from tqdm import tqdm

    from vidgen.evaluation.command import Options, run
    from vidgen.evaluation.statistics import user_cache

    check_threads(options.threads)
    given = {name: value for name, value in vars(options).items() if name in Options.__dataclass_fields__}
    chosen = Options(**given, folder=options.cache or user_cache())
    session = open_session(options.device, options.threads)
    sys.stdout.write(run(session, chosen, lambda total: tqdm(total=total, unit="clip", disable=None)))


def run_bench(options: argparse.Namespace) -> None:
    """Print what `vidgen.bench.measure` finds, as a list or as JSON."""
    from vidgen.bench import measure

    check_threads(options.threads)
    result = measure(open_session().info(options.model), threads=options.threads)
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    for name, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        sys.stdout.write(f"{name.replace('_', ' '):32} {shown}\n")


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no machine has."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise VidgenError(f"There cannot be {threads} threads: choose 1 to {MAX_THREADS}.")


def chosen_recipe(session: Session, options: argparse.Namespace, more: dict | None = None) -> Recipe:
    """Return the recipe that the options describe, checked against its model.

    The recipe file, if any, comes first, then the options that were given. Without a file the clip has the
    length and the rate that suit the model.
    """
    fields = {option.field for option in SEEDS + OPTIONS}
    given = {name: value for name, value in vars(options).items() if name in fields}
    recipe = load_recipe(options.recipe) if options.recipe else Recipe()
    info = session.info(given.get("model", recipe.model))
    if not options.recipe:
        recipe = recipe.replace(frames=info.default_frames, fps=info.fps)
    for field in ("category", "category_to"):
        if field in given:
            given[field] = category_index(given[field], info)
    if "directions" in given:
        given["directions"] = _six(given["directions"])
    return session.check(recipe.replace(**given, **(more or {})))


def load_recipe(path: str) -> Recipe:
    """Read a recipe from a .json file or from a clip that was exported with one."""
    if Path(path).suffix.lower() != ".json":
        return Recipe.from_dict(read_recipe(path), clamp=False)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise VidgenError(f"{path} cannot be read as a recipe ({reason}).") from error
    return Recipe.from_json(text, clamp=False)


def category_index(text: str, info: ModelInfo) -> int | None:
    """Return the index of a category given by index or name, in any case of letters; None for `none`."""
    if text.lower() == "none":
        return None
    names = [name.lower() for name in info.categories]
    if text.lower() in names:
        return names.index(text.lower())
    if re.fullmatch("[0-9]{1,6}", text) and int(text) < len(names):
        return int(text)
    if not names:
        raise VidgenError(f"{info.name} has no categories: leave the option out.")
    near = difflib.get_close_matches(text.lower(), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(info.categories)}."
    raise VidgenError(
        f"{info.name} has {len(names)} categories, 0 to {len(names) - 1}, and none is {text!r}: {hint}"
    )


def _six(directions: list[float]) -> list[float]:
    if len(directions) > 6:
        raise VidgenError(f"There are six content directions, but {len(directions)} numbers were given.")
    return directions + [0.0] * (6 - len(directions))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rrow {done} of {total}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def _progress_of_frames(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of = f" of {total}" if total else ""
        sys.stderr.write(f"\rframe {done}{of}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for the user's mistake, 130 if interrupted."""
    try:
        options = parse(argv)
        options.run(options)
    except VidgenError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 2
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
