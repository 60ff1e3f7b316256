"""Inspect: where each motion style acts and how alike they are, in the model, the library, the command line
and the app.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vidgen.models.mostganv import MoStGANV, MoStGANVConfig

TINY = {
    "size": 32,
    "content_dim": 6,
    "style_dim": 8,
    "motion_dim": 4,
    "code_dim": 8,
    "motion_distance": 4,
    "motion_kernel": 2,
    "motion_styles": 3,
    "motion_style_dim": 4,
    "motion_hidden": 8,
    "num_labels": 0,
    "label_dim": 4,
    "base_width": 4,
    "max_width": 8,
    "longest_period": 16.0,
    "clip_length": 8,
}


def tiny(**changes: object) -> MoStGANV:
    torch.manual_seed(0)
    return MoStGANV(MoStGANVConfig(**TINY | changes)).eval()


# ---- the model


def points_of(model: MoStGANV, frames: int = 2) -> torch.Tensor:
    return torch.randn(frames, model.config.style_dim + model.config.code_dim, 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("order", ["content", "motion"])
def test_heat_is_what_the_filters_that_attend_to_a_style_put_out(order: str) -> None:
    model = tiny(order=order)
    points = points_of(model)
    outputs = []
    for conv in model.image.convs:
        conv.register_forward_hook(lambda *parts: outputs.append(parts[-1]))
    model.image(points)
    seen = [(x, scores) for x, scores in outputs if scores is not None]
    assert len(seen) == 4, "two layers at 16 px and two at 32"
    heat, _ = model.image.attention(points)
    assert heat.shape == (2, 3, 32, 32)
    for frame in range(2):
        total = torch.zeros(3, 32, 32)
        for x, scores in seen:
            layer = torch.zeros(3, *x.shape[-2:])
            for style in range(3):
                for o in range(x.shape[1]):
                    share = scores[frame, o, style].exp() / scores[frame, o].exp().sum()
                    layer[style] += share * x[frame, o].abs()
            layer = F.interpolate(layer[None], size=(32, 32), mode="bilinear")[0]
            total += layer / layer.max() / len(seen)
        torch.testing.assert_close(heat[frame], total)
    assert 0 <= heat.min() < heat.max() <= 1
    assert (heat[:, 0] - heat[:, 1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3])
def test_cosines_are_of_the_styles_of_each_frame(count: int) -> None:
    model = tiny(motion_styles=count)
    points = points_of(model)
    _, cosine = model.image.attention(points)
    assert cosine.shape == (2, count, count)
    torch.testing.assert_close(cosine, cosine.mT)
    torch.testing.assert_close(cosine.diagonal(dim1=1, dim2=2), torch.ones(2, count))
    styles = model.image.styles(points.flatten(1))
    for one in range(count):
        for other in range(count):
            a, b = styles[1, one], styles[1, other]
            torch.testing.assert_close(cosine[1, one, other], (a @ b) / (a.norm() * b.norm()))


@torch.no_grad()
def test_a_single_style_has_all_the_attention() -> None:
    model = tiny(motion_styles=1, attention_from=32)
    points = points_of(model)
    seen = []
    for conv in model.image.convs[-2:]:
        conv.register_forward_hook(lambda *parts: seen.append(parts[-1][0].abs().sum(1, keepdim=True)))
    model.image(points)
    whole = [layer / layer.amax((1, 2, 3), keepdim=True) for layer in seen]
    torch.testing.assert_close(model.image.attention(points)[0], sum(whole) / 2)


@pytest.mark.parametrize("changes", [{"motion_styles": 0}, {"attention_from": 64}])
def test_layers_that_follow_no_style_have_none_to_show(changes: dict) -> None:
    assert tiny().image.motion_styles == 3
    assert tiny(**changes).image.motion_styles == 0
