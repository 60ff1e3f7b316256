"""From a recipe to codes, and from codes to pictures.

Random numbers: one generator per seed and purpose, drawn row by row on the CPU. So a seed means the same
codes on any machine, alone or in a batch, and a longer clip begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidgen.recipe import Recipe

CONTENT, MOTION, CATEGORY = 1, 2, 3  # purposes of a seed: the same number gives independent draws for each
SMOOTHEST = 0.95  # lag-one correlation of the motion noise at smoothness 1
CHUNK = (
    16  # frames that G_I draws at once: always the same number, so that no picture depends on its neighbours
)


@dataclass(frozen=True)
class Codes:
    """What a clip is made from: content [n, d], motion [n, l, d], times [n, t], label [n, t] or None,
    strength [n].
    """

    content: Tensor
    motion: Tensor
    times: Tensor
    label: Tensor | None
    strength: Tensor


def normal_rows(seed: int, purpose: int, rows: int, dim: int) -> Tensor:
    """Draw N(0, I) rows, [rows, dim]; more rows begin with the fewer."""
    generator = np.random.Generator(np.random.PCG64([purpose, seed]))
    return torch.from_numpy(generator.standard_normal((rows, dim))).float()


def lerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Go straight from a to b."""
    return a + share * (b - a)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Go from a to b along the sphere, row by row (last axis), with lengths interpolated: Gaussian codes
    stay typical.
    """
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    cosine = ((a * b).sum(-1, keepdim=True) / (norm_a * norm_b).clamp(min=1e-12)).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = angle.sin()
    near = sine.abs() < 1e-4  # parallel or opposite: there is no one arc
    safe = torch.where(near, torch.ones_like(sine), sine)
    turned = (torch.sin((1 - share) * angle) * (a / norm_a) + torch.sin(share * angle) * (b / norm_b)) / safe
    return torch.where(near, lerp(a, b, share), turned * lerp(norm_a, norm_b, share))


def smooth(noise: Tensor, smoothness: float) -> Tensor:
    """Low-pass the motion noise along the clip, [l, d], with its variance and its first row (h_0) kept.

    A first-order recurrence, so a longer clip still begins with the shorter one.
    """
    lag = SMOOTHEST * smoothness
    rows = [noise[0], noise[1]]
    for fresh in noise[2:]:
        rows.append(lag * rows[-1] + (1 - lag**2) ** 0.5 * fresh)
    return torch.stack(rows)


def content_code(recipe: Recipe, dim: int, directions: Tensor) -> Tensor:
    """Give a recipe's content, [d]; directions [8, d]: six for the sliders, two for the drag pad."""
    content = normal_rows(recipe.content_seed, CONTENT, 1, dim)[0]
    if recipe.content_to is not None and recipe.content_mix:
        content = slerp(content, normal_rows(recipe.content_to, CONTENT, 1, dim)[0], recipe.content_mix)
    moves = torch.tensor([*recipe.directions, *recipe.pad])
    return recipe.truncation * content + moves @ directions


def motion_code(recipe: Recipe, knots: int, dim: int) -> Tensor:
    """Give a recipe's motion noise, [l, d]: row 0 starts the path, then one row a frame."""
    noise = normal_rows(recipe.motion_seed, MOTION, knots, dim)
    if recipe.motion_to is not None and recipe.motion_mix:
        noise = slerp(noise, normal_rows(recipe.motion_to, MOTION, knots, dim), recipe.motion_mix)
    if recipe.splice_seed is not None:
        first = 1 + recipe.splice_at
        noise = torch.cat([noise[:first], normal_rows(recipe.splice_seed, MOTION, knots, dim)[first:]])
    return smooth(noise, recipe.smoothness) if recipe.smoothness else noise


