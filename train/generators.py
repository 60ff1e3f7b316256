"""The command line that trainers of generators share: from --data to the weights file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from train import command, common, scoring
from train.data.sources import open_source
from train.distributed import joined

Export = Callable[[Any, Path, dict[str, Any], int, common.Record, bool], None]


def parse(
    name: str,
    about: str,
    recipe: type,
    presets: Mapping[str, Any],
    preset: str,
    argv: list[str] | None,
    judged: bool = True,
) -> tuple[argparse.Namespace, Any]:
    """Read the command line of `python -m name`; preset: the one that is taken where none is named; judged:
    whether it has --judge, which asks for a model of `vidgen.models.contract`.
    """
    parser = command.parser(name, about, recipe, presets)
    parser.set_defaults(preset=preset)
    parser.add_argument(
        "--data",
        required=True,
        help="an LPC clone, the word shapes, a pack, a folder of strips, videos or shards, or shards' URL",
    )
    parser.set_defaults(judge=None)
    if judged:
        scoring.add_option(parser)
    args = parser.parse_args(argv)
    return args, command.chosen(args, recipe, presets)


def train(args: argparse.Namespace, options: Any, trainer: type, export: Export) -> None:
    """Open the data and train.

    trainer: called with the options, the source, the device and the team. export: writes the weights, from
    the trainer, the file, the settings, the step, the record, and whether it is the last time.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    cache, o = args.cache or args.out / "data", options
    with joined(args.device, args.accumulate) as (team, device):
        with team.in_turn():
            source = open_source(args.data, cache, size=o.size, length=o.length, stride=o.stride, team=team)
        made = trainer(options, source, device, team)
        command.train(
            args,
            options,
            made,
            {"data": source.name},
            lambda *rest: export(made, *rest),
            scoring.open_score(args.judge, made),
        )
