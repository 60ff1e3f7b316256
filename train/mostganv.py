"""Train MoStGAN-V: `python -m train.mostganv --preset small --data PATH --out DIR`. The same command again
resumes.

--data: a clone of the LPC sprite repository, the word `shapes` (our generator), a pack of train.prepare, or a
folder of strips or videos. `paper` is the paper's recipe (Shen et al., CVPR 2023, on StyleGAN-V): a few
frames of each clip, the logistic loss with R1, adaptive augmentation. `small` is for a laptop's processor: 64
px, narrow networks, and codes that inference networks tie to real clips (train/posterior.py), which first
learn alone.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from train import command, common, generators, losses
from train.augment import AdaptiveAugment, mirror
from train.data.sources import Batch, Source
from train.distributed import Team
from train.ema import EMA
from train.mostganv_options import PRESETS, Options
from train.posterior import (
    ContentPosterior,
    FrameReader,
    KnotPosterior,
    PosePosterior,
    draw,
    evaluating,
)
from train.pretrained import perceptual_distance, pretrained
from train.projected import ProjectedDiscriminator
from train.sharing import LEAST, Shared, sharing
from train.sheets import write_sheet
from train.starting import begin_with, inherited
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError
from vidgen.models.clip_discriminator import Discriminator
from vidgen.models.mostganv import MoStGANV, MoStGANVConfig
from vidgen.timecodes import sample_times

ROWS = 10  # of generated clips on a sheet
# What needs several clips in each part of a batch, and how many; of one clip, redrawing teaches no content.
COMPARING = {"redraw": 2, "spread": 2, "consistency": LEAST, "motion_consistency": LEAST}


class MoStGANVTrainer:
    """One method per part of the step: generate, update_d, update_g."""

    def __init__(
        self, options: Options, source: Source, device: str = "cpu", team: Team | None = None
    ) -> None:
        self.o, self.source, self.device, self.team = options, source, torch.device(device), team or Team()
        self.images = options.batch * options.frames
        o, labels = options, len(source.categories)
        if o.flips and not source.mirrors:
            raise VidgenError(f"A mirrored clip of {source.name} is of another category: add --flips false.")
        known = {field.name for field in dataclasses.fields(MoStGANVConfig)}
        own = {name: value for name, value in dataclasses.asdict(o).items() if name in known}
        self.before: dict[str, Any] | None = None  # what the weights say that the run began with
        torch.manual_seed(o.seed)
        self.g = MoStGANV(MoStGANVConfig(**own, num_labels=labels, clip_length=o.length)).to(self.device)
        self._calm()
        self.d = discriminator(o, labels).to(self.device)
        self.backbone = None
        if o.perceptual:
            self.backbone = self.d.frozen if o.critic == "projected" else pretrained().to(self.device)
        self.augment = AdaptiveAugment(o.augment, o.augment_images // self.team.parts).to(self.device)
        self.average = EMA(self.g, 0.5 ** (o.batch / o.ema_images))
        self.parts: dict[str, torch.nn.Module] = {
            "g": self.g,
            "d": self.d,
            "augment": self.augment,
            "average": self.average.model,
        }
        if o.teacher:  # `begin` gives it the weights of the start, a resumed run has them in its state
            self.teacher = copy.deepcopy(self.g).requires_grad_(False)
            self.parts["teacher"] = self.teacher
        flows = [*self.g.content_flow.parameters(), *self.g.knot_flow.parameters()]
        others = [weight for weight in self.g.parameters() if all(weight is not flow for flow in flows)]
        making = [{"params": others, "betas": (o.beta1, o.beta2)}]
        if o.redraw:
            self.q_content = ContentPosterior(o.size, 3, o.content_dim, standard=True).to(self.device)
            clocks = 2.0 * o.motion_distance * 2.0 ** torch.arange(4)  # the redrawn clips begin at codes
            knots = self.g.motion_length(o.length - 1)
            self.q_frames = FrameReader(o.size, 3).to(self.device)
            self.q_motion = KnotPosterior(o.length, knots, o.motion_dim, labels, clocks).to(self.device)
            inferring = {"q_content": self.q_content, "q_frames": self.q_frames, "q_motion": self.q_motion}
            if o.poses:
                self.q_poses = PosePosterior(o.poses, o.code_dim, labels, o.poses_still).to(self.device)
                inferring["q_poses"] = self.q_poses
            self.parts |= inferring
            weights = [weight for part in inferring.values() for weight in part.parameters()] + flows
            making.append({"params": weights, "betas": (0.9, 0.99)})
        self.opt_g = torch.optim.Adam(making, o.lr)
        lazy = o.r1_every / (o.r1_every + 1) if o.r1 else 1.0  # R1 has steps of its own in StyleGAN2
        self.lr_d = (o.lr_d or o.lr) * lazy
        self.opt_d = torch.optim.Adam(self.d.parameters(), self.lr_d, betas=(o.beta1**lazy, o.beta2**lazy))

    @torch.no_grad()
    def _calm(self) -> None:
        """Start quietly: under StyleGAN2's random scales and colours, a few hundred steps see only noise."""
        for layer in (*self.g.image.convs, *self.g.image.colours):
            layer.affine.weight *= self.o.style_start
        if self.o.redraw or self.o.critic == "projected":  # grey: what photographs taught starts from there
            for layer in self.g.image.colours:
                layer.weight.zero_()

    def begin(self) -> None:
        """Begin a new run: with a weights file, where the recipe names one."""
        if self.o.start:
            about = self.source.about()
            self.before = begin_with(self.o.start, self.g, self.average.model, about)
        if self.o.teacher:
            self.teacher.load_state_dict(self.g.state_dict())

    def set_rates(self, index: int, steps: int) -> None:
        """Set the learning rates of step `index` of `steps`."""
        o = self.o
        fall = min(1.0, (steps - index) / max(o.decay * steps, 1))
        warming = self._warming(index)
        rates = [o.lr_warm if warming else o.lr, o.lr_q]
        for group, rate in zip(self.opt_g.param_groups, rates, strict=False):
            group["lr"] = rate * fall
        # Without an opponent a long memory of the gradient helps.
        self.opt_g.param_groups[0]["betas"] = (0.9 if warming else o.beta1, o.beta2)
        for group in self.opt_d.param_groups:
            group["lr"] = self.lr_d * fall

    @property
    def fewest(self) -> int:
        """Count the clips that a part of the batch must have."""
        return max((least for name, least in COMPARING.items() if getattr(self.o, name)), default=1)

    def _check_part(self) -> None:
        if (clips := self.team.share(self.o.batch)) < self.fewest:
            names = [name for name, least in COMPARING.items() if getattr(self.o, name) and clips < least]
            options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise VidgenError(
                f"A part of {clips} clip(s) is too small for {options}: choose parts of {self.fewest} clips "
                "or more (--batch, --accumulate, processes), or set "
                f"{'them' if len(names) > 1 else 'it'} to 0."
            )

    def _warming(self, index: int) -> bool:
        return bool(self.o.redraw) and index < self.o.warm_up

    def step(self, index: int) -> dict[str, float]:
        """Train one step; returns the losses."""
        self._check_part()
        o, adversarial = self.o, not self._warming(index)
        prices = self.prices(index)
        taught = 1 - common.rise(index, o.poses_start, o.poses_end) if o.poses else 0.0

        def begin(part: int) -> tuple[Batch, dict[str, Any]]:
            rng, n = np.random.default_rng([o.seed, index, part]), self.team.share(o.batch)
            batch = self._batch(rng, n)
            if o.flips:
                which = torch.from_numpy(rng.random(n) < 0.5)
                batch = Batch(mirror(batch.video, which), batch.label, mirror(batch.references, which))
            batch = batch.to(self.device)
            return batch, self.generate(batch, adversarial, taught)

        updates = [lambda begun: self.update_d(*begun, index)] if adversarial else []
        updates.append(lambda begun: self.update_g(begun[1], adversarial, prices))
        learning = [part for name, part in self.parts.items() if name not in ("average", "teacher")]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=o.bfloat16):
            log = self.team.alternate(o.seed, index, begin, updates, learning)
        self.average.update(self.g, index)
        return log

    def _batch(self, rng: np.random.Generator, n: int) -> Batch:
        """Draw n real clips, with references from the subject's clips or from the clip itself."""
        o = self.o
        if not o.own_references:
            return self.source.batch(rng, n, o.length, o.references)
        batch = self.source.batch(rng, n, o.length, 1)
        seen = torch.from_numpy(rng.random((n, o.length)).argsort(1)[:, : o.references])
        return Batch(batch.video, batch.label, batch.video[torch.arange(n)[:, None], seen])

    def prices(self, index: int) -> dict[str, float]:
        """Give the weights of the inferred codes' distances from N(0, I) at step `index`.

        The content's has no step without it: its length means nothing to the generator, and would grow.
        """
        o = self.o
        starts = {"kl_content": 0, "kl_motion": o.kl_start, "kl_poses": 0}
        return {name: o.kl * common.rise(index, start, o.kl_full) for name, start in starts.items()}

    def generate(self, batch: Batch, adversarial: bool, taught: float = 0.0) -> dict[str, Any]:
        """Render a few frames of new clips and, with inference networks, of the real ones, in one pass.

        taught: share of the real clips whose motion codes are inferred frame by frame.
        """
        o, n, made, points = self.o, len(batch.video), {}, []
        judged = adversarial and o.judge_redrawn
        if adversarial:
            times = sample_times(n, o.frames, longest=o.longest, length=o.length + o.reach, fractional=True)
            label = torch.randint(max(self.g.num_labels, 1), (n,))
            knots = self.g.motion_length(o.length - 1 + o.reach)
            noise = torch.randn(n, o.content_dim), torch.randn(n, knots, o.motion_dim)
            shared = sharing(n, o.consistency > 0, o.motion_consistency > 0)
            noise = noise[0][shared.content], noise[1][shared.motion]
            times, label = times[shared.motion], label[shared.motion]
            made["times"], made["label"] = times.to(self.device), label.to(self.device)
            codes = *(part.to(self.device) for part in noise), made["times"], made["label"]
            points.append(self._latents(*codes))
        if o.redraw:
            content, motion, first, seen = self._inferred(batch)
            picks = self._picks(n, judged).to(self.device)
            which = torch.arange(n, device=self.device)[:, None], picks
            drawn, made["kl"] = self._noise(content, motion, batch.label)
            times = torch.arange(o.length, device=self.device) + o.motion_distance * first[:, None].float()
            point = self._latents(drawn[0], self._placed(drawn[1], first), times, batch.label)
            if taught:
                point = self._taught(point, seen, batch.label, taught, made)
            points.append(point[which])
            made["still"] = batch.video.mean(1, keepdim=True)
            made["wanted"] = batch.video[which]
        self.g.track(torch.cat([part[:, 0, : o.style_dim] for part in points]).detach())
        frames = torch.cat([rearrange(part, "n t d -> (n t) d 1 1") for part in points])
        if o.diversity:
            frames, made["diversity"] = self.g.image(frames, diversity=True)
        else:
            frames = self.g.image(frames)
        if adversarial:
            made["video"] = rearrange(frames[: n * o.frames], "(n t) c h w -> n t c h w", n=n)
            made |= self._compared(batch, made["video"], made["times"], shared)
            if o.teacher:
                made["teacher"] = losses.teacher_loss(made["video"], self._shown(*codes), o.teacher_size)
        if o.redraw:
            made["redrawn"] = rearrange(frames[-picks.numel() :], "(n f) c h w -> n f c h w", n=n)
        if judged:
            more = {"video": made["redrawn"], "times": picks, "label": batch.label}
            made |= {name: torch.cat([made[name], value]) for name, value in more.items()}
        return made

    def _compared(self, batch: Batch, video: Tensor, times: Tensor, shared: Shared) -> dict[str, Tensor]:
        """Compare new clips [n, t, c, h, w] with each other and with real ones, as the recipe asks."""
        o, found = self.o, {}
        content, motion = shared.content.to(self.device), shared.motion.to(self.device)
        if o.spread:
            found["spread"] = losses.collapse_loss(video[content.unique(), 0], batch.video[:, 0])
        if o.energy:
            found["energy"] = losses.energy_loss(video, self._as_far_apart(batch, times), times)
        if o.consistency:
            found["consistency"] = losses.consistency_loss(losses.appearance(video), content, motion)
        if o.motion_consistency:
            found["motion_consistency"] = losses.consistency_loss(losses.movement(video), motion, content)
        return found

    def _taught(
        self, point: Tensor, seen: Tensor, label: Tensor, share: float, made: dict[str, Any]
    ) -> Tensor:
        """Put motion codes inferred frame by frame into the points [n, t, d] of a share of the clips."""
        codes, moments = self.q_poses(seen, label)
        style, walked = point.split([self.o.style_dim, self.o.code_dim], -1)
        made["kl"]["kl_poses"] = losses.kl_to_normal(*moments)
        made["match"] = (walked - codes).square().mean()
        chosen = torch.rand(len(point), 1, 1).to(self.device) < share
        return torch.cat([style, torch.where(chosen, codes, walked)], -1)

    def _picks(self, n: int, judged: bool) -> Tensor:
        """Pick the frames of real clips that are redrawn, [n, f]: as real clips are judged, or any."""
        o = self.o
        if judged:
            return sample_times(n, o.frames, longest=o.longest, length=o.length).long()
        return torch.rand(n, o.length).argsort(1)[:, : o.redraw_frames]

    def _inferred(self, batch: Batch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor, Tensor]:
        """Infer moments of the content and of the knots, for clips that begin at the motion codes drawn last
        but one, [n]; last comes what was seen in the frames.
        """
        codes = 1 + self.o.redraw_reach // self.o.motion_distance
        first = torch.randint(codes, (len(batch.video),)).to(self.device)
        start, seen = self.o.motion_distance * first.float(), self.q_frames(batch.video)
        return self.q_content(batch.references), self.q_motion(seen, start, batch.label), first, seen

    def _noise(
        self, content: tuple[Tensor, Tensor], motion: tuple[Tensor, Tensor], label: Tensor
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Draw codes of the moments of q, and give the noise behind them, [n, d] and [n, l, d], and how far
        q is from the prior.
        """
        drawn = draw(*content), draw(*motion)
        if not self.o.couplings:
            apart = losses.kl_to_normal(*content), losses.kl_to_normal(*motion)
            return drawn, dict(zip(("kl_content", "kl_motion"), apart, strict=True))
        with torch.autocast(self.device.type, enabled=False):
            behind_content, behind_motion = self.g.noise_of(*drawn, label if self.g.num_labels else None)
        flat = [part.flatten(1) for part in (drawn[1], *motion, behind_motion[0])]
        return (behind_content[0], behind_motion[0]), {
            "kl_content": losses.distance_to_prior(drawn[0], content, *behind_content),
            "kl_motion": losses.distance_to_prior(flat[0], (flat[1], flat[2]), flat[3], behind_motion[1]),
        }

    def _placed(self, knots: Tensor, first: Tensor) -> Tensor:
        """Put each clip's knots [n, l, d] at row `first` [n] of a longer motion; no frame reads the other
        rows.
        """
        if not self.o.redraw_reach:
            return knots
        n, count, d = knots.shape
        longer = knots.new_zeros(n, self.g.motion_length(self.o.length - 1 + self.o.redraw_reach), d)
        rows = first[:, None] + torch.arange(count, device=self.device)
        return longer.scatter(1, repeat(rows, "n l -> n l d", d=d), knots)

    def _latents(self, content: Tensor, motion: Tensor, times: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return self.g.latents(
                content.float(), motion.float(), times.float(), label if self.g.num_labels else None
            )

    def _as_far_apart(self, batch: Batch, times: Tensor) -> Tensor:
        """Pick real frames whose distances are those of `times` [n, t]: [n, t, c, h, w]."""
        apart = (times - times[:, :1]).round().long()
        room = self.o.length - apart[:, -1:]
        first = (torch.rand(len(times), 1).to(self.device) * room).long()
        return batch.video[torch.arange(len(times), device=self.device)[:, None], first + apart]

    @torch.no_grad()
    def _shown(self, content: Tensor, motion: Tensor, times: Tensor, label: Tensor) -> Tensor:
        """Draw what the weights that the training began with make of codes."""
        with torch.autocast(self.device.type, enabled=False):
            points = self.teacher.latents(content, motion, times, label if self.g.num_labels else None)
        frames = self.teacher.image(rearrange(points, "n t d -> (n t) d 1 1"))
        return rearrange(frames, "(n t) c h w -> n t c h w", n=len(content))

    def judge(self, video: Tensor, times: Tensor, label: Tensor) -> Tensor:
        """Score clips after augmentation: logits [n], of a projected critic [n, places]."""
        seen = self.augment(video) if self.o.augment else video
        return self.d(seen, times, label if self.g.num_labels else None).float()

    def update_d(self, batch: Batch, made: dict[str, Any], index: int) -> dict[str, float]:
        """Update the discriminator; every few steps with R1, which is weighed up for the steps without it."""
        o, n = self.o, len(batch.video)
        picks = sample_times(n, o.frames, longest=o.longest, length=o.length).to(self.device)
        video = batch.video[torch.arange(n, device=self.device)[:, None], picks.long()]
        real = self.judge(video, picks, batch.label)
        fake = self.judge(made["video"].detach(), made["times"], made["label"])
        loss = losses.discriminator_loss(real, fake, self.o.loss)
        log = {"d": loss.item(), "real": real.mean().item(), "fake": fake.mean().item()}
        if o.r1 and index % o.r1_every == 0:
            with torch.autocast(self.device.type, enabled=False):
                seen = (self.augment(video) if o.augment else video).float().requires_grad_()
                logits = self.d(seen, picks, batch.label if self.g.num_labels else None)
                slope = losses.gradient_penalty(logits, seen)
            loss, log = loss + 0.5 * o.r1 * o.r1_every * slope, log | {"r1": slope.item()}
        self.team.clear(self.opt_d)
        loss.backward()
        self.team.apply(self.opt_d)
        if o.augment:
            self.augment.adapt(real)
            log["chance"] = float(self.augment.chance)
        return log

    def update_g(self, made: dict[str, Any], adversarial: bool, prices: dict[str, float]) -> dict[str, float]:
        """Update the generator and the inference networks."""
        o, log, loss = self.o, {}, torch.zeros((), device=self.device)
        self.d.requires_grad_(False)
        if adversarial:
            loss = losses.generator_loss(self.judge(made["video"], made["times"], made["label"]), self.o.loss)
            log["g"] = loss.item()
        if o.redraw:
            error = losses.redraw_error(made["redrawn"].float(), made["wanted"], made["still"])
            distance = sum(prices[name] * value for name, value in made["kl"].items())
            loss = loss + o.redraw * error + distance
            if "match" in made:
                loss, log = loss + o.poses_match * made["match"], log | {"match": made["match"].item()}
            log |= {"redraw": error.item()} | {name: value.item() for name, value in made["kl"].items()}
            if self.backbone is not None:
                apart = perceptual_distance(self.backbone, made["redrawn"], made["wanted"])
                loss, log = loss + o.perceptual * apart, log | {"perceptual": apart.item()}
            if adversarial and o.features:
                pair = (rearrange(made[key], "n f c h w -> (n f) c h w") for key in ("redrawn", "wanted"))
                apart = losses.feature_distance(*(self.d.features(frames) for frames in pair))
                loss, log = loss + o.features * apart, log | {"features": apart.item()}
        for name in ("spread", "energy", "consistency", "motion_consistency", "teacher"):
            if adversarial and (weight := getattr(o, name)):
                loss, log = loss + weight * made[name], log | {name: made[name].item()}
        if o.diversity:
            loss, log = loss + o.diversity * made["diversity"], log | {"diversity": made["diversity"].item()}
        self.team.clear(self.opt_g)
        loss.backward()
        self.team.apply(self.opt_g)
        self.d.requires_grad_(True)
        return log

    def state(self) -> dict[str, Any]:
        """Collect all that a resumed run needs."""
        return common.state_of(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take up a state of `state()`."""
        if self.o.teacher and "teacher" not in state:
            raise VidgenError(
                "This run began without a teacher: leave --teacher out, or choose another --out."
            )
        if not state["opt_d"]["state"]:  # it has not trained yet, and --revise may choose another
            own = common.state_of(self)
            state = state | {name: own[name] for name in ("d", "opt_d")}
        common.load_into(self, state)

    @torch.no_grad()
    def sample(self, folder: Path, index: int) -> None:
        """Write a sheet of clips from fixed codes and, below, real clips over their redrawing."""
        o, model = self.o, self.average.model
        draws = torch.Generator().manual_seed(1)
        content = torch.randn(ROWS, o.content_dim, generator=draws).to(self.device)
        knots = model.motion_length(o.length - 1)
        motion = torch.randn(ROWS, knots, o.motion_dim, generator=draws).to(self.device)
        label = (torch.arange(ROWS) * 7 % max(model.num_labels, 1)).to(self.device)
        times = repeat(torch.arange(o.length, dtype=torch.float32), "t -> n t", n=ROWS).to(self.device)
        sheets = [model(content, motion, times, label if model.num_labels else None)]
        if o.redraw:
            batch = self._batch(np.random.default_rng([7, 7]), 4).to(self.device)
            label = batch.label if model.num_labels else None
            start = torch.zeros(4, device=self.device)
            with evaluating(self.q_content, self.q_frames, self.q_motion):
                codes = (
                    self.q_content(batch.references)[0],
                    self.q_motion(self.q_frames(batch.video), start, batch.label)[0],
                )
            (content, _), (motion, _) = model.noise_of(*codes, label)
            again = model(content, motion, times[:4], label)
            sheets.append(rearrange(torch.stack([batch.video, again], 1), "n two t c h w -> (n two) t c h w"))
        write_sheet(folder, index, rearrange(torch.cat(sheets), "n t c h w -> (n h) (t w) c"))


def discriminator(options: Options, labels: int) -> Discriminator | ProjectedDiscriminator:
    """Build the discriminator of a recipe."""
    o, told = options, {"frames": options.frames, "num_labels": labels, "longest": options.longest}
    if o.critic == "projected":
        return ProjectedDiscriminator(o.size, width=o.d_base_width, **told)
    widths = {"base_width": o.d_base_width, "max_width": o.d_max_width, "fold": o.d_fold}
    return Discriminator(o.size, differences=o.differences, **widths, **told)


def export(
    trainer: MoStGANVTrainer,
    path: Path,
    options: dict[str, Any],
    steps: int,
    record: common.Record,
    _last: bool,
) -> None:
    """Write the averaged generator as a weights file."""
    own = {"trainer": "mostganv", "data": options["data"]}
    card = common.card(trainer, options, steps, record, trainer.g) | own
    # What a canvas is drawn from is how w differs from its mean: truncated, it would fade away.
    about = trainer.source.about() | {"truncation": not trainer.o.canvas}
    about["title"] = f"MoStGAN-V on {about['title']}"
    about = inherited(about, trainer.before)
    save_model(path, trainer.average.model, {**about, "card": card})


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Options]:
    """Read the command line."""
    return generators.parse("train.mostganv", __doc__.split("\n")[0], Options, PRESETS, "small", argv)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return command.run(lambda: generators.train(*parse(argv), MoStGANVTrainer, export))


if __name__ == "__main__":
    sys.exit(main())
