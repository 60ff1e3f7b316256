"""Characters composed from the layers of the Universal LPC sprite sheets, as labelled clips.

A sheet is 832 x 1344 RGBA: cells of 64 x 64, a row per action and direction. A character is a choice of one
sheet per slot (body, eyes, hair, legs, torso ...), blended body first. A category is an action times a
direction. A clip runs through the action's cycle from a random phase at one of `SPEEDS` sheet frames per clip
frame.

The art is CC BY-SA 3.0 / GPL 3.0 (credit AUTHORS.txt of the repository); what is trained on it inherits CC
BY-SA 3.0.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vidgen._clips.files import replacing, reported
from vidgen.errors import VidgenError

CELL = 64
SHEET = (832, 1344)
# action: (first row, first cell, cells). Walking leaves out cell 0: it stands still and is not part of the
# cycle.
ACTIONS = {
    "cast": (0, 0, 7),
    "thrust": (4, 0, 8),
    "walk": (8, 1, 8),
    "slash": (12, 0, 6),
    "shoot": (16, 0, 13),
}
DIRECTIONS = ("north", "west", "south", "east")
CATEGORIES = [f"{action} {direction}" for action in ACTIONS for direction in DIRECTIONS]
SPEEDS = (0.5, 0.75, 1.0)
BACKGROUND = (116, 134, 124)
SKINS = ("light", "tanned", "tanned2", "dark", "dark2", "darkelf", "darkelf2", "orc", "red_orc")
SKIN_SHARES = (5, 4, 3, 4, 4, 1, 1, 1, 1)
CELLS_PER_CHARACTER = len(DIRECTIONS) * sum(count for _, _, count in ACTIONS.values())
HOW_TO_GET = (
    "Clone the public repository jrconway3/Universal-LPC-spritesheet and pass the path of the clone "
    "(the folder that holds body/)."
)


def _pick(rng: random.Random, root: Path, pattern: str) -> str:
    """Choose one sheet by a glob pattern relative to the clone."""
    found = sorted(path for path in root.glob(pattern) if "no_th-sh" not in path.name)
    if not found:
        raise VidgenError(f"No LPC sheet matches {pattern} in {root}. {HOW_TO_GET}")
    return str(rng.choice(found).relative_to(root))


def _male_torso(rng: random.Random, root: Path) -> list[str]:
    kind = rng.choices(("shirt", "mail", "leather", "plate", "gold", "none"), (8, 2, 2, 1.5, 1.5, 1))[0]
    return {
        "shirt": lambda: [_pick(rng, root, "torso/shirts/longsleeve/male/*.png")],
        "mail": lambda: [
            "torso/chain/mail_male.png",
            *(["torso/chain/tabard/jacket_male.png"] * (rng.random() < 0.5)),
        ],
        "leather": lambda: [
            _pick(rng, root, "torso/shirts/longsleeve/male/*.png"),
            "torso/leather/chest_male.png",
        ],
        "plate": lambda: ["torso/plate/chest_male.png", "torso/plate/arms_male.png"],
        "gold": lambda: ["torso/gold/chest_male.png", "torso/gold/arms_male.png"],
        "none": lambda: [],
    }[kind]()


def _female_torso(rng: random.Random, root: Path) -> list[str]:
    kind = rng.choices(
        ("shirt", "tunic", "dress", "mail", "leather", "plate", "gold"), (5, 4, 4, 1.5, 1.5, 1, 1)
    )[0]
    return {
        "shirt": lambda: [_pick(rng, root, "torso/shirts/sleeveless/female/*.png")],
        "tunic": lambda: [_pick(rng, root, "torso/tunics/female/*.png")],
        "dress": lambda: [_pick(rng, root, "torso/dress_female/[tu]*dress*.png")],
        "mail": lambda: [
            "torso/chain/mail_female.png",
            *(["torso/chain/tabard/jacket_female.png"] * (rng.random() < 0.5)),
        ],
        "leather": lambda: [_pick(rng, root, "torso/tunics/female/*.png"), "torso/leather/chest_female.png"],
        "plate": lambda: ["torso/plate/chest_female.png", "torso/plate/arms_female.png"],
        "gold": lambda: ["torso/gold/chest_female.png", "torso/gold/arms_female.png"],
    }[kind]()


def choose_layers(rng: random.Random, root: Path) -> dict[str, list[str]]:
    """Draw a character: slot name -> sheets, in the order in which they are blended."""
    sex = rng.choice(("male", "female"))
    skin = rng.choices(SKINS, SKIN_SHARES)[0]
    bare = rng.random() < 0.06  # no hair under no hat
    covered = rng.random() < 0.18
    hair = _pick(rng, root, f"hair/{sex}/*/*.png")
    beard = sex == "male" and rng.random() < 0.3
    hat = _pick(
        rng,
        root,
        rng.choice((f"head/helms/{sex}/*.png", f"head/hoods/{sex}/*.png", f"head/caps/{sex}/*.png")),
    )
    band = _pick(rng, root, f"head/bandanas/{sex}/*.png" if sex == "male" else "head/tiaras_female/*.png")
    legs = f"legs/armor/{sex}/*.png" if rng.random() < 0.2 else f"legs/pants/{sex}/*.png"
    feet = f"feet/armor/{sex}/*.png" if rng.random() < 0.25 else f"feet/shoes/{sex}/*.png"
    return {
        "body": [f"body/{sex}/{skin}.png"],
        "eyes": [_pick(rng, root, f"body/{sex}/eyes/[bgop]*.png")],
        "feet": [_pick(rng, root, feet)],
        "legs": [_pick(rng, root, legs)],
        "torso": (_male_torso if sex == "male" else _female_torso)(rng, root),
        "gloves": [_pick(rng, root, f"hands/gloves/{sex}/*.png")] if rng.random() < 0.15 else [],
        "facial": [
            _pick(rng, root, f"facial/{sex}/{{}}/{Path(hair).name}".format(rng.choice(("beard", "mustache"))))
        ]
        if beard and (root / f"facial/{sex}/beard/{Path(hair).name}").exists()
        else [],
        "hair": [] if bare or covered else [hair],
        "head": [hat] if covered else [band] if rng.random() < 0.08 else [],
    }


def read_cells(path: Path) -> np.ndarray:
    """Read the cells that clips use from one sheet: float32 premultiplied RGBA in [0, 1], [cells, h, w,
    4].
    """
    with Image.open(path) as image:
        if image.size != SHEET:
            raise VidgenError(f"{path} is {image.size[0]} x {image.size[1]}; an LPC sheet is 832 x 1344.")
        sheet = np.asarray(image.convert("RGBA"), np.float32) / 255
    sheet = sheet.reshape(SHEET[1] // CELL, CELL, SHEET[0] // CELL, CELL, 4).transpose(0, 2, 1, 3, 4)
    rows = [
        sheet[first_row + turn, first : first + count]
        for first_row, first, count in ACTIONS.values()
        for turn in range(len(DIRECTIONS))
    ]
    cells = np.concatenate(rows)
    cells[..., :3] *= cells[..., 3:]
    return cells


def compose(root: Path, layers: dict[str, list[str]]) -> np.ndarray:
    """Blend a character's layers over the flat background: uint8 [cells, h, w, c]."""
    picture = np.broadcast_to(
        np.asarray(BACKGROUND, np.float32) / 255, (CELLS_PER_CHARACTER, CELL, CELL, 3)
    ).copy()
    for name in (name for names in layers.values() for name in names):
        cells = read_cells(root / name)
        picture = cells[..., :3] + picture * (1 - cells[..., 3:])
    return np.rint(picture * 255).astype(np.uint8)


