"""Find and name a model's content directions: `python -m train.directions --model FILE
[--names=a,b,c,d,e,f]`.

The directions are the eigenvectors of E[J^T J], J the change of the picture with the content, in standard
deviations of the content: the principal components of what content can do, strongest first (six for the
sliders, two for the drag pad). They are written into the weights file, and a sheet beside the run shows each
from -2.5 to 2.5 standard deviations on three contents, for a person to name them by eye. A name may begin
with "-" to turn its direction round (`--names=-a,b,...`: with "=", or the "-" reads as an option). Names
belong to the directions that they were given for: without --names, the directions are found anew and old
names are dropped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor

from train import command
from vidgen import sampling
from vidgen.checkpoint import load_model, save_model
from vidgen.errors import VidgenError
from vidgen.recipe import DIRECTIONS, Recipe
from vidgen.video_io import tile

COUNT = DIRECTIONS + 2
REACH = (-2.5, -1.25, 0.0, 1.25, 2.5)
NAMES_HELP = (
    f"{DIRECTIONS} names, strongest direction first, as --names=-a,b,...: a '-' before a name turns its "
    "direction round; without this option, old names are dropped"
)


@torch.no_grad()
def principal_changes(
    model: torch.nn.Module, contents: int = 48, step: float = 0.5, size: int | None = None
) -> Tensor:
    """Give the `COUNT` directions of content that change the picture most: [COUNT, d], one standard deviation
    of the content long, strongest first; zero where a small content has no more.

    size: px at which pictures are compared, their own without. J by central differences at random contents,
    with random motions and categories.
    """
    dim = len(model.content_weights())
    total = torch.zeros(dim, dim, dtype=torch.float64)
    moves = step * torch.cat([torch.eye(dim), -torch.eye(dim)])
    for seed in range(contents):
        recipe = Recipe(content_seed=seed, motion_seed=seed, frames=1)
        codes = sampling.codes([recipe], model, None, 1.0)
        rest = [
            None if part is None else repeat(part, "1 ... -> n ...", n=2 * dim)
            for part in (codes.content, codes.motion, codes.times, codes.label)
        ]
        moved = model.latents(*rest, moves=moves)
        pictures = model.image(rearrange(moved, "n 1 d -> n d 1 1"))
        if size is not None:
            pictures = F.adaptive_avg_pool2d(pictures, size)
        plus, minus = pictures.flatten(1).double().split(dim)
        jacobian = (plus - minus) / (2 * step)
        total += jacobian @ jacobian.T
    root = sampling.content_root(model).to(total)
    vectors = torch.linalg.eigh(root @ total @ root).eigenvectors.flip(1).T[:COUNT] @ root
    strongest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return F.pad((vectors * strongest.sign()).float(), (0, 0, 0, COUNT - len(vectors)))


def sheet(model: torch.nn.Module, directions: Tensor, seeds: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    """Draw a row for each direction: for each content, the picture along it; uint8 [h, w, 3]."""
    renderer, frame = sampling.Renderer(model), []
    for index in range(len(directions)):
        for seed, reach in ((seed, reach) for seed in seeds for reach in REACH):
            moved = [0.0] * COUNT
            moved[index] = reach
            recipe = Recipe(
                content_seed=seed,
                motion_seed=0,
                directions=tuple(moved[:DIRECTIONS]),
                pad=tuple(moved[DIRECTIONS:]),
                category=min(10, model.num_labels - 1)
                if model.num_labels
                else None,  # sprites: walking south
                frames=1,
            )
            frame.append(renderer.clips(sampling.codes([recipe], model, directions, 1.0))[0])
    rows = rearrange(np.stack(frame), "(row column) t h w c -> row column t h w c", row=len(directions))
    return tile(rows)[0]


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != DIRECTIONS or not all(name.removeprefix("-").strip() for name in names):
        raise VidgenError(f"--names has {len(names)} names; give {DIRECTIONS}, none empty, between commas.")
    return names


def main(argv: list[str] | None = None) -> int:
    """Write the directions, and their names where given, into the weights file."""
    parser = argparse.ArgumentParser(prog="python -m train.directions", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--names", help=NAMES_HELP)
    parser.add_argument(
        "--size",
        type=int,
        help="px at which pictures are compared, for textures that any change of content shifts (their own)",
    )
    parser.add_argument("--sheet", type=Path, help="PNG to look at (default: beside the weights file)")
    args = parser.parse_args(argv)
    return command.run(lambda: find(args))


def find(args: argparse.Namespace) -> None:
    """Find the directions, keep them in the weights file and draw their sheet."""
    model, about, extra = load_model(args.model)
    names = None if args.names is None else _names(args.names)
    if args.size is not None and not 1 <= args.size <= model.config.size:
        raise VidgenError(f"--size is {args.size}; choose 1 to {model.config.size}.")
    directions = principal_changes(model, size=args.size)
    about.pop("direction_names", None)  # the old ones told of directions that may have been turned
    if names:
        turned = torch.tensor([-1.0 if name.startswith("-") else 1.0 for name in names] + [1.0, 1.0])
        directions = directions * turned[:, None]
        about["direction_names"] = [name.removeprefix("-").strip() for name in names]
    save_model(args.model, model, about, {**extra, "directions": directions})
    picture = args.sheet or args.model.with_name(f"{args.model.stem}-directions.png")
    Image.fromarray(sheet(model, directions)).save(picture)


if __name__ == "__main__":
    sys.exit(main())