def frame_times(recipe: Recipe, native_fps: float) -> Tensor:
    """Give the time of each frame, [t], in training frames: speed and fps only choose where the path is
    read.
    """
    frame = torch.arange(recipe.frames, dtype=torch.float64)
    order = {
        "forward": frame,
        "reverse": frame.flip(0),
        "loop": torch.minimum(frame, recipe.frames - frame),  # there and back, ending a step before the start
        "freeze": torch.zeros_like(frame),
    }[recipe.playback]
    return (order * recipe.speed * native_fps / recipe.fps).float()


def frame_labels(recipe: Recipe, num_labels: int) -> Tensor | None:
    """Give the category of each frame, [t]; one that the recipe leaves open is drawn from its motion seed."""
    if not num_labels:
        return None
    drawn = int(np.random.Generator(np.random.PCG64([CATEGORY, recipe.motion_seed])).integers(num_labels))
    label = torch.full((recipe.frames,), drawn if recipe.category is None else recipe.category)
    if recipe.category_to is not None:
        label[recipe.category_at :] = recipe.category_to
    return label


def codes(recipes: Sequence[Recipe], model: nn.Module, directions: Tensor, native_fps: float) -> Codes:
    """Give the codes of recipes with the same number of frames."""
    times = torch.stack([frame_times(recipe, native_fps) for recipe in recipes])
    knots = max(model.motion_length(float(row.max())) for row in times)
    labels = [frame_labels(recipe, model.num_labels) for recipe in recipes]
    return Codes(
        content=torch.stack([content_code(recipe, model.content_dim, directions) for recipe in recipes]),
        motion=torch.stack([motion_code(recipe, knots, model.motion_dim) for recipe in recipes]),
        times=times,
        label=torch.stack(labels) if model.num_labels else None,
        strength=torch.tensor([recipe.strength for recipe in recipes]),
    )


def fast_dtype(device: str) -> torch.dtype:
    """Choose the precision of rendering: half where the processor multiplies it natively, else float32.

    A rule and not a race, so that a machine always renders a recipe the same way.
    """
    if torch.device(device).type == "cuda":
        return torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def factorise(model: nn.Module, count: int = 8) -> Tensor:
    """Give the directions of content that move the first layer of the pictures most, [count, d], unit length.

    Closed-form factorisation (Shen & Zhou, CVPR 2021): the eigenvectors of A^T A, A the layer's weights on
    the content.
    """
    vectors = torch.linalg.svd(model.content_weights().float(), full_matrices=False).U.T[:count]
    strongest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    signed = vectors * strongest.sign()  # a sign that does not depend on the solver
    return F.pad(signed, (0, 0, 0, count - len(signed)))  # a tiny content space has no more directions


class Renderer:
    """The rendering path: norms folded, channels last, low precision, chunks of a fixed number of frames."""

    def __init__(self, model: nn.Module, device: str = "cpu", dtype: torch.dtype | None = None) -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)
        self.dtype = dtype or fast_dtype(device)
        image = model.folded()
        self.image = image.to(self.device, self.dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def frames(self, codes: Codes) -> Iterator[np.ndarray]:
        """Yield chunks of frames, uint8 [chunk, h, w, c], clip after clip: memory does not grow with the
        clip.
        """
        codes = Codes(*(None if part is None else part.to(self.device) for part in vars(codes).values()))
        latent = self.model.latents(codes.content, codes.motion, codes.times, codes.label, codes.strength)
        points = rearrange(latent, "n t d -> (n t) d 1 1")
        for chunk in points.split(CHUNK):
            padded = chunk.new_zeros(CHUNK, *chunk.shape[1:])
            padded[: len(chunk)] = chunk
            picture = self.image(padded.to(self.dtype, memory_format=torch.channels_last))[: len(chunk)]
            byte = picture.float().add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
            yield rearrange(byte, "n c h w -> n h w c").contiguous().cpu().numpy()

    def clips(self, codes: Codes) -> np.ndarray:
        """Render whole clips: uint8 [n, t, h, w, c]."""
        return rearrange(
            np.concatenate(list(self.frames(codes))), "(n t) h w c -> n t h w c", n=len(codes.times)
        )
