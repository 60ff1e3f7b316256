"""VGAN and TGAN, the two that MoCoGAN's paper compares with: `python -m train.baselines --preset vgan --data
shapes --out DIR`. The same command again resumes; at the end it measures the content distance.

    python -m train.baselines --table runs/vgan runs/tgan weights/mocogan-shapes.safetensors

prints the paper's table anew: the average content distance (ACD) of real shapes, of each run and of each
weights file. Both draw a clip as a whole, of a fixed length and from one code, with no content or motion to
hold on to: so they are no models of the app, and their weights stay in the run's folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from train import command, common, generators, losses
from train.baseline_networks import TGAN, VGAN, Critic
from train.data.sources import Batch, Source
from train.distributed import Team
from train.ema import EMA
from train.sheets import write_sheet
from vidgen._clips.files import replacing, reported
from vidgen.errors import VidgenError, check_least
from vidgen.evaluation.generators import SEEDS, made
from vidgen.evaluation.real import open_real
from vidgen.metrics.scores import average_content_distance
from vidgen.metrics.shapes import shape_colours, shape_fill, shape_masks
from vidgen.recipe import Recipe
from vidgen.session import Session

MODELS = ("vgan", "tgan")
CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LOSSES = ("bce", "wasserstein")
MEASURED = 256  # clips of each repetition
PART = 32  # of them drawn together
LEAST_FILL = 0.6  # of the rectangle around it that a shape fills: a disc 79%
LARGEST = 0.3  # of the frame that a shape covers


@dataclass(frozen=True)
class Options:
    """Hold a training recipe; the defaults are VGAN's of its paper, at the length of our clips."""

    model: str = "vgan"
    loss: str = "bce"  # with Adam; or "wasserstein" with RMSprop and a clipped critic
    size: int = 64
    length: int = 16
    code_dim: int = 100
    width: int = 64  # channels at half the full size; double at every halving
    d_width: int = 64
    batch: int = 64
    lr: float = 2e-4
    beta1: float = 0.5
    mask: float = 0.1  # weight of VGAN's mean mask: little may move
    clip_every: int = 5  # steps between clippings of a Wasserstein critic's singular values
    ema: float = 0.999
    stride: int = 1
    decay: float = 0.0  # share of the run, at its end, over which the learning rates fall to zero
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what a slip of the keyboard could spoil."""
        if self.model not in MODELS:
            raise VidgenError(f"model is {self.model!r}; choose one of {', '.join(MODELS)}.")
        if self.loss not in LOSSES:
            raise VidgenError(f"loss is {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        check_least(self, 1, "code_dim", "width", "d_width", "batch", "clip_every", "stride")
        check_least(self, 0, "mask", "decay", "seed")
        if self.size != 64 or self.length != 16:
            raise VidgenError(
                "The baselines draw clips of 16 frames at 64 px: leave --size and --length out."
            )


PRESETS: dict[str, dict[str, Any]] = {
    "vgan": {},
    "tgan": {"model": "tgan", "loss": "wasserstein", "batch": 32, "lr": 5e-5},
}


class BaselineTrainer:
    """By the papers' recipes VGAN has the original loss with Adam, and TGAN is a Wasserstein GAN with RMSprop
    and a clipped critic.
    """

    def __init__(
        self, options: Options, source: Source, device: str = "cpu", team: Team | None = None
    ) -> None:
        self.o, self.source, self.device, self.team = options, source, torch.device(device), team or Team()
        self.images, o = options.batch * options.length, options
        torch.manual_seed(o.seed)
        self.g = generator(o).to(self.device)
        self.d = Critic(o.d_width).to(self.device)
        for network in (self.g, self.d):
            network.apply(_initial)
        self.average = EMA(self.g, o.ema)
        self.parts: dict[str, nn.Module] = {"g": self.g, "d": self.d, "average": self.average.model}
        self.opt_g, self.opt_d = (self._optimizer(part) for part in (self.g, self.d))

    def _optimizer(self, part: nn.Module) -> torch.optim.Optimizer:
        if self.o.loss == "wasserstein":
            return torch.optim.RMSprop(part.parameters(), self.o.lr)
        return torch.optim.Adam(part.parameters(), self.o.lr, (self.o.beta1, 0.999))

    def set_rates(self, index: int, steps: int) -> None:
        """Set the learning rates of step `index` of `steps`."""
        fall = min(1.0, (steps - index) / max(self.o.decay * steps, 1))
        for optimizer in (self.opt_g, self.opt_d):
            for group in optimizer.param_groups:
                group["lr"] = self.o.lr * fall

    def step(self, index: int) -> dict[str, float]:
        """Train one step; returns the losses."""
        o = self.o

        def begin(part: int) -> tuple[Batch, Tensor, Tensor | None]:
            rng, n = np.random.default_rng([o.seed, index, part]), self.team.share(o.batch)
            batch = self.source.batch(rng, n, o.length, 1).to(self.device)
            return batch, *self.g(torch.randn(n, o.code_dim, device=self.device))

        updates = [lambda made: self.update_d(*made), lambda made: self.update_g(*made)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=o.bfloat16):
            log = self.team.alternate(o.seed, index, begin, updates, [self.g, self.d])
        if o.loss == "wasserstein" and index % o.clip_every == 0:
            self.d.clip()
        self.average.update(self.g, index)
        return log

    def update_d(self, batch: Batch, video: Tensor, _mask: Tensor | None) -> dict[str, float]:
        """Update the critic."""
        real, fake = self.d(batch.video).float(), self.d(video.detach()).float()
        if self.o.loss == "wasserstein":
            loss = fake.mean() - real.mean()
        else:
            loss = losses.discriminator_loss(real, fake, "bce")
        self.team.clear(self.opt_d)
        loss.backward()
        self.team.apply(self.opt_d)
        return {"d": loss.item()}

    def update_g(self, _batch: Batch, video: Tensor, mask: Tensor | None) -> dict[str, float]:
        """Update the generator."""
        self.d.requires_grad_(False)
        fake = self.d(video).float()
        loss = -fake.mean() if self.o.loss == "wasserstein" else losses.generator_loss(fake, "bce")
        log = {"g": loss.item()}
        if mask is not None:
            loss, log = loss + self.o.mask * mask.mean(), log | {"mask": mask.mean().item()}
        self.team.clear(self.opt_g)
        loss.backward()
        self.team.apply(self.opt_g)
        self.d.requires_grad_(True)
        return log

    def state(self) -> dict[str, Any]:
        """Collect all that a resumed run needs."""
        return common.state_of(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take up a state of `state()`; VidgenError where another loss made it."""
        kept = next(iter(state["opt_d"]["state"].values()), {})
        if kept and ("exp_avg" in kept) != isinstance(self.opt_d, torch.optim.Adam):
            raise VidgenError("This run began with the other loss: keep its --loss, or choose another --out.")
        common.load_into(self, state)

    @torch.no_grad()
    def sample(self, folder: Path, index: int) -> None:
        """Write a sheet of clips from fixed codes."""
        codes = torch.randn(10, self.o.code_dim, generator=torch.Generator().manual_seed(1))
        video, _ = self.average.model(codes.to(self.device))
        write_sheet(folder, index, rearrange(video, "n t c h w -> (n h) (t w) c"))


