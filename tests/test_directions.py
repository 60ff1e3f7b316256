"""Content directions: orthonormal, strongest first, written into the weights file with their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from train.directions import COUNT, main, principal_changes
from vidgen import sampling
from vidgen.checkpoint import load_model, save_model
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.recipe import Recipe
from vidgen.session import Session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = MoCoGAN(
        MoCoGANConfig(
            32, content_dim=10, motion_dim=4, state_dim=5, base_width=8, clip_length=4, modulate=True
        )
    )
    with torch.no_grad():
        for layer in model.image.modules():
            if isinstance(layer, torch.nn.ConvTranspose2d):  # as large as trained weights are
                layer.weight.normal_(0, 1.4 / (layer.in_channels * 4) ** 0.5)
        model.image.first.weight[3].mul_(5)  # content entry 3 is by far the loudest
    save_model(tmp_path / "tiny.safetensors", model, {"title": "Tiny", "licence": "MIT"})
    return tmp_path / "tiny.safetensors"


def test_directions_are_orthonormal_and_strongest_first(path: Path) -> None:
    model, _, _ = load_model(path)
    found = principal_changes(model, contents=8)
    assert found.shape == (COUNT, 10)
    torch.testing.assert_close(found @ found.T, torch.eye(COUNT), atol=1e-5, rtol=0)
    assert found[0].abs().argmax() == 3


def test_names_are_written_and_a_minus_turns(path: Path) -> None:
    assert main(["--model", str(path), "--names", "a,b,c,d,e,f"]) == 0
    first = load_model(path)[2]["directions"]
    assert Session(path.parent).info("tiny").direction_names == ["a", "b", "c", "d", "e", "f"]
    assert main(["--model", str(path), "--names=-a,b,c,d,e,f"]) == 0
    second = load_model(path)[2]["directions"]
    torch.testing.assert_close(second[0], -first[0])
    torch.testing.assert_close(second[1:], first[1:])
    assert (path.parent / "tiny-directions.png").stat().st_size > 100


def test_a_minus_after_a_space_turns_too(path: Path) -> None:
    assert main(["--model", str(path), "--names", "a, b,c,d,e,f"]) == 0
    first = load_model(path)[2]["directions"]
    assert main(["--model", str(path), "--names", "a, -b,c,d,e, - f"]) == 0
    second = load_model(path)[2]["directions"]
    signs = torch.tensor([1.0, -1, 1, 1, 1, -1, 1, 1])
    torch.testing.assert_close(second, first * signs[:, None])
    assert Session(path.parent).info("tiny").direction_names == ["a", "b", "c", "d", "e", "f"]


def test_pictures_may_be_compared_small(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(path)[0]
    own, mean = principal_changes(model, 8), principal_changes(model, 8, size=1)
    torch.testing.assert_close(mean @ mean.T, torch.eye(COUNT), atol=1e-4, rtol=0)

    def change(direction: torch.Tensor) -> float:
        """Measure how far the mean colour moves, on the contents that both were found on."""
        total = 0.0
        for seed in range(8):
            codes = sampling.codes([Recipe(content_seed=seed, motion_seed=seed, frames=1)], model, None, 1.0)
            rest = codes.content, codes.motion, codes.times, codes.label
            pictures = [
                model.image(model.latents(*rest, moves=step * direction[None])[0, :, :, None, None])
                for step in (-0.5, 0.5)
            ]
            total += float((pictures[1] - pictures[0]).mean((2, 3)).square().sum())
        return total

    assert change(mean[0]) > max(change(each) for each in own)
    assert main(["--model", str(path), "--size", "99"]) == 2
    assert "--size is 99" in capsys.readouterr().err


def test_without_names_old_names_go_with_their_directions(path: Path) -> None:
    assert main(["--model", str(path)]) == 0
    plain = load_model(path)[2]["directions"]
    assert main(["--model", str(path), "--names=-a,b,c,d,e,f"]) == 0
    assert main(["--model", str(path)]) == 0
    torch.testing.assert_close(load_model(path)[2]["directions"], plain)
    assert Session(path.parent).info("tiny").direction_names[0] == "Direction 1"


def test_a_small_content_has_fewer_directions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    model = MoCoGAN(MoCoGANConfig(32, content_dim=5, motion_dim=4, base_width=4))
    save_model(path, model, {"licence": "MIT"})
    assert main(["--model", str(path), "--names=-a,b,c,d,e,f"]) == 0
    found = load_model(path)[2]["directions"]
    assert found.shape == (COUNT, 5)
    torch.testing.assert_close(found[:5] @ found[:5].T, torch.eye(5), atol=2e-3, rtol=0)  # kept in half
    assert not found[5:].any()
    recipe = Recipe(model="small", frames=2)
    session = Session(tmp_path)
    moved = session.render(recipe.replace(directions=(0, 0, 0, 0, 0, 3), pad=(3, 3)))
    assert (moved == session.render(recipe)).all()


@pytest.mark.parametrize("names", ["a,b", "", "a,b,c,d,e,", "a,b,c,d,e,-"])
def test_wrong_number_of_names(path: Path, capsys: pytest.CaptureFixture, names: str) -> None:
    before = path.read_bytes()
    assert main(["--model", str(path), f"--names={names}"]) == 2
    assert "give 6" in capsys.readouterr().err
    assert path.read_bytes() == before
