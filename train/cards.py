"""Model cards, contact sheets and the README's table of weights, from measured figures."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from train import common, mocogan, mostganv
from vidgen._clips.files import replacing, reported
from vidgen.catalogue import TRANSLATORS, ModelInfo, read_header
from vidgen.errors import VidgenError
from vidgen.evaluation.readers import Reader
from vidgen.evaluation.report import meanings_of, pattern_of, with_spread
from vidgen.recipe import Recipe
from vidgen.session import Session
from vidgen.video_io import filmstrip

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights"
MARKS = ("<!-- weights: begin -->", "<!-- weights: end -->")
# data set: (what --data is, how to get it) to train with again
OBTAIN = {
    "shapes": ("shapes", "The shapes are drawn as training goes."),
    "sprites": (
        "CLONE",
        "CLONE is a clone of the public repository `jrconway3/Universal-LPC-spritesheet`.",
    ),
    "actions": (
        "actions.pack",
        "`actions.pack` is made of STRIPS, the folder of the MoCoGAN authors' action strips, by\n\n```bash\n"
        "python -m train.prepare STRIPS --out actions.pack --min-frames 32 --group every:8 --tests 2,7 "
        '--fps 25 --names "one-hand wave,two-hand wave,jumping jack,bend"\n```',
    ),
    "clouds": (
        "clouds.pack",
        "`clouds.pack` is made of FRAMES, a folder of pictures of the satellite GOES-19 (GeoColor, upper "
        "Midwest and Great Lakes, 4 September 2025, one every 5 minutes), by\n\n```bash\n"
        "python -m train.prepare FRAMES --out clouds.pack --windows 128 --test-share 0.2\n```",
    ),
    "heads": (
        "heads.pack",
        "`heads.pack`, 378 clips of 40 frames to train on, each of another face, is drawn by\n\n```bash\n"
        "python -m train.prepare avatars:random --out heads.pack --min-frames 40 --count 420\n```",
    ),
    "troupe": (
        "troupe.pack",
        "`troupe.pack`, two clips of 40 frames of each of 810 faces to train on, is drawn by\n\n```bash\n"
        "python -m train.prepare avatars:random --out troupe.pack --min-frames 40 --count 900 "
        "--performances 2\n```",
    ),
}
TRAINERS = {"mocogan": mocogan, "mostganv": mostganv}
SHEET_CONTENTS, SHEET_MOTIONS, SHEET_FRAMES = 5, 3, 8
GAP = 4  # px between filmstrips

# Figures of a card and their heads in the README.
CLIP_FIGURES = {
    "MCS": "MCS",
    "ACD (colour)": "ACD (colour)",
    "ACD (content)": "ACD (content)",
    "Swap error of content": "swap error: content",
    "Swap error of motion": "swap error: motion",
}
TRANSLATION_FIGURES = {
    "Head, sideways": "follows the head sideways",
    "Head, up and down": "up and down",
    "Mouth": "mouth",
    "Flicker": "flicker",
}
# data set: (what it is and its split, limits and misuse)
DATA = {
    "sprites": (
        "Characters drawn from the layers of the Universal LPC sprite sheets (body, eyes, hair, clothes), in "
        "five actions and four directions; a clip runs through an action's cycle from a random phase at one "
        "of three speeds. 1,500 characters to train on; one combination of layers in ten is held out, by its "
        "hash, and no training sees it.",
        "Cartoon characters of one style at 64 px, seen from four sides, one at a time on a flat background. "
        "It knows the clothes of its data and nothing else: no text, no scenes, no real people. Long clips "
        "repeat their action; hair and clothes can blur or change on rare combinations. Pictures made with "
        "it are adaptations of the LPC art: share them under CC BY-SA 3.0 with the credit.",
    ),
    "shapes": (
        "Discs and squares of random size and colour on black that cross the frame along random curves, "
        "drawn by `vidgen/data/shapes.py` after the description in the MoCoGAN paper. Training and test "
        "clips come from separate seeds.",
        "A toy, for measuring: one plain shape on black. It is of no other use, and of no harmful one that "
        "we know.",
    ),
    "actions": (
        "Weizmann actions, the strips of the MoCoGAN authors: 9 people, four actions, each with its mirror "
        "image. Persons 2 and 7 (16 clips) are held out.",
        "**Research only.** Seven people of a data set of 2005, at 64 px: it draws nobody else, and must not "
        "be used to show one of them doing what they did not do. So few people cannot teach it what people "
        "look like: contents between two of them are blends, and the background comes along.",
    ),
    "clouds": (
        "Four hours of clouds over the upper Midwest and the Great Lakes, seen from the satellite GOES-19: "
        "48 pictures, five minutes apart, cut into windows of 128 px shown at 64 px, half of them mirrored. "
        "The lowest fifth of the picture is held out, and no training window reaches into it.",
        "One day over one region: no storm, no night, no other sky. It is a picture of how clouds look, not "
        "a forecast or a measurement of any weather. The ground drifts along with its clouds, and a sky is "
        "a torus of 96 px: what leaves it on one side comes back on the other, changed. Where another "
        "motion is spliced in, the sky jumps. Within a clip, a sky's colours, cover and grain change "
        "less than real ones do.",
    ),
    "heads": (
        "Talking heads drawn by `train/data/avatars.py`: face shape, skin, hair, eyes, clothes and "
        "background of each face at random; they turn, look about, blink, speak and change their "
        "expression. One face in ten is held out.",
        "Cartoon heads that our own generator draws, and nobody who lives: it can show no real person. "
        "The motion code turns and tilts heads; mouths and eyes follow it hardly more than by chance, and "
        "glasses come and go. The two eyes of a face may differ, and outlines may glow.",
    ),
}


@dataclass(frozen=True)
class Figures:
    """What was measured, one value per repetition; marks: the same of real clips, where there are any, by
    split.
    """

    values: dict[str, list[float]]
    marks: dict[str, dict[str, list[float]]]
    samples: int
    seed: int
    data: str | None

    def text(self, name: str) -> str:
        """Format a figure as mean ± standard deviation over the repetitions."""
        if len(self.values[name]) < 2 or not np.isfinite(self.values[name]).all():
            return "none: its clips do not differ"
        return with_spread(pattern_of(name), self.values[name])

    def real_text(self, name: str, split: str = "test") -> str:
        """Format the same of real clips of a split."""
        found = self.marks[split]
        return with_spread(pattern_of(name), found[name]) if name in found else ""

    def command(self, path: Path) -> str:
        """Give the command that measured; of the data only the folder's name."""
        data = f" --data {Path(self.data).name}" if self.data and self.data != "shapes" else ""
        options = f"{data} --samples {self.samples} --seed {self.seed}"
        return f"python -m train.evaluate --model weights/{path.name}{options}"


