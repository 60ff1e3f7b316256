"""Train Recycle-GAN: `python -m train.recyclegan --a PATH --b PATH --out DIR`. The same command resumes.

--a, --b: the two streams, X and Y: a video, a folder of videos, frames or three-frame strips, a pack of
train.prepare, or avatars:NAME. Videos and folders are cropped to the largest face, which is followed, unless
--crop says none (for clouds, flowers, emoji); --crop-a and --crop-b say it for one of them.

`paper` is the paper's recipe; `modern` is smaller and faster, keeps an average of the weights, changes the
light of the input, and adds noise before the way back, so that nothing can be hidden in a translated frame.
A step computes each translated frame once, for all losses.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from train import command, common
from train.data.sources import to_video
from train.data.triplets import CROPS, Triplets, open_triplets
from train.distributed import Team, joined, part_seed
from train.ema import EMA
from train.losses import discriminator_loss, generator_loss
from train.projected import ProjectedImages
from train.sheets import write_sheet
from train.starting import begin_with, inherited
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError, check_least
from vidgen.models.recyclegan import PatchDiscriminator, Predictor, RecycleGAN, RecycleGANConfig, generator

NOISE = 0.004  # of a blurred change of brightness, of 2 from black to white
LOSSES = ("recycle", "recycle+cycle", "cycle")
EXTRAS = ("reversible",)  # a file with or without the way back may be the start of either


@dataclass(frozen=True)
class Options:
    """Hold a training recipe; the defaults are the paper's, `PRESETS` has the others."""

    # networks
    size: int = 256
    generator: str = "resnet"
    width: int = 64
    blocks: int = 9
    upsampling: str = "transposed"
    predictor: str = "stacked"
    predictor_width: int = 64
    residual: bool = False
    d_width: int = 64
    d_layers: int = 3
    projected: float = 0.0  # weight of further discriminators, of frozen features (train/projected.py)
    start: str = ""  # a weights file of the same networks, to begin with
    # losses, L1 throughout
    loss: str = "recycle"  # "recycle", "recycle+cycle" (the authors' ReCycle), "cycle" (CycleGAN)
    recurrent: float = 10.0
    recycle: float = 10.0
    cycle: float = 10.0
    identity: float = 5.0
    motion: float = 0.0  # weight of the disagreement of what changes in the face from frame to frame
    # optimisation
    batch: int = 1
    lr: float = 2e-4
    beta1: float = 0.5
    pool: int = 50  # generated frames that the discriminators see again
    fps: float = 12.5  # of the triplets, at most
    flip: bool = True
    jitter: float = 0.0  # of the light of X
    emphasis: float = 0.0  # extra weight of pixels that move, in the losses on the way back
    return_noise: float = 0.0  # standard deviation, on translated frames before the way back
    ema: float = 0.0
    bfloat16: bool = False
    reversible: bool = False  # the weights file gets G_X too
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what a slip of the keyboard could spoil; the networks check their own sizes."""
        if self.loss not in LOSSES:
            raise VidgenError(f"loss is {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        check_least(self, 1, "batch", "d_width")
        check_least(
            self,
            0,
            "recurrent",
            "recycle",
            "cycle",
            "identity",
            "motion",
            "pool",
            "jitter",
            "emphasis",
            "return_noise",
            "projected",
            "seed",
        )


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "size": 128,
        "width": 16,
        "blocks": 6,
        "upsampling": "resize",
        "predictor_width": 12,
        "residual": True,
        "d_width": 32,
        "loss": "recycle+cycle",
        "recycle": 5.0,
        "cycle": 2.5,
        "identity": 0.0,
        "jitter": 0.2,
        "motion": 1.0,
        "return_noise": 0.05,
        "ema": 0.995,
        "bfloat16": True,
    },
}


class ImagePool:
    """The last generated frames: each new one is kept, and half of the time an old one is given in its place
    (Shrivastava et al. 2017).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.frames: list[Tensor] = []

    def swap(self, frames: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """Exchange frames [n, c, h, w], detached, with the pool's; draws: torch's global ones without."""
        given = []
        for frame in frames.detach():
            if len(self.frames) < self.size:
                self.frames.append(frame.clone())
                given.append(frame)
            elif self.size and torch.rand((), generator=draws) < 0.5:
                index = int(torch.randint(self.size, (), generator=draws))
                given.append(self.frames[index])
                self.frames[index] = frame.clone()
            else:
                given.append(frame)
        return torch.stack(given)


class Side:
    """What one domain has: the generator into it, its predictor, its discriminator and its pool."""

    def __init__(self, options: Options, config: RecycleGANConfig, device: torch.device) -> None:
        self.g, self.p = generator(config).to(device), Predictor(config).to(device)
        self.d = PatchDiscriminator(config.channels, options.d_width, options.d_layers).to(device)
        for network in (self.g, self.p, self.d):
            network.apply(_initial)
        self.projected: ProjectedImages | None = None
        if options.projected:
            self.projected = ProjectedImages(config.size, deviation=False).to(device)
        self.pool = ImagePool(options.pool)

    def parts(self) -> dict[str, torch.nn.Module]:
        """Name the networks."""
        further = {} if self.projected is None else {"projected": self.projected}
        return {"g": self.g, "p": self.p, "d": self.d, **further}

    def discriminators(self) -> list[torch.nn.Module]:
        """List the discriminators."""
        return [self.d] if self.projected is None else [self.d, self.projected]


def _initial(layer: torch.nn.Module) -> None:
    if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
        torch.nn.init.normal_(layer.weight, 0, 0.02)


class RecycleGANTrainer:
    """One method per part of the step: translate, update_g, update_d."""

    def __init__(
        self, options: Options, x: Triplets, y: Triplets, device: str = "cpu", team: Team | None = None
    ) -> None:
        self.o, self.streams, self.device = options, {"x": x, "y": y}, torch.device(device)
        self.team, self.images = team or Team(), 6 * options.batch  # two triplets
        o = options
        self.config = RecycleGANConfig(
            size=o.size,
            generator=o.generator,
            width=o.width,
            blocks=o.blocks,
            upsampling=o.upsampling,
            predictor=o.predictor,
            predictor_width=o.predictor_width,
            residual=o.residual,
            reversible=o.reversible,
        )
        self.before: dict[str, Any] | None = None  # what the weights say that the run began with
        torch.manual_seed(o.seed)
        self.sides = {name: Side(o, self.config, self.device) for name in ("x", "y")}
        self.average = EMA(self.translator(), o.ema)
        making = [p for side in self.sides.values() for part in (side.g, side.p) for p in part.parameters()]
        judging = [p for side in self.sides.values() for d in side.discriminators() for p in d.parameters()]
        self.opt_g = torch.optim.Adam(making, o.lr, (o.beta1, 0.999))
        self.opt_d = torch.optim.Adam(judging, o.lr, (o.beta1, 0.999))

    def translator(self) -> RecycleGAN:
        """Put the networks for use together; shares their weights."""
        model = RecycleGAN(self.config).to(self.device)
        model.forth, model.predictor = self.sides["y"].g, self.sides["y"].p
        if self.o.reversible:
            model.reverse = self.sides["x"].g
        return model

    def begin(self) -> None:
        """Begin a new run: with a weights file, where the recipe names one."""
        if self.o.start:
            self.before = begin_with(self.o.start, self.translator(), self.average.model, {}, EXTRAS)

    def set_rates(self, index: int, steps: int) -> None:
        """Set the learning rates of step `index` of `steps`: constant for a half, then linear to zero."""
        rate = self.o.lr * min(1.0, 2 * (steps - index) / steps)
        for optimizer in (self.opt_g, self.opt_d):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self, index: int) -> dict[str, float]:
        """Train one step; returns the losses."""
        o = self.o

        def begin(part: int) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
            draws, n = np.random.default_rng([o.seed, index, part]), self.team.share(o.batch)
            real = {
                "x": self.streams["x"].batch(draws, n, o.flip, o.jitter).to(self.device),
                "y": self.streams["y"].batch(draws, n, o.flip).to(self.device),
            }
            return real, {"y": self.translate(real, "x", "y"), "x": self.translate(real, "y", "x")}

        def update(begun: tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]) -> dict[str, float]:
            return self.update_g(begun[1]) | self.update_d(*begun, index)

        networks = [part for side in self.sides.values() for part in side.parts().values()]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=o.bfloat16):
            log = self.team.alternate(o.seed, index, begin, [update], networks)
        if o.ema:
            self.average.update(self.translator(), index)
        return log

    def translate(self, real: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
        """Compute all frames that come of one domain's triplet, and their L1 errors; each network runs once
        or twice.

        frames [n, 3, c, h, w]: both translated ones and, unless the loss is "cycle", the predicted third.
        """
        o, there, here = self.o, self.sides[target], self.sides[source]
        past, after, n = real[source][:, :2], real[source][:, 2], len(real[source])
        given = [rearrange(past, "n two c h w -> (n two) c h w")]
        if o.identity:
            given.append(real[target][:, 0])
        drawn = there.g(torch.cat(given))
        pair = rearrange(drawn[: 2 * n], "(n two) c h w -> n two c h w", n=n)
        made = {"identity": _l1(drawn[2 * n :], real[target][:, 0])} if o.identity else {}
        returning = []
        if o.motion:
            made["motion"] = motion_disagreement(past, pair)
        made["frames"] = pair
        if o.loss != "cycle":
            made["recurrent"] = _l1(here.p(past), after)
            ahead = there.p(pair)
            made["frames"] = torch.cat([pair, ahead[:, None]], 1)
            returning.append(ahead)
        if o.loss != "recycle":
            returning.append(drawn[: 2 * n])
        back = here.g(self._noisy(torch.cat(returning)))
        weight = self._weight(real[source])
        if o.loss != "cycle":
            made["recycle"] = _l1(back[:n], after, weight)
        if o.loss != "recycle":
            made["cycle"] = _l1(back[-2 * n :], given[0], repeat(weight, "n ... -> (n two) ...", two=2))
        return made

    def _weight(self, video: Tensor) -> Tensor:
        """Weigh the pixels of triplets by how much they move: [n, t, c, h, w] -> [n, 1, h, w], mean 1.

        A mouth is a few pixels, and would otherwise be left out in favour of the background.
        """
        moves = (video.amax(1) - video.amin(1)).mean(1, keepdim=True)
        weight = 1 + self.o.emphasis * moves
        return weight / weight.mean((2, 3), keepdim=True)

    def _noisy(self, frames: Tensor) -> Tensor:
        if not self.o.return_noise:
            return frames
        return frames + self.o.return_noise * torch.randn(frames.shape, device=frames.device)

    def update_g(self, made: dict[str, dict[str, Tensor]]) -> dict[str, float]:
        """Update both generators and both predictors."""
        log: dict[str, float] = {}
        total = torch.zeros((), device=self.device)
        for name, side in self.sides.items():
            for d in side.discriminators():
                d.requires_grad_(False)
            fooled = side.d(_flat(made[name]["frames"])).float()
            losses = {"g": (fooled - 1).square().mean()}
            total = total + losses["g"]
            if side.projected is not None:
                losses["projected"] = generator_loss(side.projected(_flat(made[name]["frames"]))[0], "hinge")
                total = total + self.o.projected * losses["projected"]
            for kind in ("recurrent", "recycle", "cycle", "identity", "motion"):
                if kind in made[name]:
                    losses[kind] = made[name][kind]
                    total = total + getattr(self.o, kind) * made[name][kind]
            log |= {f"{kind}_{name}": loss.item() for kind, loss in losses.items()}
        self.team.clear(self.opt_g)
        total.backward()
        self.team.apply(self.opt_g)
        for side in self.sides.values():
            for d in side.discriminators():
                d.requires_grad_(True)
        return log

    def update_d(
        self, real: dict[str, Tensor], made: dict[str, dict[str, Tensor]], index: int
    ) -> dict[str, float]:
        """Update both discriminators: least squares (Mao et al. 2017), on frames from the pools."""
        log, total = {}, torch.zeros((), device=self.device)
        for name, side in self.sides.items():
            frames = made[name]["frames"]
            fake = self._swapped(side.pool, _flat(frames).detach(), index)
            true = _flat(real[name][:, : frames.shape[1]])
            logits = side.d(torch.cat([true, fake.to(true.dtype)])).float()
            loss = 0.5 * ((logits[: len(true)] - 1).square().mean() + logits[len(true) :].square().mean())
            total, log = total + loss, log | {f"d_{name}": loss.item()}
            if side.projected is not None:
                told = discriminator_loss(side.projected(true)[0], side.projected(fake)[0], "hinge")
                total, log = total + told, log | {f"d_projected_{name}": told.item()}
        self.team.clear(self.opt_d)
        total.backward()
        self.team.apply(self.opt_d)
        return log

    def _swapped(self, pool: ImagePool, frames: Tensor, index: int) -> Tensor:
        """Exchange frames [n, c, h, w] with a pool that sees all parts of the batch in turn."""
        given = {}
        for part, each in self.team.gathered(frames).items():
            draws = torch.Generator().manual_seed(part_seed(self.o.seed, index, part))
            given[part] = pool.swap(each, draws)
        return given[self.team.part]

    def state(self) -> dict[str, Any]:
        """Collect all that a resumed run needs."""
        kept: dict[str, Any] = {"average": self.average.model.state_dict()}
        for name, side in self.sides.items():
            kept |= {f"{part}_{name}": network.state_dict() for part, network in side.parts().items()}
            kept[f"pool_{name}"] = side.pool.frames
        return kept | {
            "opt_g": self.opt_g.state_dict(),
            "opt_d": self.opt_d.state_dict(),
            "before": self.before,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up a state of `state()`."""
        self.average.model.load_state_dict(state["average"])
        for name, side in self.sides.items():
            for part, network in side.parts().items():
                network.load_state_dict(state[f"{part}_{name}"])
            side.pool.frames = [frame.to(self.device) for frame in state[f"pool_{name}"]]
        common.load_optimisers(self, state)
        self.before = state.get("before")

    def model(self) -> RecycleGAN:
        """Give the translator for use: the average, where one is kept."""
        return (self.average.model if self.o.ema else self.translator()).eval()

    @torch.no_grad()
    def sample(self, folder: Path, index: int) -> None:
        """Write a sheet: above frames of X, below their translation; the third of each is predicted."""
        real = to_video(self.streams["x"].frames(np.random.default_rng(7), 8)).to(self.device)
        model = self.model()
        made = model(real[:, :2])
        made = torch.cat([made, model.predict(made)[:, None]], 1)
        sheet = rearrange(torch.stack([real, made], 1), "(r n) two t c h w -> (r two h) (n t w) c", r=2)
        write_sheet(folder, index, sheet)


def _l1(drawn: Tensor, wanted: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    return ((drawn.float() - wanted).abs() * weight).mean()


def motion_disagreement(source: Tensor, drawn: Tensor) -> Tensor:
    """Score how differently the light of the face changes between two frames: [n, 2, c, h, w] each -> 0
    (alike) to 2 (opposite).

    One less the cosine of the blurred changes of brightness, in the middle of the picture, where a mouth that
    opens turns darker in either domain. Changes too small to tell from noise count little.
    """
    side, blur = source.shape[-1], max(source.shape[-1] // 32, 1)
    rows = torch.linspace(0, 1, side, device=source.device)
    face = ((rows[:, None] - 0.55) / 0.3).square() + ((rows[None] - 0.5) / 0.25).square()
    changes = [
        F.avg_pool2d((video[:, 1].float() - video[:, 0].float()).mean(1, keepdim=True), 2 * blur, blur)
        for video in (source, drawn)
    ]
    inside = F.avg_pool2d((-face).exp()[None, None], 2 * blur, blur)
    one, two = (rearrange(change * inside, "n 1 h w -> n (h w)") for change in changes)
    alike = (one * two).sum(1) / (one.norm(dim=1) * two.norm(dim=1) + one.shape[1] * NOISE**2)
    return (1 - alike).mean()


def _flat(video: Tensor) -> Tensor:
    return rearrange(video, "n t c h w -> (n t) c h w")


def export(
    trainer: RecycleGANTrainer, path: Path, options: dict[str, Any], steps: int, record: common.Record
) -> None:
    """Write the translator as a weights file."""
    x, y = trainer.streams["x"].about, trainer.streams["y"].about
    own = {"data": options["a"], "target": options["b"]}
    card = common.card(trainer, options, steps, record, trainer.translator()) | own
    about = {
        "title": f"Recycle-GAN: {x['title']} to {y['title']}",
        "data": "translation",
        "fps": trainer.o.fps,
        "licence": y["licence"],
        "credit": " ".join(dict.fromkeys(part for part in (x.get("credit"), y.get("credit")) if part)),
    }
    save_model(path, trainer.model(), {**inherited(about, trainer.before), "card": card})


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Options]:
    """Read the command line."""
    parser = command.parser("train.recyclegan", __doc__.split("\n")[0], Options, PRESETS)
    for name in ("--a", "--b"):
        parser.add_argument(
            name, required=True, help="a video, a folder of clips, a pack of train.prepare, or avatars:NAME"
        )
        parser.add_argument(
            f"--crop{name[1:]}",
            choices=CROPS,
            help=f"crop the videos of {name} to the largest face or not, where it differs from --crop",
        )
    parser.add_argument(
        "--crop", choices=CROPS, default="auto", help="crop videos and folders to the largest face (auto)"
    )
    args = parser.parse_args(argv)
    return args, command.chosen(args, Options, PRESETS)


def train(args: argparse.Namespace, options: Options) -> None:
    """Open the data and train."""
    if args.threads:
        torch.set_num_threads(args.threads)
    cache = args.cache or args.out / "data"
    with joined(args.device, args.accumulate) as (team, device):
        with team.in_turn():
            x, y = (
                open_triplets(path, cache, size=options.size, fps=options.fps, crop=crop or args.crop)
                for path, crop in ((args.a, args.crop_a), (args.b, args.crop_b))
            )
        trainer = RecycleGANTrainer(options, x, y, device, team)
        command.train(
            args,
            options,
            trainer,
            {"a": x.name, "b": y.name},
            lambda path, settings, step, record, _: export(trainer, path, settings, step, record),
        )


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return command.run(lambda: train(*parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
