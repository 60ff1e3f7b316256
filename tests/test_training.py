"""Losses, augmentation, the average, the loop, and MoCoGAN's trainer on tiny data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train import bench, common, losses
from train.augment import translate
from train.data.sources import ShapeSource, open_source, to_video
from train.ema import EMA
from train.mocogan import PRESETS, MoCoGANTrainer, Options, main
from train.posterior import ContentPosterior, MotionPosterior, draw
from vidgen.checkpoint import load_model
from vidgen.errors import VidgenError
from vidgen.models.flows import CodeFlow

TINY = {
    "size": 32,
    "batch": 3,
    "base_width": 8,
    "d_width": 8,
    "v_width": 8,
    "content_dim": 6,
    "motion_dim": 4,
    "bfloat16": False,
}


@pytest.fixture(scope="module")
def source() -> ShapeSource:
    return ShapeSource(32, 16, count=8)


def trainer(source: ShapeSource, preset: str = "modern", **changes: object) -> MoCoGANTrainer:
    return MoCoGANTrainer(Options(**{**PRESETS[preset], "warm_up": 0, **TINY, **changes}), source)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_moves_every_part(source: ShapeSource, preset: str, bfloat16: bool) -> None:
    t = trainer(source, preset, bfloat16=bfloat16)
    t.set_rates(0, 100)
    before = {name: weights(part) for name, part in t.parts.items()}
    first, second = t.step(0), t.step(1)
    assert all(math.isfinite(value) for value in [*first.values(), *second.values()])
    for name, part in t.parts.items():
        assert not torch.equal(before[name], weights(part)), name


def test_warm_up_leaves_the_discriminators_alone(source: ShapeSource) -> None:
    t = trainer(source, warm_up=1, kl_start=0, kl_full=1)
    before = weights(t.d_video)
    assert "d_image" not in t.step(0)
    assert torch.equal(before, weights(t.d_video))
    assert "d_image" in t.step(1)
    assert not torch.equal(before, weights(t.d_video))


def test_rates_follow_the_schedule(source: ShapeSource) -> None:
    t = trainer(source, warm_up=10, decay=0.5)
    rates = []
    for index in (0, 10, 50, 75, 99):
        t.set_rates(index, 100)
        rates.append(t.opt_g.param_groups[0]["lr"])
    assert rates[:2] == [t.o.lr_warm, t.o.lr_g]
    assert rates[2] == t.o.lr_g
    assert rates[3] == pytest.approx(t.o.lr_g / 2)
    assert rates[4] < 0.05 * t.o.lr_g


def test_kl_weights_rise(source: ShapeSource) -> None:
    t = trainer(source, kl=0.5, kl_start=10, kl_full=20, innovation=3.0, innovation_full=40)
    weights = [t.kl_weights(index) for index in (0, 10, 15, 20, 30, 99)]
    assert [each["kl_content"] for each in weights] == [0, 0, 0.25, 0.5, 0.5, 0.5]
    assert [each["kl_start"] for each in weights] == [0, 0, 0.25, 0.5, 0.5, 0.5]
    assert [each["kl_steps"] for each in weights] == [0, 0, 0.25, 0.5, 1.0, 1.5]


def test_a_flow_takes_the_form_of_the_codes() -> None:
    """Codes on a ring are nowhere near the centre; the fitted flow must draw them so, by category."""
    torch.manual_seed(0)
    flow = CodeFlow(2, 2, 8)
    teach = torch.optim.Adam(flow.parameters(), 2e-3)

    def draw_codes(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        angle, label = 6.283 * torch.rand(n), torch.randint(2, (n,))
        ring = torch.stack([angle.cos(), angle.sin()], 1) * (2.0 - label)[:, None]
        return ring + 0.05 * torch.randn(n, 2), label

    for _ in range(800):
        codes, label = draw_codes(256)
        noise, log_det = flow.inverse(codes, label)
        nats = (0.5 * noise.square().sum(-1) - log_det).mean()
        teach.zero_grad()
        nats.backward()
        teach.step()
    label = torch.randint(2, (2000,))
    radius = flow(torch.randn(2000, 2), label).norm(dim=1) / (2.0 - label)
    assert ((radius - 1).abs() < 0.35).float().mean() > 0.75
    assert ((torch.randn(2000, 2).norm(dim=1) / (2.0 - label) - 1).abs() < 0.35).float().mean() < 0.5


def test_distance_to_a_plain_prior_is_the_closed_form() -> None:
    torch.manual_seed(0)
    moments = torch.full((20_000, 3), 0.7), torch.full((20_000, 3), -1.2)
    drawn = draw(*moments)
    found = losses.distance_to_prior(drawn, moments, drawn, torch.zeros(20_000))
    assert found.item() == pytest.approx(losses.kl_to_normal(*moments).item(), rel=0.02)


def test_the_flows_learn_and_the_clips_are_redrawn_through_them(source: ShapeSource) -> None:
    t = trainer(source, warm_up=9, couplings=4, kl_start=0, kl_full=1, kl=0.5)
    t.set_rates(0, 10)
    for index in range(2):
        log = t.step(index)
    assert math.isfinite(sum(log.values()))
    assert weights(t.g.start_flow).abs().max() > 0
    moved = [coupling.body[-1].weight.abs().max().item() for coupling in t.g.content_flow.couplings]
    assert min(moved) > 0


def test_unlabelled_categories_still_teach_q(source: ShapeSource) -> None:
    """InfoGAN without labels: Q's own outputs must get a gradient from generated clips."""
    t = trainer(source, "paper", supervised=False, category_weight=1.0)
    t.d_video.head.bias.data.zero_()
    before = t.d_video.head.weight.detach()[1:].clone()
    log = t.step(0)
    assert "q_real" not in log
    moved = (t.d_video.head.weight.detach()[1:] - before).abs().max()
    assert moved > 1e-5  # weight decay alone moves it by less than 1e-8


