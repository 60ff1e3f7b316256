"""Draw talking heads with signed distances, many at once, at any size and on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from train.data import avatar_body as body
from train.data import avatar_face as face
from train.data.avatar_head import Head
from train.data.avatar_identity import Identity, rgb_of
from train.data.avatar_motion import FACTORS

CHUNK_PIXELS = 16 * 128 * 128  # painted together: few enough to stay in the cache
LAYERS = (  # from the back to the front
    body.background,
    body.back_hair,
    body.body,
    body.ears,
    face.skin,
    face.cheeks,
    face.nose,
    face.mouth,
    face.eyes,
    body.front_hair,
    face.brows,
    face.glasses,
)


@torch.no_grad()
def draw(
    identities: Sequence[Identity],
    motion: Mapping[str, Tensor],
    size: int = 128,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draw one frame per identity, [n, 3, size, size] in [-1, 1]; motion: each of `FACTORS` -> [n]."""
    n = len(identities)
    assert n and all(len(motion[name]) == n for name in FACTORS), (n, list(motion))
    step = max(1, CHUNK_PIXELS // size**2)
    parts = []
    for start in range(0, n, step):
        people = _table(identities[start : start + step], device)
        pose = {
            name: motion[name][start : start + step].to(device, torch.float32)[:, None, None]
            for name in FACTORS
        }
        head = Head(people, pose, size)
        for layer in LAYERS:
            layer(head)
        parts.append(head.image.clamp_(0, 1).mul_(2).sub_(1))
    return torch.cat(parts)


def _table(identities: Sequence[Identity], device: str | torch.device) -> dict[str, Tensor]:
    """Stack identities: numbers [n, 1, 1], colours [n, 3, 1, 1] in 0..1."""
    table = {}
    for field in fields(Identity):
        values = [getattr(identity, field.name) for identity in identities]
        if field.name.endswith("_colour"):
            colours = [rgb_of(value) for value in values]
            table[field.name] = torch.tensor(colours, device=device)[:, :, None, None]
        else:
            table[field.name] = torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
    return table