def _initial(layer: nn.Module) -> None:
    """Start quietly, as DCGAN does (Radford et al., ICLR 2016): clips are grey, where other weights draw
    noise, which a critic learns to tell apart before there is anything else to see.
    """
    if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
        nn.init.normal_(layer.weight, 0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def generator(options: Options) -> nn.Module:
    """Build the generator of a recipe."""
    return {"vgan": VGAN, "tgan": TGAN}[options.model](options.code_dim, options.width)


def export(
    trainer: BaselineTrainer,
    path: Path,
    _settings: dict[str, Any],
    steps: int,
    record: common.Record,
    last: bool,
) -> None:
    """Write the averaged generator; last: with its content distance, which is printed."""
    told = {"options": asdict(trainer.o), "steps": steps, "hours": round(record.hours, 2)}
    told |= {"hardware": common.hardware(trainer.device), "revision": common.revision()}
    weights = {name: value.contiguous() for name, value in trainer.average.model.state_dict().items()}
    with replacing(path) as part, reported(path):
        save_file(weights, part, {"baseline": json.dumps(told)})
    if last:
        sys.stdout.write(table([path.parent]))


def clips_of(path: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw clips, uint8 [n, t, h, w, c], of a run of this trainer or by a weights file."""
    if path.is_dir():
        yield from _baseline_clips(path, rng)
        return
    session = Session(path.parent)
    info = session.info(str(path))
    recipe = Recipe(model=info.path, frames=info.clip_length, fps=info.fps)
    parts = made(session, recipe, MEASURED, len(info.categories), rng, ("base",), PART)
    yield from (part.base for part in parts)


@torch.inference_mode()
def _baseline_clips(path: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    file = path / "model.safetensors"
    try:
        settings = json.loads((path / "options.json").read_text())
        known = Options(**{name: settings[name] for name in Options.__dataclass_fields__ if name in settings})
        model = generator(known).eval()
        model.load_state_dict(load_file(file))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise VidgenError(f"{path} is no run of train.baselines ({error}).") from error
    for _ in range(0, MEASURED, PART):
        code = torch.from_numpy(rng.standard_normal((PART, known.code_dim), dtype=np.float32))
        levels = ((model(code)[0] + 1) * 127.5).round().byte()
        yield rearrange(levels, "n t c h w -> n t h w c").numpy()


def real_clips(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw real test clips."""
    return open_real("shapes", None, Path(), length=16, stride=1).test(rng, MEASURED).parts(PART)


def content_distance(parts: Iterator[np.ndarray]) -> tuple[float, float]:
    """Measure ACD, and the share of frames that show no shape: black ones look all alike, and so do those
    full of noise.
    """
    read = [(shape_colours(clips), shape_fill(clips), shape_masks(clips).mean((-2, -1))) for clips in parts]
    colours, fill, area = (np.concatenate(part) for part in zip(*read, strict=True))
    shown = (fill >= LEAST_FILL) & (area <= LARGEST)
    return average_content_distance(colours), float((~shown).mean())


def table(paths: Sequence[Path]) -> str:
    """Write the table of real clips, runs and weights files, each measured from three seeds."""
    rows = ["| clips of | ACD (colour) | frames without a shape |", "|---|---|---|"]
    for path in (None, *paths):
        found = []
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, 2])
            found.append(content_distance(real_clips(rng) if path is None else clips_of(path, rng)))
        means, spread = np.mean(found, 0), np.std(found, 0, ddof=1)
        name = path.stem if path else "real, test split"
        rows.append(f"| {name} | {means[0]:.2f} ± {spread[0]:.2f} | {means[1]:.1%} |")
    return "\n".join(rows) + "\n"


def parse(argv: list[str]) -> tuple[argparse.Namespace, Options]:
    """Read the command line of a training."""
    about = __doc__.split("\n")[0]
    return generators.parse("train.baselines", about, Options, PRESETS, "vgan", argv, False)


def main(argv: list[str] | None = None) -> int:
    """Train, or print the table; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if "--table" in arguments:
        return command.run(lambda: _print_table(arguments))
    return command.run(lambda: generators.train(*parse(arguments), BaselineTrainer, export))


def _print_table(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m train.baselines")
    parser.add_argument("--table", nargs="+", type=Path, required=True, help="runs, and weights files")
    sys.stdout.write(table(parser.parse_args(arguments).table))


if __name__ == "__main__":
    sys.exit(main())
