"""The models, behind one contract (no base class).

| what | form |
|---|---|
| video | [n, t, c, h, w] float in [-1, 1] |
| content | [n, d] |
| motion | [n, l, d]: the noise along the clip, one row per knot |
| times | [n, t] float, in frames: fractional and any length |
| label | [n] or [n, t] int, or None |
| generator | config, content_dim, motion_dim, num_labels, motion_length(last_time), and the below |

| translator (Recycle-GAN) | config, reversible, and the below |

Generators: `forward(content, motion, times, label=None, strength=1.0, smoothness=0.0, truncation=1.0,
moves=None) -> video`; `latents(same) -> [n, t, d]`, what the picture network draws frames from; `folded()`,
that network ready for rendering; `plain()`, the model in its readable form, to measure by; `path(motion,
times, label, strength, smoothness)`, for the plot;
`content_weights() -> [d, outputs]`, those through which the content enters where `moves` [n, d] are added to
it, and `content_covariance() -> [d, d]`, how far it spreads there. Where the picture network follows motion
styles, it also has `motion_styles`, their number k, and `attention(points [m, d, 1, 1]) -> (heat [m, k, h, w]
in [0, 1], cosine [m, k, k])`: where each style acts, and how alike they are. Translators: `forward(video) ->
video`, `predict(two frames) -> the next`, and `back(video)` where they are reversible.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from vidgen.errors import VidgenError
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.models.mostganv import MoStGANV, MoStGANVConfig
from vidgen.models.recyclegan import RecycleGAN, RecycleGANConfig

FAMILIES: dict[str, tuple[type, type[nn.Module]]] = {
    "mocogan": (MoCoGANConfig, MoCoGAN),
    "mostganv": (MoStGANVConfig, MoStGANV),
    "recyclegan": (RecycleGANConfig, RecycleGAN),
}


def nearest(name: str, names: list[str]) -> str:
    """Word a hint: the nearest of the known names, or all of them."""
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}."


def config_from(family: str, values: Mapping[str, Any]) -> Any:
    """Build a family's config from plain values; an unknown family or option is a VidgenError."""
    if family not in FAMILIES:
        raise VidgenError(f"Unknown model family {family!r}; {nearest(family, list(FAMILIES))}")
    config_class = FAMILIES[family][0]
    known = [field.name for field in fields(config_class)]
    for name in values:
        if name not in known:
            raise VidgenError(f"Unknown {family} option {name!r}; {nearest(name, known)}")
    return config_class(**values)


def family_of(model: nn.Module) -> str:
    """Name a model's family."""
    return next(name for name, (_, cls) in FAMILIES.items() if isinstance(model, cls))


def build(family: str, values: Mapping[str, Any]) -> nn.Module:
    """Build a model with new weights from plain config values."""
    config = config_from(family, values)  # first: it knows the words for an unknown family
    return FAMILIES[family][1](config)
