"""Recycle-GAN: the networks, the triplets, the losses of a step, resume, and the translator for use."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train.bench_recyclegan import LITERAL, measure
from train.data.avatars import CHARACTERS
from train.data.sources import to_video
from train.data.triplets import Triplets, open_triplets
from train.prepare import _parser as prepare_parser
from train.recyclegan import (
    LOSSES,
    PRESETS,
    ImagePool,
    Options,
    RecycleGANTrainer,
    main,
    motion_disagreement,
    parse,
)
from vidgen.checkpoint import load_model, save_model
from vidgen.data.splits import content_id
from vidgen.errors import VidgenError
from vidgen.models import build
from vidgen.models.recyclegan import (
    GENERATORS,
    PREDICTORS,
    UPSAMPLINGS,
    PatchDiscriminator,
    RecycleGAN,
    RecycleGANConfig,
)
from vidgen.recipe import Recipe
from vidgen.session import Session
from vidgen.video_io import read_clip, write_clip

SMALL = {"size": 16, "width": 4, "blocks": 1, "predictor_width": 4}
TINY = {**SMALL, "d_width": 4, "d_layers": 2, "bfloat16": False, "pool": 3}


def model(**changes: object) -> RecycleGAN:
    torch.manual_seed(0)
    return RecycleGAN(RecycleGANConfig(**{**SMALL, **changes})).eval()


def stream(name: str = "x", seed: int = 0) -> Triplets:
    rng = np.random.default_rng(seed)
    clips = [rng.integers(256, size=(frames, 16, 16, 3), dtype=np.uint8) for frames in (3, 9)]
    return Triplets(clips, [2, 2], name, {"title": name, "licence": "MIT", "credit": f"{name}.", "fps": 12.5})


def trainer(**changes: object) -> RecycleGANTrainer:
    return RecycleGANTrainer(Options(**{**PRESETS["modern"], **TINY, **changes}), stream("x"), stream("y", 1))


@pytest.mark.parametrize(
    ("size", "kind", "up", "predictor"),
    list(itertools.product((16, 64), GENERATORS, UPSAMPLINGS, PREDICTORS)),
)
def test_every_configuration_translates_and_predicts(size: int, kind: str, up: str, predictor: str) -> None:
    m = model(size=size, generator=kind, upsampling=up, predictor=predictor)
    video = torch.rand(2, 3, 3, size, size) * 2 - 1
    out = m(video)
    assert out.shape == video.shape
    assert out.abs().max() <= 1
    assert m.predict(video[:, :2]).shape == (2, 3, size, size)
    torch.testing.assert_close(m(video[1:, 2:]), out[1:, 2:], atol=1e-5, rtol=1e-4)  # frame by frame


def test_a_residual_predictor_starts_from_the_last_frame() -> None:
    m = model(residual=True)
    m.predictor.body.ups[-1].weight.data.zero_()
    m.predictor.body.ups[-1].bias.data.zero_()
    frames = torch.rand(1, 2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(m.predict(frames), frames[:, 1])


def test_only_a_reversible_model_goes_back() -> None:
    video = torch.zeros(1, 2, 3, 16, 16)
    assert model(reversible=True).back(video).shape == video.shape
    with pytest.raises(VidgenError, match="one way"):
        model().back(video)
    with pytest.raises(VidgenError, match="takes 16 x 16"):
        model()(torch.zeros(1, 2, 3, 32, 32))


@pytest.mark.parametrize(
    "changes", [{"size": 24}, {"width": 0}, {"generator": "vae"}, {"predictor": "x"}, {"blocks": -1}]
)
def test_wrong_options_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(VidgenError, match=next(iter(changes)).replace("size", "frame size")):
        build("recyclegan", {**SMALL, **changes})


def test_patch_discriminator_sees_seventy_pixels() -> None:
    d = PatchDiscriminator(width=4).eval()
    d.body = torch.nn.Sequential(*(layer for layer in d.body if not isinstance(layer, torch.nn.GroupNorm)))
    frame = torch.randn(1, 3, 256, 256).requires_grad_()
    out = d(frame)
    assert out.shape[:2] == (1, 1)
    side = math.isqrt(out.shape[2])
    out[0, 0, side * (side // 2) + side // 2].backward()
    seen = frame.grad.abs().sum((0, 1))
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70
    assert PatchDiscriminator(width=4, layers=0)(frame).shape == (1, 1, 256 * 256)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_moves_what_the_loss_reaches(loss: str, bfloat16: bool) -> None:
    t = trainer(loss=loss, bfloat16=bfloat16, identity=5.0)
    t.set_rates(0, 100)
    before = {
        (side, name): torch.cat([p.detach().flatten() for p in part.parameters()])
        for side, own in t.sides.items()
        for name, part in own.parts().items()
    }
    log = t.step(0)
    assert all(math.isfinite(value) for value in log.values())
    assert ("cycle_x" in log) == (loss != "recycle")
    assert ("recycle_x" in log) == (loss != "cycle")
    for (side, name), old in before.items():
        new = torch.cat([p.detach().flatten() for p in t.sides[side].parts()[name].parameters()])
        assert torch.equal(old, new) == (name == "p" and loss == "cycle"), (side, name)


def test_losses_are_those_of_the_paper() -> None:
    """The recycle and cycle losses, computed frame by frame, each network anew."""
    t = trainer(return_noise=0.0, identity=5.0)
    rng = np.random.default_rng(0)
    real = {name: source.batch(rng, 2) for name, source in t.streams.items()}
    with torch.no_grad():
        made = t.translate(real, "x", "y")
        x, y = t.sides["x"], t.sides["y"]
        x0, x1, x2 = real["x"].unbind(1)
        ahead = y.p(torch.stack([y.g(x0), y.g(x1)], 1))
        wanted = {
            "recurrent": (x.p(torch.stack([x0, x1], 1)) - x2).abs().mean(),
            "recycle": (x.g(ahead) - x2).abs().mean(),
            "cycle": ((x.g(y.g(x0)) - x0).abs().mean() + (x.g(y.g(x1)) - x1).abs().mean()) / 2,
            "identity": (y.g(real["y"][:, 0]) - real["y"][:, 0]).abs().mean(),
        }
    for name, value in wanted.items():
        torch.testing.assert_close(made[name], value, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made["frames"][:, 2], ahead, atol=1e-5, rtol=1e-4)


def test_moving_pixels_weigh_more() -> None:
    video = torch.zeros(1, 3, 3, 16, 16)
    video[:, 2, :, :4, :4] = 1
    weight = trainer(emphasis=3.0)._weight(video)
    assert weight.mean() == pytest.approx(1)
    assert weight[0, 0, 0, 0] == pytest.approx(4 * weight[0, 0, -1, -1].item())
    assert (trainer(emphasis=0.0)._weight(video) == 1).all()


def test_a_mouth_that_opens_must_open_in_the_drawing() -> None:
    def face(skin: float, mouth: float, back: float) -> torch.Tensor:
        picture = torch.full((3, 128, 128), back)
        picture[:, 20:110, 34:94] = skin
        picture[:, 78:92, 50:78] = mouth
        return picture

    def clip(*mouths: float, skin: float = 0.4, back: float = -0.8) -> torch.Tensor:
        return torch.stack([face(skin, mouth, back) for mouth in mouths])[None]

    opens = clip(0.3, -0.7)
    other = {"skin": 0.9, "back": 0.5}
    assert motion_disagreement(opens, clip(0.7, -0.1, **other)) < 0.1
    assert motion_disagreement(opens, clip(-0.1, 0.7, **other)) > 1.9
    assert motion_disagreement(opens, clip(0.7, 0.7, **other)) == pytest.approx(1)
    noise = 0.001 * torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
    still = clip(0.3, 0.3) + noise[:, None]
    assert motion_disagreement(still, -still) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["motion", "recycle", "emphasis"])
def test_negative_weights_are_named(name: str) -> None:
    with pytest.raises(VidgenError, match=f"{name} is -1"):
        Options(**{name: -1.0})


def test_pool_gives_old_frames_back() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2)
    first = torch.zeros(2, 1, 1, 1)
    assert torch.equal(pool.swap(first), first)
    given = torch.cat([pool.swap(torch.full((1, 1, 1, 1), float(i))) for i in range(1, 40)])
    own = torch.arange(1.0, 40)
    same = (given.flatten() == own).float().mean()
    assert 0.2 < same < 0.8
    assert (given.flatten() <= own).all()
    assert torch.equal(ImagePool(0).swap(first), first)


def test_triplets_are_consecutive_and_share_crop_and_mirror() -> None:
    ramp = np.broadcast_to(np.arange(0, 90, 10, dtype=np.uint8)[:, None, None, None], (9, 16, 16, 3))
    source = Triplets([ramp], [2], "ramp", {})
    drawn = source.frames(np.random.default_rng(0), 20)[:, :, 0, 0, 0].astype(int)
    assert (np.diff(drawn, axis=1) == 20).all()
    assert len(np.unique(drawn[:, 0])) > 3
    still = Triplets([np.repeat(stream().clips[1][:1], 5, 0)], [1], "still", {})
    batch = still.batch(np.random.default_rng(0), 4, jitter=0.3)
    assert batch.shape == (4, 3, 3, 16, 16)
    assert batch.abs().max() <= 1
    for frame in (1, 2):
        torch.testing.assert_close(batch[:, frame], batch[:, 0])
    assert not torch.equal(batch[0], batch[1])


def test_short_clips_use_a_smaller_step_and_too_short_ones_are_named() -> None:
    assert stream().strides == [1, 2]
    with pytest.raises(VidgenError, match="fewer than three"):
        Triplets([np.zeros((2, 16, 16, 3), np.uint8)], [1], "short", {})


def strips(folder: Path, tone: int) -> Path:
    """Write the authors' format: an image of three frames side by side."""
    folder.mkdir()
    rng = np.random.default_rng(tone)
    for number in range(4):
        picture = rng.integers(tone, tone + 60, size=(16, 48, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_training_from_strips_resumes_and_can_be_used(tmp_path: Path) -> None:
    a, b = strips(tmp_path / "a", 0), strips(tmp_path / "b", 150)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    words = [
        "--a",
        str(a),
        "--b",
        str(b),
        *options,
        "--save-every=2",
        "--sample-every=2",
        "--threads=1",
        "--crop=none",
    ]
    assert main([*words, "--out", str(tmp_path / "whole"), "--steps=4"]) == 0
    cut = [*words, "--out", str(tmp_path / "cut"), "--revise"]
    assert main([*cut, "--steps=2"]) == 0
    first, _, _ = load_model(tmp_path / "cut" / "model.safetensors")
    frames = np.random.default_rng(0).integers(256, size=(9, 16, 16, 3), dtype=np.uint8)
    session = Session(tmp_path / "whole")
    translator = session.translator("model")
    assert [info.name for info in session.translators()] == ["model"]
    assert session.generators() == []
    out = translator.translate(frames)
    assert out.shape == frames.shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(translator.translate(frames[3:4])[0], out[3])
    assert translator.predict(out[:2]).shape == (16, 16, 3)
    assert len(list((tmp_path / "whole").glob("samples-*.png"))) == 2
    assert isinstance(first, RecycleGAN)


def test_a_resumed_run_is_the_uninterrupted_one() -> None:
    whole, cut, resumed = trainer(), trainer(), trainer(seed=5)

    def go(t: RecycleGANTrainer, steps: range) -> None:
        for index in steps:
            torch.manual_seed(index)
            t.set_rates(index, 4)
            t.step(index)

    go(whole, range(4))
    go(cut, range(2))
    resumed.load(cut.state())
    resumed.o = cut.o
    go(resumed, range(2, 4))
    for name, value in whole.model().state_dict().items():
        assert torch.equal(value, resumed.model().state_dict()[name]), name


def test_generators_and_translators_are_not_mixed_up(tmp_path: Path) -> None:
    save_model(tmp_path / "faces.safetensors", model(), {"title": "Faces"})
    session = Session(tmp_path)
    with pytest.raises(VidgenError, match="draws no clips"):
        session.render(Recipe(model="faces"))
    with pytest.raises(VidgenError, match="does not translate"):
        Session().translator("mocogan-shapes")


@pytest.mark.parametrize("path", ["nowhere", "avatars:nobody"])
def test_unknown_data_is_one_sentence(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--a", path, "--b", path, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_faces_are_found_and_cropped(tmp_path: Path) -> None:
    example = next((Path(__file__).parents[1] / "weights" / "examples").glob("speaker*.mp4"))
    head = read_clip(example, max_frames=9, size=128).frames
    wide = np.full((9, 128, 256, 3), 90, np.uint8)
    wide[:, :, 110:238] = head
    write_clip(tmp_path / "wide.mp4", wide, 25)
    source = open_triplets(str(tmp_path / "wide.mp4"), tmp_path / "cache", size=64, crop="auto")
    whole = open_triplets(str(tmp_path / "wide.mp4"), tmp_path / "cache", size=64, crop="none")
    assert source.clips[0].shape == (9, 64, 64, 3)
    small = to_video(head[None], 64)[0, 0]
    errors = [(to_video(np.array(s.clips[0])[None])[0, 0] - small).abs().mean() for s in (source, whole)]
    assert errors[0] < 0.5 * errors[1]
    write_clip(tmp_path / "grey.mp4", wide[:, :, :100], 25)
    with pytest.raises(VidgenError, match="--crop none"):
        open_triplets(str(tmp_path / "grey.mp4"), tmp_path / "cache", size=64, crop="auto")


def test_a_single_video_is_a_stream(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    write_clip(tmp_path / "one.mp4", frames, 25)
    source = open_triplets(str(tmp_path / "one.mp4"), tmp_path / "cache", size=16)
    assert source.strides == [2]
    assert source.batch(np.random.default_rng(0), 2).shape == (2, 3, 3, 16, 16)


def test_the_bench_compares_equal_losses() -> None:
    options = dataclasses.replace(
        LITERAL, size=16, width=4, blocks=1, predictor_width=4, d_width=4, d_layers=2
    )
    found = measure(options, repeats=1)
    assert found["loss_difference"] < 1e-4
    assert found["literal_s"] > 0


def readme(block: str) -> list[list[str]]:
    """Split the commands of a block of the README into words."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    lines = text.split(f"<!-- commands: {block} -->\n```bash\n")[1].split("```")[0].splitlines()
    return [shlex.split(line)[3:] for line in lines]


def test_the_commands_of_the_readme_can_run() -> None:
    args, options = parse(readme("translator")[0])
    assert (args.a, args.b, args.crop) == ("ME.mp4", "CHARACTER.mp4", "auto")
    assert options == Options(**PRESETS["modern"])
    made, (args, options) = (
        prepare_parser().parse_args(readme("translator-gpu")[0]),
        parse(readme("translator-gpu")[1]),
    )
    assert (made.out, made.size) == (args.a, options.size)
    assert content_id("some/obama_2.mp4", made.group) == "obama"
    assert args.b.removeprefix("avatars:") in CHARACTERS
