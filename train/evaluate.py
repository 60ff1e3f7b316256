"""Measure a shipped model and write its card: `python -m train.evaluate --model weights/NAME.safetensors`.

What it writes: `weights/NAME.md`, `weights/NAME.png` (rows contents, columns motions) and the table in
README.md. Real clips are needed for the "real" column and for the nearest training clip; the shapes' are
drawn on the spot, for others give the path that the model was trained from as --data. `--readme` alone writes
the README's table anew from the cards.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from train import cards, command
from train.readers import SWAPS, Reader, Real, check_kind, open_reader, open_real
from vidgen.catalogue import read_header
from vidgen.errors import VidgenError
from vidgen.metrics import scores
from vidgen.metrics.shapes import shape_colours
from vidgen.recipe import MAX_SEED, Recipe
from vidgen.session import Session

SEEDS = 3  # independent repetitions, for the spread
COMPARED = 128  # clips, at most, set against twice as many training clips as there are samples
METERED = 64  # clips that the app's meters are read for


@dataclass(frozen=True)
class Generated:
    """One repetition: clips of `swap_set` and what categories were asked for."""

    clips: dict[str, np.ndarray]
    asked: np.ndarray | None


def swap_set(
    session: Session,
    recipe: Recipe,
    count: int,
    categories: int,
    rng: np.random.Generator,
    names: Iterable[str] = tuple(SWAPS),
) -> Generated:
    """Render sets of `SWAPS`: "base"; the same with only the "motion" (and category) drawn anew; the same
    with only the "content" drawn anew; and independent "other" ones.
    """
    content, motion = rng.integers(MAX_SEED, size=(3, count)), rng.integers(MAX_SEED, size=(3, count))
    asked = rng.integers(max(categories, 1), size=(3, count))
    clips = {}
    for name in names:
        what, how = SWAPS[name]
        recipes = [
            recipe.replace(content_seed=int(c), motion_seed=int(m), category=int(k) if categories else None)
            for c, m, k in zip(content[what], motion[how], asked[how], strict=True)
        ]
        clips[name] = session.render_many(recipes)
    return Generated(clips, asked[0] if categories else None)


def swap_errors(clips: dict[str, np.ndarray], reader: Reader) -> dict[str, float]:
    """Measure both swap errors, and each factor's: content with the motion changed, and the reverse."""
    found = {name: reader.factors(part) for name, part in clips.items()}
    out = {}
    for kind, names, changed in (("content", reader.content, "motion"), ("motion", reader.motion, "content")):
        if not names:
            continue
        sets = [{n: found[part][n] for n in names} for part in ("base", changed, "other")]
        shares = scores.swap_error(*sets)
        out[f"Swap error of {kind}"] = shares.pop("mean")
        out |= {f"{kind}: {name}": value for name, value in shares.items()}
    return out


def measure_clips(clips: dict[str, np.ndarray], reader: Reader, kind: str) -> dict[str, float]:
    """Measure what needs no other clips; `clips` as `swap_set` gives them, or {"base": clips} alone."""
    base = clips["base"]
    found: dict[str, float] = {}
    if kind == "shapes":
        found["ACD (colour)"] = scores.average_content_distance(
            np.concatenate([shape_colours(base[i : i + 64]) for i in range(0, len(base), 64)])
        )
    if "other" in clips and reader.content:
        found |= swap_errors(clips, reader)
    metered = [scores.meters(clip) for clip in base[:METERED]]
    found["Diversity"] = scores.diversity(base[: 2 * COMPARED])
    for name in metered[0]:
        found[name.replace("_", " ").capitalize()] = float(np.mean([row[name] for row in metered]))
    return found


def compare(base: np.ndarray, real: Real, reader: Reader, rng: np.random.Generator) -> dict[str, float]:
    """Measure what needs real clips: the nearest training clip and FVD-c against the test split."""
    found = {
        "Nearest training clip": scores.nearest_distance(base[:COMPARED], real.train(rng, 2 * len(base)))
    }
    features = reader.features(base)
    if features is not None:
        found["FVD-c"] = scores.frechet_distance(features, reader.features(real.test(rng, len(base))))
    return found


def measure_real(real: Real, reader: Reader, kind: str, count: int, seed: int) -> dict[str, float]:
    """Measure real test clips the same way, as the mark to compare with."""
    rng = np.random.default_rng([seed, 1])
    clips = real.swaps(rng, count) if real.swaps else {"base": real.test(rng, count)}
    found = measure_clips(clips, reader, kind) | compare(clips["base"], real, reader, rng)
    if real.labelled:
        frames, labels = real.labelled(rng, count)
        found["MCS"] = scores.accuracy(reader.factors(frames)["category"], labels)
    elif "category" in reader.tests:
        found["MCS"] = reader.tests["category"]
    return found


def measure(
    session: Session, path: Path, kind: str, reader: Reader, real: Real | None, samples: int, seed: int
) -> dict[str, list[float]]:
    """Measure a model `SEEDS` times with independent codes: figure -> one value per repetition."""
    info = session.info(str(path))
    recipe = Recipe(model=str(path), frames=info.clip_length, fps=info.fps)
    rows: dict[str, list[float]] = {}
    for repetition in tqdm(range(SEEDS), unit="repetition"):
        rng = np.random.default_rng([seed + repetition, 0])
        made = swap_set(
            session, recipe, samples, len(info.categories), rng, SWAPS if reader.content else ("base",)
        )
        found = measure_clips(made.clips, reader, kind)
        if made.asked is not None:
            found["MCS"] = scores.accuracy(reader.factors(made.clips["base"])["category"], made.asked)
        if real is not None:
            found |= compare(made.clips["base"], real, reader, rng)
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    return rows


def evaluate(args: argparse.Namespace) -> None:
    """Measure, then write the card, the contact sheet and the README's table."""
    if args.samples < 2:
        raise VidgenError(f"--samples is {args.samples}, but a distance needs at least 2.")
    about = read_header(args.model)["about"]
    kind = check_kind(args.kind or about.get("data"), args.model.name)
    session, reader = Session(args.model.parent, threads=args.threads), open_reader(kind, args.judge)
    info = session.info(str(args.model))
    stride = int(about.get("card", {}).get("options", {}).get("stride", 1))
    real = open_real(kind, args.data, args.cache, info.clip_length, stride, info.size)
    values = measure(session, args.model, kind, reader, real, args.samples, args.seed)
    marks = measure_real(real, reader, kind, args.samples, args.seed) if real else {}
    cards.write_card(
        session, args.model, kind, reader, cards.Figures(values, marks, args.samples, args.seed, args.data)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake, which is told in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a weights file")
    parser.add_argument(
        "--samples", type=int, default=512, help=f"clips of each of {SEEDS} repetitions (512)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="real clips: an LPC clone, or a pack of train.prepare")
    parser.add_argument("--kind", help="what the model was trained on, if its file does not say")
    parser.add_argument("--judge", type=Path, help="default: weights/probes/KIND.safetensors")
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="for composed characters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--readme", action="store_true", help="only write the README's table from the cards")
    args = parser.parse_args(argv)
    if args.model is None and not args.readme:
        parser.error("give --model or --readme")
    torch.set_num_threads(args.threads)
    return command.run(lambda: _write(args))


def _write(args: argparse.Namespace) -> None:
    if args.model is not None:
        evaluate(args)
    if args.readme or args.model.resolve().parent == cards.WEIGHTS:
        cards.write_readme_table()


if __name__ == "__main__":
    sys.exit(main())