def test_generator_step_leaves_the_discriminators(source: ShapeSource) -> None:
    t = trainer(source)
    batch = source.batch(np.random.default_rng(0), 3, 16, 3)
    before = weights(t.d_image), weights(t.d_video)
    t.update_g(t.generate(batch, True), True, t.kl_weights(9999))
    assert torch.equal(before[0], weights(t.d_image))
    assert torch.equal(before[1], weights(t.d_video))
    assert all(p.requires_grad for p in t.d_video.parameters())


def run(out: Path, *extra: str) -> int:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    return main(
        [
            "--data",
            "shapes",
            "--out",
            str(out),
            "--threads=1",
            "--warm-up=2",
            *options,
            "--device=cpu",
            *extra,
        ]
    )


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--steps=4", "--save-every=2"]
    assert run(tmp_path / "whole", *words) == 0
    real_step = MoCoGANTrainer.step

    def broken(self: MoCoGANTrainer, index: int) -> dict[str, float]:
        if index == 3:
            raise KeyboardInterrupt
        return real_step(self, index)

    monkeypatch.setattr(MoCoGANTrainer, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", *words)
    monkeypatch.undo()
    assert run(tmp_path / "cut", *words) == 0
    whole, cut = (load_model(tmp_path / name / "model.safetensors")[0] for name in ("whole", "cut"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, cut.state_dict()[name]), name
    assert (tmp_path / "cut" / "samples-000004.png").exists()
    logged = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 4


def test_another_option_does_not_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path / "run", "--steps=1") == 0
    assert run(tmp_path / "run", "--steps=1", "--kl=0.5") == 2
    assert "another kl" in capsys.readouterr().err
    assert run(tmp_path / "run", "--steps=2", "--kl=0.5", "--revise") == 0
    _, about, _ = load_model(tmp_path / "run" / "model.safetensors")
    assert about["card"]["changes"] == [{"step": 1, "options": {"steps": [1, 2], "kl": [0.01, 0.5]}}]


def test_exported_weights_say_how_they_were_made(tmp_path: Path) -> None:
    assert run(tmp_path / "run", "--steps=1") == 0
    _, about, _ = load_model(tmp_path / "run" / "model.safetensors")
    assert about["categories"] == ["vertical", "horizontal"]
    assert about["card"]["steps"] == 1
    assert about["card"]["options"]["size"] == 32
    assert {"hardware", "revision", "hours", "parameters"} <= set(about["card"])


class Diverging:
    """A trainer whose loss is not a number from the third step on."""

    def state(self) -> dict:
        return {}

    def load(self, state: dict) -> None:
        """Nothing to take up."""

    def step(self, index: int) -> dict[str, float]:
        return {"d_image": float("nan") if index >= 2 else 1.0, "g_image": 0.0}

    def sample(self, folder: Path, index: int) -> None:
        """No pictures."""


def test_a_loss_that_breaks_is_named(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match="step 3.*d_image"):
        common.run(Diverging(), tmp_path, 10, {"seed": 0}, log_every=1)


def test_broken_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(VidgenError, match="remove it to start anew"):
        common.run(Diverging(), tmp_path, 10, {"seed": 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hing"}, "hinge"),
        ({"norm": "spectrum"}, "spectral"),
        ({"head": "x"}, "conv"),
        ({"batch": 0}, "at least 1"),
        ({"seed": -1}, "negative"),
        ({"image_frames": 99}, "16 frames"),
        ({"supervised": False}, "redraw 0"),
        ({"categories": 4}, "supervised false"),
    ],
)
def test_options_are_checked(source: ShapeSource, options: dict, message: str) -> None:
    with pytest.raises(VidgenError, match=message):
        trainer(source, **options)


def test_too_short_clips_for_the_patch_discriminator(source: ShapeSource) -> None:
    with pytest.raises(VidgenError, match="too short"):
        trainer(source, "paper", length=12)


@pytest.mark.parametrize("line", ["--patch=flase", "--save-every=0", "--steps=x", "--lossy=1"])
def test_slips_on_the_command_line(line: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "run", line)
    assert stopped.value.code == 2
    assert line.split("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unwritable_run_folder(capsys: pytest.CaptureFixture) -> None:
    assert run(Path("/proc/nope"), "--steps=1") == 2
    assert "/proc/nope" in capsys.readouterr().err


def strips(folder: Path, count: int = 12, frames: int = 18, classes: tuple[str, ...] = ()) -> Path:
    """Write frame strips of random pictures, in class folders where classes are named."""
    draws = np.random.default_rng(0)
    for index in range(count):
        place = folder / classes[index % len(classes)] if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        picture = draws.integers(0, 255, (32, 32 * frames, 3), np.uint8)
        Image.fromarray(picture).save(place / f"{index:03}.png")
    return folder


def test_a_folder_without_classes_trains_and_finds_categories(tmp_path: Path) -> None:
    folder = strips(tmp_path / "clips")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    line = [
        "--data",
        str(folder),
        "--out",
        str(tmp_path / "run"),
        "--preset=paper",
        "--stride=1",
        "--steps=1",
    ]
    assert main([*line, *options, "--threads=1", "--categories=3", "--supervised=false"]) == 0
    model, about, _ = load_model(tmp_path / "run" / "model.safetensors")
    assert model.num_labels == 3
    assert about["categories"] == ["category 1", "category 2", "category 3"]


def test_class_folders_are_categories_and_short_clips_are_named(tmp_path: Path) -> None:
    folder = strips(tmp_path / "clips", classes=("wave", "bend"))
    found = open_source(str(folder), tmp_path / "cache", size=32, length=16, stride=1)
    assert found.categories == ["bend", "wave"]
    batch = found.batch(np.random.default_rng(0), 4, 16, 2)
    assert batch.video.shape == (4, 16, 3, 32, 32)
    assert batch.references.shape == (4, 2, 3, 32, 32)
    with pytest.raises(VidgenError, match="18 frames"):
        open_source(str(folder), tmp_path / "cache", size=32, length=16, stride=2)


def test_stride_skips_frames() -> None:
    slow, fast = (ShapeSource(32, 4, stride=stride, count=8) for stride in (1, 2))
    one = slow.batch(np.random.default_rng(0), 3, 7, 1).video
    two = fast.batch(np.random.default_rng(0), 3, 4, 1).video
    assert torch.equal(one[:, ::2], two)
    assert fast.about()["fps"] == slow.about()["fps"] / 2


def test_frames_change_size() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (1, 2, 4, 4, 3), np.uint8)
    assert torch.equal(to_video(frames, 8)[..., ::2, ::2], to_video(frames))
    torch.testing.assert_close(to_video(frames, 2)[..., 0, 0], to_video(frames)[..., :2, :2].mean((-1, -2)))


def test_revised_optimiser_settings_count(source: ShapeSource) -> None:
    before, after = trainer(source), trainer(source, beta1=0.9, weight_decay=0.1)
    before.step(0)
    after.load(before.state())
    assert after.opt_g.param_groups[0]["betas"][0] == 0.9
    assert after.opt_d.param_groups[0]["weight_decay"] == 0.1


def test_another_network_or_fewer_steps_do_not_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path / "run", "--steps=2") == 0
    assert run(tmp_path / "run", "--steps=1", "--revise") == 2
    assert "2 steps already" in capsys.readouterr().err
    assert run(tmp_path / "run", "--steps=2", "--base-width=16", "--revise") == 2
    assert "another network" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/nowhere", "shape"])
