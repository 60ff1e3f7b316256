"""Train MoCoGAN: `python -m train.mocogan --preset modern --data PATH --out DIR`. The same command again
resumes.

--data: a clone of the LPC sprite repository, the word `shapes` (our generator), a pack of train.prepare, or a
folder of strips or videos. `paper` is the paper's recipe; `modern` ties the codes to real clips with
inference networks (train/posterior.py), uses the hinge loss with spectral norm, label-conditional
discriminators, EMA and bfloat16. One generator pass a step serves both discriminators, both updates and the
redrawn clips.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from train import command, common, generators, losses
from train.augment import translate
from train.data.sources import Batch, Source
from train.distributed import Team
from train.ema import EMA
from train.posterior import ContentPosterior, MotionPosterior, draw
from train.pretrained import perceptual_distance, pretrained
from train.projected import CRITICS, ProjectedImages
from train.sheets import write_sheet
from train.starting import begin_with, inherited
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError, check_least
from vidgen.models.mocogan import NORMS, Discriminator, MoCoGAN, MoCoGANConfig


@dataclass(frozen=True)
class Options:
    """Hold a training recipe; the defaults are the paper's (section 4 and appendix A), `PRESETS` has the
    others.
    """

    # generator
    size: int = 64
    length: int = 16
    content_dim: int = 50
    motion_dim: int = 10
    state_dim: int = 10
    base_width: int = 64
    head: str = "transposed"
    colours: int = 16
    sharpness: float = 1.0
    modulate: bool = False
    category_input: str = "motion"
    # discriminators
    d_width: int = 64
    v_width: int = 64
    patch: bool = True
    norm: str = "batch"
    noise: float = 0.1
    image_frames: int = 1  # frames of each clip that D_I sees
    time_stride: int = 1
    differences: bool = False
    shrink: int = 1
    conditional: bool = False
    critic: str = "frames"  # D_I, or "projected": of frozen features (train/projected.py)
    # optimisation
    start: str = ""  # a weights file of the same networks, to begin with
    batch: int = 32
    loss: str = "bce"
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 1e-5
    category_weight: float = 1.0  # lambda of the InfoGAN term
    supervised: bool = True  # Q also learns from the labels of real clips
    translate: int = 0
    ema: float = 0.999
    stride: int = 2  # of real frames, where the source has more than it shows
    bfloat16: bool = False
    decay: float = 0.0  # share of the run, at its end, over which the learning rates fall to zero
    # inference networks; redraw 0 turns them off
    redraw: float = 0.0  # weight of the error of redrawn real clips
    redraw_frames: int = 4
    references: int = 3  # frames from which the content is inferred
    pool_content: bool = True  # infer content from the strongest features anywhere, too
    kl: float = 0.0  # weight of the inferred codes' distance from N(0, I), in nats
    # steps without it: a price from the start would silence the motion before it is drawn
    kl_start: int = 300
    kl_full: int = 600  # step from which it is charged in full, so that the path learns to run by itself
    # price of the noise along the clip against that of h_0: high, so that the path runs by itself
    innovation: float = 40.0
    innovation_full: int = 900  # step at which that price is reached, from 1 at kl_full
    couplings: int = 0  # of the flows that turn noise into codes as real clips have them
    features: float = 0.0  # weight of D_I's feature distance between real and redrawn frames
    perceptual: float = 0.0  # weight of their distance in features of photographs (train/pretrained.py)
    warm_up: int = 0  # steps with the redrawing alone, before the discriminators join
    lr_warm: float = 1e-3
    categories: int = 0  # of InfoGAN, to be found in clips that have no classes
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what a slip of the keyboard could spoil; the networks check their own sizes."""
        for name, choices in (("critic", CRITICS), ("loss", losses.KINDS), ("norm", NORMS)):
            if getattr(self, name) not in choices:
                raise VidgenError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        check_least(
            self,
            1,
            "length",
            "d_width",
            "v_width",
            "image_frames",
            "time_stride",
            "batch",
            "stride",
            "shrink",
        )
        check_least(
            self,
            0,
            "seed",
            "translate",
            "categories",
            "warm_up",
            "decay",
            "redraw",
            "kl",
            "noise",
            "couplings",
            "perceptual",
        )
        for name in ("image_frames", "redraw_frames"):
            if getattr(self, name) > self.length:
                raise VidgenError(f"{name} is {getattr(self, name)}; a clip has {self.length} frames.")
        if self.critic == "projected" and self.features:
            raise VidgenError("A projected critic has no features of its own: add --features 0.")
        if self.perceptual and not self.redraw:
            raise VidgenError("perceptual compares redrawn clips: give redraw a weight, such as 40.")
        if not self.supervised and (self.conditional or self.redraw):
            raise VidgenError(
                "Without the clips' own categories the discriminators cannot be conditional and clips cannot "
                "be redrawn: add --conditional false --redraw 0, or take the paper preset."
            )
        if self.categories and self.supervised:
            raise VidgenError("Categories to be found go with clips without classes: add --supervised false.")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"bfloat16": True},  # in the precision that pays; --bfloat16 false gives the paper's
    "modern": {
        "content_dim": 48,
        "motion_dim": 12,
        "state_dim": 64,
        "base_width": 48,
        "head": "conv",
        "modulate": True,
        "category_input": "both",
        "d_width": 48,
        "v_width": 48,
        "patch": False,
        "norm": "spectral",
        "noise": 0.0,
        "image_frames": 4,
        "time_stride": 2,
        "differences": True,
        "shrink": 2,
        "conditional": True,
        "batch": 16,
        "loss": "hinge",
        "lr_g": 2e-4,
        "lr_d": 4e-4,
        "beta2": 0.99,
        "weight_decay": 0.0,
        "translate": 3,
        "stride": 1,
        "bfloat16": True,
        "decay": 0.2,
        "redraw": 40.0,
        "kl": 0.01,
        "kl_start": 700,
        "kl_full": 1500,
        "innovation_full": 3000,
        "features": 4.0,
        "warm_up": 4000,
    },
}


