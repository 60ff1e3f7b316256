"""Tiny trainers of all papers, for test_distributed.py; as a program, one process of torchrun's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train import mocogan, mostganv, recyclegan
from train.data.sources import ShapeSource
from train.data.triplets import Triplets
from train.distributed import Team, joined

STEPS = 3
SMALL_GAN = {"size": 32, "batch": 4, "base_width": 8, "d_width": 8, "v_width": 8, "bfloat16": False}
MODERN = {**mocogan.PRESETS["modern"], **SMALL_GAN, "content_dim": 6, "motion_dim": 4, "warm_up": 1}
# Batch norm in both networks, and Q that learns from generated clips.
PAPER = {**SMALL_GAN, "supervised": False, "categories": 3}
STYLES = {"content_dim": 6, "style_dim": 8, "motion_dim": 4, "code_dim": 8, "motion_styles": 2}
STYLES |= {
    "motion_distance": 4,
    "motion_kernel": 2,
    "motion_style_dim": 4,
    "motion_hidden": 8,
    "label_dim": 4,
}
STYLES |= {"size": 16, "length": 9, "longest": 4, "batch": 4, "longest_period": 16.0, "shortest_period": 4.0}
STYLES |= {"base_width": 4, "max_width": 8, "d_base_width": 4, "d_max_width": 8, "reach": 8, "warm_up": 1}
STYLES |= {"d_fold": 1, "bfloat16": False, "augment_images": 40}
PROJECTED = {"critic": "projected", "loss": "hinge", "r1": 0.0, "features": 0.0, "perceptual": 2.0}
PROJECTED |= {"own_references": True, "spread": 1.0}
CANVAS = {"canvas": 5, "layout": True, "poses": 0}
TRANSLATION = {"size": 16, "width": 4, "blocks": 1, "predictor_width": 4, "d_width": 4, "d_layers": 2}
TRANSLATION |= {"bfloat16": False, "pool": 3, "batch": 4}


def stream(name: str, seed: int) -> Triplets:
    """Make a stream of noise."""
    clip = np.random.default_rng(seed).integers(256, size=(9, 16, 16, 3), dtype=np.uint8)
    return Triplets([clip], [2], name, {"title": name, "licence": "MIT", "credit": "", "fps": 12.5})


def trainer(name: str, team: Team | None = None) -> Any:
    """Make a trainer by its name."""
    if name == "recyclegan":
        options = recyclegan.Options(**{**recyclegan.PRESETS["modern"], **TRANSLATION})
        return recyclegan.RecycleGANTrainer(options, stream("x", 0), stream("y", 1), team=team)
    if name == "recyclegan-projected":
        options = recyclegan.Options(**{**recyclegan.PRESETS["modern"], **TRANSLATION, "projected": 0.5})
        return recyclegan.RecycleGANTrainer(options, stream("x", 0), stream("y", 1), team=team)
    if name == "mostganv-projected":
        options = mostganv.Options(**{**mostganv.PRESETS["small"], **STYLES, **PROJECTED, **CANVAS})
        return mostganv.MoStGANVTrainer(options, ShapeSource(16, 9, count=8), team=team)
    if name == "mostganv":
        options = mostganv.Options(**{**mostganv.PRESETS["small"], **STYLES})
        return mostganv.MoStGANVTrainer(options, ShapeSource(16, 9, count=8), team=team)
    options = mocogan.Options(**(MODERN if name == "mocogan" else PAPER))
    return mocogan.MoCoGANTrainer(options, ShapeSource(32, 16, count=8), team=team)


NAMES = ("mocogan", "mocogan-paper", "recyclegan", "mostganv", "mostganv-projected", "recyclegan-projected")


def outcome(name: str, team: Team) -> dict[str, Any]:
    """Train a few steps; gives each step's losses, and the state."""
    made = trainer(name, team)
    losses = [team.mean(made.step(index)) for index in range(STEPS)]
    return {"losses": losses, "state": made.state()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu") as (own, _):
        found = {each: outcome(each, own) for each in NAMES}
    torch.save(found, Path(sys.argv[1]) / f"{own.rank}.pt")