def test_unknown_data_is_one_sentence(path: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(VidgenError, match="neither an LPC clone"):
        open_source(path, tmp_path, size=64, length=16, stride=1)
    assert main(["--data", path, "--out", str(tmp_path / "run")]) == 2
    assert "neither an LPC clone" in capsys.readouterr().err


def test_losses_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])
    assert float(losses.discriminator_loss(real, fake, "hinge")) == pytest.approx(0.25 + 0.5)
    assert float(losses.generator_loss(fake, "hinge")) == pytest.approx(1.0)
    softplus = lambda x: math.log(1 + math.exp(x))  # noqa: E731
    bce = (softplus(-2) + softplus(-0.5)) / 2 + (softplus(-2) + softplus(0)) / 2
    assert float(losses.discriminator_loss(real, fake, "bce")) == pytest.approx(bce, rel=1e-6)
    assert float(losses.generator_loss(fake, "bce")) == pytest.approx(
        (softplus(2) + softplus(0)) / 2, rel=1e-6
    )
    assert float(losses.kl_to_normal(torch.zeros(2, 3), torch.zeros(2, 3))) == 0
    assert float(losses.kl_to_normal(torch.ones(2, 3), torch.zeros(2, 3))) == pytest.approx(1.5)


def test_pictures_that_are_all_alike_are_punished() -> None:
    torch.manual_seed(0)
    real = (torch.rand(4, 3, 2, 2) * 2 - 1).repeat_interleave(16, -1).repeat_interleave(16, -2)
    parts = (real - real.mean((2, 3), keepdim=True)).flatten(1)
    parts = parts / parts.norm(dim=1, keepdim=True)
    by_hand = float(sum((a - b).norm() for a in parts for b in parts)) / 12
    assert losses.spread(real) == pytest.approx(by_hand, rel=1e-4)
    assert losses.spread(real + 0.2 * torch.randn(4, 3, 32, 32)) < 1.2 * by_hand, "grain hardly counts"
    shades = torch.rand(4, 3, 1, 1) + (0.1 + torch.rand(4, 1, 1, 1)) * real
    assert losses.spread(shades) == pytest.approx(by_hand, rel=1e-3), "nor do brightness and contrast"
    drawn = (real[:1] + 0.2 * real).clone().requires_grad_()
    loss = losses.collapse_loss(drawn, real)
    assert loss.item() > 0.5
    loss.backward()
    assert losses.collapse_loss(drawn.detach() - drawn.grad, real) < loss, "down the slope they part"
    assert losses.collapse_loss(real, real) == 0
    same = torch.ones(4, 3, 32, 32, requires_grad=True)
    losses.collapse_loss(same, real).backward()
    assert torch.isfinite(same.grad).all()


