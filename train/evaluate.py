"""Measure a shipped model and write its card: `python -m train.evaluate --model weights/NAME.safetensors`.

What it writes: `weights/NAME.md`, `weights/NAME.png` (rows contents, columns motions) and the table in
README.md. Real clips are needed for the "real" column and for the nearest training clip; the shapes' are
drawn on the spot, for others give the path that the model was trained from as --data. `--readme` alone writes
the README's table anew from the cards.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from train import cards, command
from train.data.heads import head_swaps
from vidgen.catalogue import ModelInfo, read_header
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.evaluation.generators import (
    METRICS,
    SEEDS,
    Request,
    measure,
    measure_lengths,
    measure_real,
    missing,
)
from vidgen.evaluation.readers import find_reader, open_reader
from vidgen.evaluation.real import Real, chunk, open_real, packed
from vidgen.session import Session

LONG = 128  # frames, or as many as recorded clips have: whether long clips stay as good


def long_length(real: Real | None, clip_length: int) -> int | None:
    """Say how many frames clips are compared at besides those that they were trained with: `LONG`, or as many
    as real clips have; None where those have no more.
    """
    if real is None:
        return None
    length = LONG if real.longest is None else min(LONG, real.longest)
    return length if length > clip_length else None


def evaluate(args: argparse.Namespace) -> None:
    """Measure, then write the card, the contact sheet and the README's table."""
    if args.samples < 2:
        raise VidgenError(f"--samples is {args.samples}, but a distance needs at least 2.")
    about = read_header(args.model)["about"]
    kind = check_kind(args.kind or about.get("data"), args.model.name)
    asked = args.kind or args.judge  # what is asked for by name must be there
    reader = open_reader(kind, args.judge) if asked else find_reader(kind)
    session = Session(args.model.parent, threads=args.threads)
    info = session.info(str(args.model))
    stride = int(about.get("card", {}).get("options", {}).get("stride", 1))
    real = open_real(kind, args.data, args.cache, info.clip_length, stride, info.size)
    if real and kind == "heads":  # who draws them can mix them
        pack = Pack(packed(args.data, args.cache, info.size), "test")
        real = replace(real, swaps=head_swaps(pack, info.clip_length, stride))
    request = Request(kind, reader, real, args.samples, args.seed, list(METRICS))
    unknown = missing(request, info)
    request = replace(request, metrics=[name for name in METRICS if name not in unknown])
    length, long = long_length(real, info.clip_length), dict[int, Real]()
    if length and request.extractor:
        far = open_real(kind, args.data, args.cache, length, stride, info.size)
        assert far is not None
        long = {length: far}
    parts = 1 + len(long)
    with tqdm(total=SEEDS * args.samples * parts * (3 if real else 1), unit="clip") as bar:
        found = measure(session, info, request, bar.update)
        if long:
            found.join(measure_lengths(session, info, request, request.extractor, long, bar.update, "FVD-c"))
        marks = {split: real_marks(request, info, long, split, bar.update) for split in ("test", "train")}
    figures = cards.Figures(found.values, marks, args.samples, args.seed, args.data)
    cards.write_card(session, args.model, kind, reader, figures)


def real_marks(
    request: Request, info: ModelInfo, long: dict[int, Real], split: str, progress: Callable[[int], object]
) -> dict[str, list[float]]:
    """Measure real clips of a split as the model's are; long: length -> real clips."""
    if request.real is None:
        return {}
    marks = measure_real(request, chunk(info.clip_length, info.size), progress, split)
    for length, far in long.items():
        alone = replace(request, real=far, metrics=["fvd"])
        marks[f"FVD-c{length}"] = measure_real(alone, chunk(length, info.size), progress, split)["FVD-c"]
    return marks


def check_kind(kind: str | None, name: str) -> str:
    """Say which data set a model is of, or that its file does not say."""
    if not kind:
        raise VidgenError(
            f"{name} does not say what it was trained on; give --kind sprites, shapes or a judge's name."
        )
    return kind


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
