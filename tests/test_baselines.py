"""VGAN and TGAN, and the table that they are trained for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from train import baselines
from train.baselines import TGAN, VGAN, BaselineTrainer, Critic, Options
from train.data.sources import ShapeSource
from vidgen.errors import VidgenError

TINY = {"width": 4, "d_width": 4, "batch": 4, "code_dim": 6}


def trainer(model: str, **changes: object) -> BaselineTrainer:
    return BaselineTrainer(Options(**{**TINY, "model": model, **changes}), ShapeSource(64, 16, count=8))


def test_vgan_moves_a_foreground_over_a_still_background() -> None:
    torch.manual_seed(0)
    model = VGAN(6, 4)
    video, mask = model(torch.randn(3, 6))
    assert video.shape == (3, 16, 3, 64, 64) and mask.shape == (3, 16, 1, 64, 64)
    assert video.abs().max() <= 1 and mask.min() > 0 and mask.max() < 1
    with torch.no_grad():
        model.mask.bias.fill_(-1e4)  # nothing is foreground
        video, _ = model(torch.randn(3, 6))
        assert (video == video[:, :1]).all(), "the background stands still"
        model.mask.bias.fill_(1e4)
        video, _ = model(torch.randn(3, 6))
        assert (video[:, 0] - video[:, 8]).abs().max() > 1e-3


def test_tgan_draws_each_frame_from_a_code_of_its_own() -> None:
    torch.manual_seed(0)
    model = TGAN(6, 4)
    video, _ = model(torch.randn(3, 6))
    assert video.shape == (3, 16, 3, 64, 64) and video.abs().max() <= 1
    assert (video[:, 0] - video[:, 8]).abs().max() > 1e-3
    with torch.no_grad():
        model.fast.weight.zero_()  # the frames' own codes
        video, _ = model(torch.randn(3, 6))
    torch.testing.assert_close(video, video[:, :1].expand_as(video), atol=1e-6, rtol=0)


def test_clipping_bounds_the_critic() -> None:
    torch.manual_seed(0)
    critic = Critic(4)
    with torch.no_grad():
        for weight in critic.parameters():
            weight *= 30
    critic.clip()
    layers = [one for one in critic.modules() if isinstance(one, torch.nn.Conv3d | torch.nn.Linear)]
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) <= 1 + 1e-5
    norms = [one for one in critic.modules() if isinstance(one, torch.nn.BatchNorm3d)]
    for norm in norms:
        assert (norm.weight <= (norm.running_var + norm.eps).sqrt() + 1e-6).all()
    assert len(layers) == 5 and len(norms) == 3


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(("model", "loss"), [("vgan", "bce"), ("tgan", "bce"), ("tgan", "wasserstein")])
def test_a_step_moves_both_networks_and_repeats_itself(model: str, loss: str, bfloat16: bool) -> None:
    first, second = (trainer(model, loss=loss, bfloat16=bfloat16) for _ in range(2))
    clipped = loss == "wasserstein"
    assert isinstance(first.opt_d, torch.optim.RMSprop if clipped else torch.optim.Adam)
    with torch.no_grad():
        first.d.head.weight *= 1000
        second.d.head.weight *= 1000
    before = {name: value.clone() for name, value in first.g.state_dict().items()}
    for each in (first, second):
        each.set_rates(0, 10)
        torch.manual_seed(0)
        log = each.step(0)
        assert set(log) == {"vgan": {"d", "g", "mask"}, "tgan": {"d", "g"}}[model]
    for name, value in first.g.state_dict().items():
        assert torch.equal(value, second.g.state_dict()[name])
    assert any((before[name] != value).any() for name, value in first.g.named_parameters())
    norm = float(torch.linalg.matrix_norm(first.d.head.weight.detach(), 2))
    assert (norm <= 1 + 1e-5) == clipped
    state = first.state()
    second.load(state)
    assert all(torch.equal(a, b) for a, b in zip(first.d.parameters(), second.d.parameters(), strict=True))


def test_a_run_keeps_its_loss() -> None:
    first, second = trainer("tgan"), trainer("tgan", loss="wasserstein")
    first.step(0)
    second.step(0)
    for one, other in ((first, second), (second, first)):
        with pytest.raises(VidgenError, match="began with the other loss"):
            one.load(other.state())


def test_training_ends_with_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    out = tmp_path / "run"
    arguments = ["--preset", "tgan", "--data", "shapes", "--out", str(out), "--threads", "1", *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "MEASURED", 32)
        assert baselines.main([*arguments, "--steps", "2"]) == 0
        rows = capsys.readouterr().out.splitlines()
        assert rows[2].startswith("| real, test split | 0.00") and rows[3].startswith("| run | ")
        assert baselines.main(["--table", str(out)]) == 0
        assert capsys.readouterr().out.splitlines() == rows, "the same clips, the same figures"
        settings = json.loads((out / "options.json").read_text())
        del settings["bfloat16"]  # a run from before there was this option
        (out / "options.json").write_text(json.dumps(settings))
        assert baselines.main(["--table", str(out)]) == 0
        assert capsys.readouterr().out.splitlines() == rows


def test_the_distance_counts_empty_frames() -> None:
    clips = np.zeros((2, 4, 64, 64, 3), np.uint8)
    clips[0, :, 20:30, 20:30, 0] = 200
    clips[1, :2, 20:30, 20:30, 1] = [[[100]]]
    distance, without = baselines.content_distance(iter([clips]))
    assert without == 0.25
    assert distance == pytest.approx((0 + 100 * 4 / 6) / 2)  # four of six pairs differ, in the second clip


def test_frames_of_noise_show_no_shape() -> None:
    noise = np.random.default_rng(0).integers(200, size=(2, 3, 64, 64, 3), dtype=np.uint8)
    assert baselines.content_distance(iter([noise]))[1] == 1
    real = next(baselines.real_clips(np.random.default_rng(0)))
    assert baselines.content_distance(iter([real]))[1] == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "gan"}, "model is 'gan'"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"size": 32}, "16 frames at 64 px"),
        ({"width": 0}, "width"),
    ],
)
def test_a_wrong_option_is_one_sentence(changes: dict[str, object], told: str) -> None:
    with pytest.raises(VidgenError, match=told):
        Options(**changes)


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert baselines.main(["--table", str(tmp_path)]) == 2
    assert "is no run of train.baselines" in capsys.readouterr().err