def test_redraw_error_weighs_what_moves() -> None:
    wanted, still = torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    still[..., 0, 0] = -1.0  # one pixel is away from where it rests
    drawn = torch.zeros_like(wanted)
    drawn[..., 1, 1] = 0.5
    resting = float(losses.redraw_error(drawn, wanted, still, emphasis=8.0))
    assert resting == pytest.approx((0.5 + 2 * 0.25) / 4)
    moving = drawn.flip(-1, -2)
    assert float(losses.redraw_error(moving, wanted, still, emphasis=8.0)) == pytest.approx(9 * resting)


def test_translation_is_the_same_on_all_frames() -> None:
    video = torch.randn(4, 1, 3, 16, 16).expand(-1, 5, -1, -1, -1)
    moved = translate(video, 3, torch.Generator().manual_seed(0))
    assert moved.shape == video.shape
    assert torch.equal(moved, moved[:, :1].expand_as(moved))
    assert not torch.equal(moved, video)
    assert translate(video, 0) is video


def test_average_follows_slowly() -> None:
    model = torch.nn.Linear(2, 2)
    average = EMA(model, 0.9)
    start = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    average.update(model, 10_000)
    torch.testing.assert_close(average.model.weight, start + 0.1)


def test_posteriors_have_the_codes_shapes() -> None:
    frames, label = torch.randn(2, 5, 3, 32, 32), torch.tensor([0, 1])
    for mean, log_variance in (
        ContentPosterior(32, 3, 7)(frames),
        MotionPosterior(32, 3, 4, 2)(frames, label),
    ):
        assert mean.shape == log_variance.shape
        assert torch.isfinite(draw(mean, log_variance)).all()
    assert mean.shape == (2, 6, 4)


def test_the_bench_times_both_steps() -> None:
    options = Options(**{**PRESETS["paper"], **TINY, "bfloat16": True})
    found = bench.measure(options, repeats=1)
    assert found["literal_s"] > 0
    assert found["ratio"] == pytest.approx(found["literal_s"] / found["ours_s"], rel=0.2)


def test_the_bench_counts_batches(source: ShapeSource) -> None:
    assert bench.reading(source, Options(**{**PRESETS["paper"], **TINY}), seconds=0.05) > 1