def write_card(session: Session, path: Path, kind: str, reader: Reader | None, figures: Figures) -> None:
    """Write the contact sheet and the card beside the weights file."""
    info, about = session.info(str(path)), read_header(path)["about"]
    write_whole(path.with_suffix(".png"), contact_sheet(session, path))
    sections = [
        f"# {path.stem}\n\n![Filmstrips: a row has one content, a column one motion]({path.stem}.png)",
        _what(info, about),
        _data(kind, info),
        _training(about.get("card", {})),
        _figures(path, reader, figures),
        f"## Limits and misuse\n\n{DATA.get(kind, ('', 'Not known: see its data.'))[1]}",
        file_section(path),
    ]
    write_whole(path.with_suffix(".md"), ("\n\n".join(sections) + "\n").encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; VidgenError where that fails."""
    with replacing(path) as part, reported(path):
        part.write_bytes(data)


def contact_sheet(session: Session, path: Path) -> bytes:
    """Draw rows of contents and columns of motions as filmstrips: the bytes of a PNG."""
    info = session.info(str(path))
    recipe = Recipe(model=str(path), frames=info.clip_length, fps=info.fps)
    rows = []
    for row in session.grid(recipe, range(1, 1 + SHEET_CONTENTS), range(101, 101 + SHEET_MOTIONS)):
        strips = [np.pad(filmstrip(clip, SHEET_FRAMES), _PAD, constant_values=255) for clip in row]
        rows.append(np.concatenate(strips, axis=1))
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows)[GAP:, GAP:]).save(out, "PNG", optimize=True)
    return out.getvalue()


_PAD = ((GAP, 0), (GAP, 0), (0, 0))


def _what(info: ModelInfo, about: dict[str, Any]) -> str:
    count = about.get("card", {}).get("parameters")
    parts = [
        f"{info.title}: {info.size} px, {info.fps:g} frames a second, trained on clips of {info.clip_length} "
        f"frames"
    ]
    parts.append(f", {count:,} parameters in half precision." if count else ".")
    named = ", ".join(info.categories)
    return "".join(parts) + (f" Categories: {named}." if named else "")


def _data(kind: str, info: ModelInfo) -> str:
    about = DATA.get(kind, (f"{kind}.", ""))[0]
    credit = f"\n\n**Credit**: {info.credit}" if info.credit else ""
    return f"## Data and licence\n\n**Data**: {about}\n\n**Licence of the weights**: {info.licence}.{credit}"


def _training(card: dict[str, Any]) -> str:
    if not card:
        return "## Training\n\nThe file does not say how it was trained."
    return f"## Training\n\n{stages(card, _stage)}\n\n{_obtain(card)[1]}"


def stages(card: dict[str, Any], worded: Callable[[dict[str, Any]], str]) -> str:
    """Word a training and those before it, each of which began with the weights of the one before."""
    if not (before := card.get("before")):
        return worded(card)
    file = f"`{before['file']}` (sha256 `{before['sha256'][:16]}`)"
    if not before["card"]:
        return f"Began with {file}, which does not say how it was trained.\n\n{worded(card)}"
    return f"{stages(before['card'], worded)}\n\nThat gave {file}. From there:\n\n{worded(card)}"


def _stage(card: dict[str, Any]) -> str:
    return (
        f"Preset `{card['preset']}`, {card['steps']:,} steps in {card['hours']} hours on "
        f"{card['hardware']}, revision {card['revision']}:\n\n```bash\n{_train_command(card)}\n```"
        f"{changes_section(card)}"
    )


def changes_section(card: dict[str, Any]) -> str:
    """Say what was changed while training went on: the command above has the last values."""
    lines = [
        f"- at step {change['step']:,}: "
        + ", ".join(f"{name} {old} to {new}" for name, (old, new) in change["options"].items())
        for change in card.get("changes", [])
    ]
    return "\n\nOptions changed on the way (`--revise`):\n\n" + "\n".join(lines) if lines else ""


def _train_command(card: dict[str, Any]) -> str:
    """Give the command that trains again, with every option that differs from its preset."""
    name, preset = Path(str(card["data"])).name, card["preset"]
    trainer = card.get("trainer", "mocogan")
    options = changed_options(card, TRAINERS[trainer].Options(), TRAINERS[trainer].PRESETS)
    steps = f"--steps {card['steps']} --out runs/{name}{options}"
    return f"python -m train.{trainer} --preset {preset} --data {_obtain(card)[0]} {steps}"


def changed_options(card: dict[str, Any], defaults: Any, presets: Mapping[str, Any]) -> str:
    """Word the options that differ from the card's preset, as on a command line.

    An option that the card does not know came later: then its default was all there was, whatever the preset
    takes by now.
    """
    usual = {**asdict(defaults), **presets.get(card["preset"], {})}
    taken = {**asdict(defaults), **card["options"]} if "options" in card else usual
    own = {name: value for name, value in taken.items() if usual.get(name) != value}
    if "start" in own:  # wherever it lay
        own["start"] = Path(own["start"]).name
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in own.items())


def _obtain(card: dict[str, Any]) -> tuple[str, str]:
    """Say what --data is, and how to get it: a pack's name is all that is known of other data."""
    pack = f"{Path(str(card['data'])).name}.pack"
    return OBTAIN.get(card["data"], (pack, f"`{pack}` is a pack of `python -m train.prepare`."))


def _figures(path: Path, reader: Reader | None, figures: Figures) -> str:
    names = meanings_of(figures.values)
    rows = [
        f"| {name} | {figures.text(name)} | {figures.real_text(name)} | {figures.real_text(name, 'train')} | "
        f"{meaning} |"
        for name, (_, meaning) in names.items()
    ]
    table = "\n".join(
        [
            "| figure | this model | real clips | training clips | what it says |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    read = f" {reader.about}" if reader else ""
    if any(name.startswith("Swap error") for name in names):
        read += (
            " A swap error above 0 on real clips is what misreading, and factors that hide each other, add."
        )
    note = (
        f"Mean ± standard deviation over 3 repetitions of {figures.samples} clips of each kind with "
        f"independent codes (seeds {figures.seed} to {figures.seed + 2}). Real clips are of the test split. "
        "Training clips, whose Frechet distance is to those as well, show how far the splits differ."
        f"{read} Measured at revision {common.revision()} by\n\n```bash\n{figures.command(path)}\n```"
    )
    return "\n\n".join(
        part
        for part in ("## Figures", table, note, _factors(reader.tests if reader else {}, figures))
        if part
    )


def _factors(tests: Mapping[str, float], figures: Figures) -> str:
    names = [name for name in figures.values if name.startswith(("content: ", "motion: "))]
    if not names:
        return ""
    rows = []
    for name in names:
        test = tests.get(name.split(": ")[1])
        shown = "" if test is None else f"{test:.3f}"
        rows.append(f"| {name} | {shown} | {figures.text(name)} | {figures.real_text(name)} |")
    head = [
        "| factor | judge's test accuracy (values: mean error) | swap error | on real clips |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def file_section(path: Path) -> str:
    """Give a file's size and checksum."""
    data = path.read_bytes()
    return f"## File\n\n`{path.name}`, {len(data):,} bytes, sha256 `{hashlib.sha256(data).hexdigest()}`."


def write_readme_table() -> None:
    """Write the table of weights between the README's marks, from the cards."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in MARKS):
        raise VidgenError(f"README.md must have one line {MARKS[0]} and one line {MARKS[1]}.")
    before, rest = text.split(MARKS[0])
    table = "\n".join(readme_table(WEIGHTS))
    write_whole(readme, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}".encode())


def readme_table(folder: Path) -> list[str]:
    """List the weights of a folder that have a card, with the figures that the cards state: the models that
    draw clips in one table, translators in another.
    """
    made = {path: read_header(path) for path in sorted(folder.glob("*.safetensors")) if _card(path).exists()}
    tables = []
    for shown, translators in ((CLIP_FIGURES, False), (TRANSLATION_FIGURES, True)):
        kept = [path for path in made if (made[path]["family"] in TRANSLATORS) == translators]
        if kept:
            rows = [_readme_row(path, made[path]["about"], list(shown)) for path in kept]
            heads = ["weights", "licence", *shown.values()]
            tables.append([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])
    return [line for number, table in enumerate(tables) for line in ([""] * (number > 0) + table)]


def _card(path: Path) -> Path:
    return path.with_suffix(".md")


def _readme_row(path: Path, about: dict[str, Any], shown: list[str]) -> str:
    text = _card(path).read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", text, re.M))
    cells = [f"[{path.stem}](weights/{_card(path).name})", about.get("licence", "unknown")]
    return f"| {' | '.join([*cells, *(stated.get(name, '') for name in shown)])} |"