class MoCoGANTrainer:
    """One method per part of the step: generate, update_d, update_g."""

    def __init__(
        self, options: Options, source: Source, device: str = "cpu", team: Team | None = None
    ) -> None:
        self.o, self.source, self.device, self.team = options, source, torch.device(device), team or Team()
        self.images = options.batch * options.length
        o, labels = options, options.categories or len(source.categories)
        config = MoCoGANConfig(
            size=o.size,
            content_dim=o.content_dim,
            motion_dim=o.motion_dim,
            state_dim=o.state_dim,
            num_labels=labels,
            category_input=o.category_input,
            base_width=o.base_width,
            head=o.head,
            colours=o.colours,
            sharpness=o.sharpness,
            modulate=o.modulate,
            couplings=o.couplings,
            clip_length=o.length,
        )
        self.before: dict[str, Any] | None = None  # what the weights say that the run began with
        torch.manual_seed(o.seed)
        self.g = self._place(MoCoGAN(config))
        self.d_image, self.d_video = (self._place(d) for d in discriminators(o, labels))
        self.parts: dict[str, torch.nn.Module] = {
            "g": self.g,
            "d_image": self.d_image,
            "d_video": self.d_video,
        }
        if o.redraw:
            self.q_content = self._place(ContentPosterior(o.size, 3, o.content_dim, pooled=o.pool_content))
            self.q_motion = self._place(MotionPosterior(o.size, 3, o.motion_dim, labels))
            self.parts |= {"q_content": self.q_content, "q_motion": self.q_motion}
        self.backbone = None
        if o.perceptual:
            shared = o.critic == "projected"
            self.backbone = self.d_image.frozen if shared else pretrained().to(self.device)
        self.average = EMA(self.g, o.ema)
        self.parts["average"] = self.average.model
        generating = [
            p
            for name in ("g", "q_content", "q_motion")
            if name in self.parts
            for p in self.parts[name].parameters()
        ]
        judging = [*self.d_image.parameters(), *self.d_video.parameters()]
        adam = {"betas": (o.beta1, o.beta2), "weight_decay": o.weight_decay}
        self.opt_g = torch.optim.Adam(generating, o.lr_g, **adam)
        self.opt_d = torch.optim.Adam(judging, o.lr_d, **adam)

    def _place(self, module: torch.nn.Module) -> Any:
        if not self.o.bfloat16:  # the layout pays only in bfloat16
            return module.to(self.device)
        video = isinstance(module, Discriminator) and module.dims == 3
        return module.to(self.device, memory_format=torch.channels_last_3d if video else torch.channels_last)

    def begin(self) -> None:
        """Begin a new run: with a weights file, where the recipe names one."""
        if self.o.start:
            about = self.source.about()
            self.before = begin_with(self.o.start, self.g, self.average.model, about)

    def set_rates(self, index: int, steps: int) -> None:
        """Set the learning rates of step `index` of `steps`."""
        o = self.o
        left = (steps - index) / max(o.decay * steps, 1)
        fall = min(1.0, left)
        for group in self.opt_g.param_groups:
            group["lr"] = (o.lr_warm if o.redraw and index < o.warm_up else o.lr_g) * fall
        for group in self.opt_d.param_groups:
            group["lr"] = o.lr_d * fall

    def kl_weights(self, index: int) -> dict[str, float]:
        """Give the weights of the inferred codes' distances from N(0, I) at step `index`."""
        o = self.o
        weight = o.kl * common.rise(index, o.kl_start, o.kl_full)
        steps = 1 + (o.innovation - 1) * common.rise(index, o.kl_full, o.innovation_full)
        return {"kl_content": weight, "kl_start": weight, "kl_steps": weight * steps}

    def step(self, index: int) -> dict[str, float]:
        """Train one step; returns the losses."""
        o, adversarial = self.o, not self.o.redraw or index >= self.o.warm_up

        def begin(part: int) -> tuple[Batch, dict[str, Any]]:
            draws = np.random.default_rng([o.seed, index, part])
            batch = self.source.batch(draws, self.team.share(o.batch), o.length, o.references)
            batch = batch.to(self.device)
            return batch, self.generate(batch, adversarial)

        updates = [lambda begun: self.update_d(*begun)] if adversarial else []
        updates.append(lambda begun: self.update_g(begun[1], adversarial, self.kl_weights(index)))
        learning = [part for name, part in self.parts.items() if name != "average"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=o.bfloat16):
            log = self.team.alternate(o.seed, index, begin, updates, learning)
        self.average.update(self.g, index)
        return log

    def generate(self, batch: Batch, adversarial: bool) -> dict[str, Any]:
        """Render new clips and, with inference networks, frames of the real clips, in one pass of G_I."""
        o, n, made, latents = self.o, len(batch.video), {}, []
        times = repeat(torch.arange(o.length, device=self.device, dtype=torch.float32), "t -> n t", n=n)
        if adversarial:
            made["label"] = torch.randint(max(self.g.num_labels, 1), (n,), device=self.device)
            codes = (
                torch.randn(n, o.content_dim, device=self.device),
                torch.randn(n, 1 + o.length, o.motion_dim, device=self.device),
            )
            latents.append(self._latents(*codes, times, made["label"]))
        if o.redraw:
            picks = torch.rand(n, o.length, device=self.device).argsort(1)[:, : o.redraw_frames]
            content, motion = self.q_content(batch.references), self.q_motion(batch.video, batch.label)
            start = motion[0][:, 0], motion[1][:, 0]
            steps = motion[0][:, 1:], motion[1][:, 1:]
            drawn_content, drawn_start = draw(*content), draw(*start)
            with torch.autocast(self.device.type, enabled=False):
                content_noise, start_noise = self.g.noise_of(drawn_content, drawn_start, batch.label)
            noise = torch.cat([rearrange(start_noise[0], "n d -> n 1 d"), draw(*steps)], 1)
            latents.append(self._latents(content_noise[0], noise, picks.float(), batch.label))
            made["kl"] = {
                "kl_content": losses.distance_to_prior(drawn_content, content, *content_noise),
                "kl_start": losses.distance_to_prior(drawn_start, start, *start_noise),
                "kl_steps": losses.kl_to_normal(*steps),
            }
            made["still"] = batch.video.mean(1, keepdim=True)
            made["wanted"] = batch.video[torch.arange(n, device=self.device)[:, None], picks]
        frames = self.g.image(
            self._layout(torch.cat([rearrange(part, "n t d -> (n t) d 1 1") for part in latents]))
        )
        if adversarial:
            made["video"] = rearrange(frames[: n * o.length], "(n t) c h w -> n t c h w", n=n)
        if o.redraw:
            made["redrawn"] = rearrange(frames[-n * o.redraw_frames :], "(n f) c h w -> n f c h w", n=n)
        return made

    def _latents(self, content: Tensor, motion: Tensor, times: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return self.g.latents(
                content.float(), motion.float(), times, label if self.g.num_labels else None
            )

    def _layout(self, frames: Tensor) -> Tensor:
        return frames.contiguous(memory_format=torch.channels_last) if self.o.bfloat16 else frames

    def judge(self, video: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Score clips by both discriminators: D_I's logits, D_V's logits, Q's class logits."""
        seen = translate(video, self.o.translate)
        n, frames = len(seen), self.o.image_frames
        picks = torch.rand(n, seen.shape[1], device=seen.device).argsort(1)[:, :frames]
        images = rearrange(
            seen[torch.arange(n, device=seen.device)[:, None], picks], "n f c h w -> (n f) c h w"
        )
        image_logit = self.d_image(self._layout(images), repeat(label, "n -> (n f)", f=frames))[0]
        video_logit, classes = self.d_video(seen, label)
        return image_logit, video_logit, classes

    def update_d(self, batch: Batch, made: dict[str, Any]) -> dict[str, float]:
        """Update D_I, D_V and, on labelled clips, Q."""
        real_i, real_v, classes = self.judge(batch.video, batch.label)
        fake_i, fake_v, _ = self.judge(made["video"].detach(), made["label"])
        loss_i = losses.discriminator_loss(real_i, fake_i, self.o.loss)
        loss_v = losses.discriminator_loss(real_v, fake_v, self.o.loss)
        loss, log = loss_i + loss_v, {"d_image": loss_i.item(), "d_video": loss_v.item()}
        if classes is not None and self.o.supervised:
            known = losses.category_loss(classes, batch.label)
            loss, log = loss + self.o.category_weight * known, log | {"q_real": known.item()}
        self.team.clear(self.opt_d)
        loss.backward()
        self.team.apply(self.opt_d)
        return log

    def update_g(self, made: dict[str, Any], adversarial: bool, prices: dict[str, float]) -> dict[str, float]:
        """Update G_I, R_M and the inference networks; Q learns along where it has no labelled clips
        (InfoGAN).
        """
        o, log = self.o, {}
        loss = torch.zeros((), device=self.device)
        judges = [self.d_image, self.d_video]
        infogan = adversarial and self.g.num_labels > 0 and not o.supervised
        for judge in judges:
            judge.requires_grad_(False)
        if infogan:
            self.d_video.requires_grad_(True)
        if adversarial:
            fake_i, fake_v, classes = self.judge(made["video"], made["label"])
            adv_i, adv_v = losses.generator_loss(fake_i, o.loss), losses.generator_loss(fake_v, o.loss)
            loss, log = adv_i + adv_v, {"g_image": adv_i.item(), "g_video": adv_v.item()}
            if classes is not None:
                asked = losses.category_loss(classes, made["label"])
                loss, log = loss + o.category_weight * asked, log | {"q_fake": asked.item()}
        if o.redraw:
            error = losses.redraw_error(made["redrawn"].float(), made["wanted"], made["still"])
            distance = sum(prices[name] * value for name, value in made["kl"].items())
            loss, log = loss + o.redraw * error + distance, log | {"redraw": error.item()}
            log |= {name: value.item() for name, value in made["kl"].items()}
            if self.backbone is not None:
                apart = perceptual_distance(self.backbone, made["redrawn"], made["wanted"])
                loss, log = loss + o.perceptual * apart, log | {"perceptual": apart.item()}
            if adversarial and o.features:
                pair = [
                    self._layout(rearrange(made[key], "n f c h w -> (n f) c h w"))
                    for key in ("redrawn", "wanted")
                ]
                distance = losses.feature_distance(
                    self.d_image.features(pair[0]), self.d_image.features(pair[1])
                )
                loss, log = loss + o.features * distance, log | {"features": distance.item()}
        self.team.clear(self.opt_g)
        if infogan:
            self._infogan(loss, asked)
        else:
            loss.backward()
        self.team.apply(self.opt_g)
        for judge in judges:
            judge.requires_grad_(True)
        return log

    def _infogan(self, loss: Tensor, asked: Tensor) -> None:
        """Give Q, and the trunk that it shares, the gradient of the category term alone; then the generator
        all of it.
        """
        weights = list(self.d_video.parameters())
        gradients = torch.autograd.grad(
            self.o.category_weight * asked, weights, retain_graph=True, allow_unused=True
        )
        loss.backward(inputs=[p for group in self.opt_g.param_groups for p in group["params"]])
        self.team.clear(self.opt_d)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
        self.team.apply(self.opt_d)

    def state(self) -> dict[str, Any]:
        """Collect all that a resumed run needs."""
        return common.state_of(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take up a state of `state()`."""
        common.load_into(self, state)

    @torch.no_grad()
    def sample(self, folder: Path, index: int) -> None:
        """Write a sheet of clips from fixed codes and, below, real clips over their redrawing."""
        o, rows = self.o, 10
        draws = torch.Generator().manual_seed(1)
        content = torch.randn(rows, o.content_dim, generator=draws).to(self.device)
        motion = torch.randn(rows, 1 + o.length, o.motion_dim, generator=draws).to(self.device)
        label = (torch.arange(rows) * 7 % max(self.g.num_labels, 1)).to(self.device)
        times = repeat(torch.arange(o.length, dtype=torch.float32, device=self.device), "t -> n t", n=rows)
        model = self.average.model
        sheets = [model(content, motion, times, label)]
        if o.redraw:
            batch = self.source.batch(np.random.default_rng([7, 7]), 4, o.length, o.references).to(
                self.device
            )
            inferred, steps = self.q_content(batch.references)[0], self.q_motion(batch.video, batch.label)[0]
            (noise, _), (start, _) = model.noise_of(inferred, steps[:, 0], batch.label)
            steps = torch.cat([rearrange(start, "n d -> n 1 d"), steps[:, 1:]], 1)
            again = model(noise, steps, times[:4], batch.label)
            sheets.append(rearrange(torch.stack([batch.video, again], 1), "n two t c h w -> (n two) t c h w"))
        write_sheet(folder, index, rearrange(torch.cat(sheets), "n t c h w -> (n h) (t w) c"))


def discriminators(options: Options, labels: int) -> tuple[Discriminator | ProjectedImages, Discriminator]:
    """Build D_I and D_V."""
    o, conditional = options, labels if options.conditional else 0
    shared = {"patch": o.patch, "norm": o.norm, "noise": o.noise, "conditional": conditional}
    if o.critic == "projected":
        image = ProjectedImages(o.size, conditional, o.d_width)
    else:
        image = Discriminator(2, o.size, width=o.d_width, **shared)
    video = Discriminator(
        3,
        o.size,
        length=o.length,
        width=o.v_width,
        time_stride=o.time_stride,
        differences=o.differences,
        shrink=o.shrink,
        classes=labels,
        **shared,
    )
    return image, video


@torch.no_grad()
def settled(trainer: MoCoGANTrainer, batches: int) -> MoCoGAN:
    """Copy the averaged generator, with the running statistics of its norms set to those of its own
    weights.
    """
    model, o = copy.deepcopy(trainer.average.model), trainer.o
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    draws = torch.Generator().manual_seed(o.seed)
    times = repeat(torch.arange(o.length, dtype=torch.float32), "t -> n t", n=o.batch).to(trainer.device)
    model.train()
    for _ in range(batches):
        content = torch.randn(o.batch, o.content_dim, generator=draws).to(trainer.device)
        motion = torch.randn(o.batch, 1 + o.length, o.motion_dim, generator=draws).to(trainer.device)
        label = torch.randint(max(model.num_labels, 1), (o.batch,), generator=draws).to(trainer.device)
        model(content, motion, times, label)
    return model.eval()


def export(
    trainer: MoCoGANTrainer,
    path: Path,
    options: dict[str, Any],
    steps: int,
    record: common.Record,
    last: bool,
) -> None:
    """Write the averaged generator as a weights file; last: with statistics of its norms from more
    batches.
    """
    card = common.card(trainer, options, steps, record, trainer.g) | {"data": options["data"]}
    found = {"categories": [f"category {number + 1}" for number in range(trainer.o.categories)]}
    about = trainer.source.about() | (found if trainer.o.categories else {})
    about["title"] = f"MoCoGAN on {about['title']}"
    about = inherited(about, trainer.before)
    save_model(path, settled(trainer, 20 if last else 2), {**about, "card": card})


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Options]:
    """Read the command line."""
    return generators.parse("train.mocogan", __doc__.split("\n")[0], Options, PRESETS, "modern", argv)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return command.run(lambda: generators.train(*parse(argv), MoCoGANTrainer, export))


if __name__ == "__main__":
    sys.exit(main())
