"""Recipes of MoStGAN-V: what can be chosen (`Options`), and choices that go together (`PRESETS`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from train import losses
from train.projected import CRITICS
from vidgen.errors import VidgenError, check_least


@dataclass(frozen=True)
class Options:
    """Hold a training recipe; the defaults are the paper's, `PRESETS` has the other."""

    # generator
    size: int = 256
    length: int = 33  # frames of a real clip
    content_dim: int = 512
    style_dim: int = 512
    motion_dim: int = 512
    code_dim: int = 512
    motion_distance: int = 16
    motion_kernel: int = 11
    motion_styles: int = 8
    style_rank: int = 1
    motion_style_dim: int = 128
    motion_hidden: int = 512
    order: str = "content"
    attention_from: int = 16
    attention_to: int = 128
    label_dim: int = 512
    lr_multiplier: float = 0.01
    style_start: float = 1.0  # times the size of the style weights at the start
    base_width: int = 64
    max_width: int = 512
    longest_period: float = 1024.0
    shortest_period: float = 16.0
    relative_time: bool = False
    amplitudes: bool = False
    waves: int = 0
    couplings: int = 0
    layout: bool = False
    canvas: int = 0
    # discriminator
    critic: str = "frames"  # or "projected": of frozen features (train/projected.py)
    loss: str = "bce"
    frames: int = 3
    longest: int = 32  # from the first of these frames to the last, at most
    d_base_width: int = 64  # of a projected critic: channels of each frame at every scale
    differences: bool = True  # this and the next two: of the critic "frames" alone
    d_max_width: int = 512
    d_fold: int = 1  # pixels, each way, that it takes as channels of one
    reach: int = 992  # frames into a generated clip at which those frames begin, at most
    # optimisation
    batch: int = 64
    lr: float = 0.0025
    start: str = ""  # a weights file of the same networks, to begin with
    lr_d: float = 0.0  # of the discriminator; 0: lr
    beta1: float = 0.0
    beta2: float = 0.99
    r1: float = 10.0  # gamma
    r1_every: int = 16
    augment: float = 0.6  # the mean sign of logits on real clips that augmentation aims at; 0 turns it off
    augment_images: int = 500_000
    flips: bool = True  # mirror half of the real clips
    diversity: float = 0.0  # weight of the motion diversity loss
    spread: float = 0.0  # weight of differing less than real clips do (losses.collapse_loss)
    energy: float = 0.0  # weight of changing faster or slower than real clips do (losses.energy_loss)
    consistency: float = 0.0  # weight of how far the motion changes a content's looks (train/sharing.py)
    motion_consistency: float = 0.0  # weight of how far the content changes where a motion moves a picture
    teacher: float = 0.0  # weight of differing, seen small, from what `start` draws (losses.teacher_loss)
    teacher_size: int = 16  # px
    ema_images: int = 20_000  # clips after which half of the average is new
    stride: int = 1  # of real frames, where the source has more than it shows
    bfloat16: bool = False
    decay: float = 0.0  # share of the run, at its end, over which the learning rates fall to zero
    # inference networks; redraw 0 turns them off
    redraw: float = 0.0  # weight of the error of redrawn real clips
    features: float = 0.0  # weight of the discriminator's feature distance between real and redrawn frames
    perceptual: float = 0.0  # weight of their distance in features of photographs (train/pretrained.py)
    redraw_frames: int = 4
    judge_redrawn: bool = False  # the discriminator sees redrawn clips, too
    references: int = 3  # frames from which the content is inferred
    own_references: bool = False  # of the clip itself, not of all that shows its subject: for skies and seas
    redraw_reach: int = 0  # frames into a clip at which a real clip is redrawn, at most
    lr_q: float = 1e-3
    poses: int = 0  # values from which motion codes are inferred frame by frame, to begin with
    poses_still: bool = True  # also what is the same in all of a clip's frames
    poses_match: float = 0.0  # weight of their distance from the motion codes of the knots
    poses_start: int = 1000  # steps in which frames are drawn from them alone
    poses_end: int = 4000  # step from which they are drawn from the knots alone
    kl: float = 0.0  # weight of the inferred codes' distance from N(0, I), in nats
    kl_start: int = 300  # steps without it for the motion, which it would silence
    kl_full: int = 1000
    warm_up: int = 0  # steps with the redrawing alone, before the discriminator joins
    lr_warm: float = 0.0025
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what a slip of the keyboard could spoil; the networks check their own sizes."""
        check_least(
            self,
            1,
            "length",
            "frames",
            "longest",
            "batch",
            "stride",
            "r1_every",
            "augment_images",
            "ema_images",
            "redraw_frames",
            "references",
            "d_fold",
            "teacher_size",
        )
        check_least(
            self,
            0,
            "seed",
            "teacher",
            "energy",
            "consistency",
            "motion_consistency",
            "reach",
            "redraw_reach",
            "warm_up",
            "decay",
            "redraw",
            "kl",
            "style_start",
            "features",
            "poses",
            "perceptual",
            "lr_d",
            "poses_match",
            "r1",
            "diversity",
            "spread",
            "augment",
        )
        for name, choices in (("critic", CRITICS), ("loss", losses.KINDS)):
            if getattr(self, name) not in choices:
                raise VidgenError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        if self.critic == "projected" and (self.r1 or self.features):
            raise VidgenError(
                "A projected critic has no r1 and no features of its own: add --r1 0 --features 0."
            )
        for name in ("frames", "redraw_frames"):
            if getattr(self, name) > self.length:
                raise VidgenError(f"{name} is {getattr(self, name)}; a clip has {self.length} frames.")
        for name in ("energy", "motion_consistency"):
            if getattr(self, name) and self.frames < 2:
                raise VidgenError(f"{name} compares neighbouring frames: add --frames 2, or set it to 0.")
        if self.longest >= self.length:
            raise VidgenError(
                f"longest is {self.longest}; the frames of a clip of {self.length} are {self.length - 1} "
                "apart at most."
            )
        if self.augment >= 1:
            raise VidgenError(f"augment is {self.augment}; choose a mean sign below 1, such as 0.6.")
        for name in ("judge_redrawn", "perceptual", "own_references"):
            if getattr(self, name) and not self.redraw:
                raise VidgenError(f"{name} is about redrawn clips: give redraw a weight, such as 40.")
        if self.teacher and not self.start:
            raise VidgenError("teacher is about the weights of --start: name some, or add --teacher 0.")
        if self.teacher_size > self.size:
            raise VidgenError(f"teacher_size is {self.teacher_size}; frames have {self.size} px.")
        if self.own_references and self.references > self.length:
            raise VidgenError(f"references is {self.references}; a clip has {self.length} frames of its own.")
        if self.canvas and (self.poses or self.redraw_reach):
            raise VidgenError("A canvas knows no poses and no redraw_reach: add --poses 0 --redraw-reach 0.")
        if self.poses and not 0 <= self.poses_start < self.poses_end:
            steps = f"poses_start is {self.poses_start} and poses_end {self.poses_end}"
            raise VidgenError(f"{steps}; the knots take over from the one to the other.")
        if self.diversity and not self.motion_styles:
            raise VidgenError("diversity is about motion styles: take some, or add --diversity 0.")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {
        "size": 64,
        "length": 16,
        "content_dim": 64,
        "style_dim": 128,
        "motion_dim": 64,
        "code_dim": 64,
        "motion_distance": 16,
        "motion_kernel": 1,
        "motion_styles": 4,
        "motion_style_dim": 64,
        "motion_hidden": 128,
        "attention_to": 32,
        "label_dim": 32,
        "lr_multiplier": 1.0,
        "style_start": 0.1,
        "base_width": 16,
        "max_width": 128,
        "longest_period": 32.0,
        "shortest_period": 4.0,
        "relative_time": True,
        "amplitudes": True,
        "waves": 128,
        "couplings": 6,
        "longest": 8,
        "d_base_width": 16,
        "d_max_width": 128,
        "d_fold": 2,
        "reach": 64,
        "batch": 8,
        "r1": 1.0,
        "augment_images": 100_000,
        "flips": False,
        "ema_images": 5000,
        "decay": 0.2,
        "redraw": 40.0,
        "features": 4.0,
        "kl": 0.01,
        "kl_start": 3000,  # from 600 on, it left sprites' motion as wide as the prior: it told nothing
        "kl_full": 8000,
        "poses": 12,
        "poses_still": False,
        "poses_match": 10.0,
        "poses_start": 2000,
        "poses_end": 3000,
        "warm_up": 5000,
        "lr_warm": 0.006,
    },
}