def is_test(layers: dict[str, list[str]]) -> bool:
    """Tell the split from the combination of layers: one in ten characters is for testing, on every
    machine.
    """
    return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).digest()[0] < 26


def draw_characters(root: Path, count: int, split: str, seed: int) -> list[dict[str, list[str]]]:
    """Draw `count` different characters of one split ("train" or "test")."""
    rng, chosen, seen = random.Random(f"{seed}"), [], set()
    while len(chosen) < count:
        layers = choose_layers(rng, root)
        key = json.dumps(layers)
        if key not in seen and is_test(layers) == (split == "test"):
            seen.add(key)
            chosen.append(layers)
    return chosen


class SpriteClips:
    """Labelled clips of composed characters, packed once into a memory-mapped file.

    root: a clone of the LPC repository. cache: folder of the pack (2.1 MB a character). A clip is drawn anew
    each time: character, category, phase and speed are independent.
    """

    categories = CATEGORIES
    category_axes = {"action": list(ACTIONS), "direction": list(DIRECTIONS)}
    fps = 12.0
    licence = "CC BY-SA 3.0"
    credit = "Sprites: Universal LPC Spritesheet contributors (AUTHORS.txt), CC BY-SA 3.0 / GPL 3.0."

    def __init__(
        self, root: str | Path, cache: str | Path, count: int = 1000, split: str = "train", seed: int = 0
    ) -> None:
        self.root, self.split = Path(root), split
        if not (self.root / "body").is_dir():
            raise VidgenError(f"{root} holds no LPC sprite sheets. {HOW_TO_GET}")
        self.pack = Path(cache) / f"sprites-{split}-{count}-{seed}.npy"
        self.table = self.pack.with_suffix(".json")
        if not (self.pack.exists() and self.table.exists()):
            self._write(draw_characters(self.root, count, split, seed))
        self.characters: list[dict[str, list[str]]] = json.loads(self.table.read_text())
        self.cells = np.load(self.pack, mmap_mode="r")  # [character, cell, h, w, c]

    def _write(self, characters: list[dict[str, list[str]]]) -> None:
        """Write the pack byte after byte, so that a full disk is told; then its table: none, no pack."""
        with reported(self.pack):
            self.pack.parent.mkdir(parents=True, exist_ok=True)
            self.table.unlink(missing_ok=True)
        shape = (len(characters), CELLS_PER_CHARACTER, CELL, CELL, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with replacing(self.pack) as part:
            with reported(self.pack), part.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
            for layers in tqdm(characters, "composing characters", unit="character"):
                cells = compose(self.root, layers)
                with reported(self.pack), part.open("ab") as file:
                    file.write(cells.tobytes())
        with replacing(self.table) as part, reported(self.table):
            part.write_text(json.dumps(characters))

    def __len__(self) -> int:
        return len(self.characters)

    @cached_property
    def first_cell(self) -> np.ndarray:
        """Give the first cell of each category, [categories]."""
        counts = [count for _, _, count in ACTIONS.values() for _ in DIRECTIONS]
        return np.concatenate([[0], np.cumsum(counts)[:-1]])

    @cached_property
    def cycle(self) -> np.ndarray:
        """Give the number of cells of each category's cycle, [categories]."""
        return np.array([count for _, _, count in ACTIONS.values() for _ in DIRECTIONS])

    def clips(
        self, characters: np.ndarray, labels: np.ndarray, phases: np.ndarray, speeds: np.ndarray, length: int
    ) -> np.ndarray:
        """Look up clips: all arguments [n]; phases in cells, speeds in cells per frame. uint8 [n, t, h, w,
        c].
        """
        step = np.floor(phases[:, None] + speeds[:, None] * np.arange(length)).astype(int)
        cell = self.first_cell[labels][:, None] + step % self.cycle[labels][:, None]
        return self.cells[characters[:, None], cell]

    def draw(
        self, rng: np.random.Generator, n: int, labels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Draw the factors of n clips: character, label, phase, speed, all [n]."""
        labels = rng.integers(len(CATEGORIES), size=n) if labels is None else labels
        return {
            "character": rng.integers(len(self), size=n),
            "label": labels,
            "phase": rng.random(n) * self.cycle[labels],
            "speed": rng.choice(SPEEDS, size=n),
        }

    def sample(self, rng: np.random.Generator, n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw n clips: uint8 [n, t, h, w, c] and labels int64 [n]."""
        drawn = self.draw(rng, n)
        return self._look_up(drawn, length), drawn["label"]

    def sample_pairs(
        self, rng: np.random.Generator, n: int, length: int, references: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw n clips and, for each, single frames of the same character in other categories.

        Returns clips uint8 [n, t, h, w, c], labels [n] and reference frames uint8 [n, references, h, w, c].
        """
        drawn = self.draw(rng, n)
        frames = []
        for _ in range(references):
            other = self.draw(rng, n)
            frames.append(self._look_up({**other, "character": drawn["character"]}, 1))
        return self._look_up(drawn, length), drawn["label"], np.concatenate(frames, 1)

    def _look_up(self, drawn: dict[str, np.ndarray], length: int) -> np.ndarray:
        return self.clips(drawn["character"], drawn["label"], drawn["phase"], drawn["speed"], length)

    def content_factors(self, characters: np.ndarray) -> dict[str, np.ndarray]:
        """Name what a character looks like, as class indices [n] per factor."""
        rows = [self.characters[index] for index in characters]
        sexes = np.array(["female" in row["body"][0] for row in rows]).astype(int)
        skins = np.array([SKINS.index(Path(row["body"][0]).stem) for row in rows])
        return {
            "sex": sexes,
            "skin": skins,
            "torso": self._classes(rows, "torso"),
            "legs": self._classes(rows, "legs"),
        }

    def _classes(self, rows: Sequence[dict[str, list[str]]], slot: str) -> np.ndarray:
        names = sorted({_plain(row[slot]) for row in self.characters})
        return np.array([names.index(_plain(row[slot])) for row in rows])


def _plain(sheets: list[str]) -> str:
    """Name a slot's choice without the sex that the file name repeats."""
    return (
        "+".join(Path(sheet).stem.replace("_female", "").replace("_male", "") for sheet in sheets) or "none"
    )
