"""From a recipe to codes, and from codes to pictures.

Random numbers: one generator per seed and purpose, drawn row by row on the CPU. So a seed means the same
codes on any machine, alone or in a batch, and a longer clip begins with the shorter one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidgen.recipe import Recipe

CONTENT, MOTION, CATEGORY = 1, 2, 3  # purposes of a seed: the same number gives independent draws for each
CHUNK = (
    16  # frames that G_I draws at once: always the same number, so that no picture depends on its neighbours
)


@dataclass(frozen=True)
class Codes:
    """What clips are made from.

    content [n, d], motion [n, l, d], times [n, t], label [n, t] or None, strength [n], smoothness [n],
    truncation [n]; moves [n, d]: along the model's directions, or None;
    other [n, l, d]: the motion of the frames that `spliced` [n, t] marks, both None where no clip is spliced.
    """

    content: Tensor
    motion: Tensor
    times: Tensor
    label: Tensor | None
    strength: Tensor
    smoothness: Tensor
    truncation: Tensor
    moves: Tensor | None = None
    other: Tensor | None = None
    spliced: Tensor | None = None

    def to(self, device: torch.device) -> Codes:
        """Copy to a device."""
        return Codes(*(None if part is None else part.to(device) for part in vars(self).values()))


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


def content_code(recipe: Recipe, dim: int) -> Tensor:
    """Give a recipe's content, [d]."""
    content = normal_rows(recipe.content_seed, CONTENT, 1, dim)[0]
    if recipe.content_to is not None and recipe.content_mix:
        content = slerp(content, normal_rows(recipe.content_to, CONTENT, 1, dim)[0], recipe.content_mix)
    return content


def content_moves(recipe: Recipe, directions: Tensor) -> Tensor:
    """Give a recipe's moves, [d], along directions [8, d]: six for the sliders, two for the drag pad."""
    return torch.tensor([*recipe.directions, *recipe.pad]) @ directions


def motion_code(recipe: Recipe, knots: int, dim: int) -> Tensor:
    """Give a recipe's motion noise, [l, d]: row 0 starts the path, then one row a frame."""
    noise = normal_rows(recipe.motion_seed, MOTION, knots, dim)
    if recipe.motion_to is not None and recipe.motion_mix:
        noise = slerp(noise, normal_rows(recipe.motion_to, MOTION, knots, dim), recipe.motion_mix)
    return noise


def spliced_motion(recipe: Recipe, knots: int, dim: int) -> Tensor:
    """Give the motion noise of the frames from `splice_at` on, [l, d]; the clip's own where nothing is
    spliced.
    """
    if recipe.splice_seed is None:
        return motion_code(recipe, knots, dim)
    return normal_rows(recipe.splice_seed, MOTION, knots, dim)


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


def codes(recipes: Sequence[Recipe], model: nn.Module, directions: Tensor | None, native_fps: float) -> Codes:
    """Give the codes of recipes with the same number of frames; without directions, nothing is moved."""
    times = torch.stack([frame_times(recipe, native_fps) for recipe in recipes])
    knots = max(model.motion_length(float(row.max())) for row in times)
    labels = [frame_labels(recipe, model.num_labels) for recipe in recipes]
    own = Codes(
        content=torch.stack([content_code(recipe, model.content_dim) for recipe in recipes]),
        motion=torch.stack([motion_code(recipe, knots, model.motion_dim) for recipe in recipes]),
        times=times,
        label=torch.stack(labels) if model.num_labels else None,
        strength=torch.tensor([recipe.strength for recipe in recipes]),
        smoothness=torch.tensor([recipe.smoothness for recipe in recipes]),
        truncation=torch.tensor([recipe.truncation for recipe in recipes]),
        moves=None
        if directions is None
        else torch.stack([content_moves(recipe, directions) for recipe in recipes]),
    )
    if all(recipe.splice_seed is None for recipe in recipes):
        return own
    frame = torch.arange(times.shape[1])
    return dataclasses.replace(
        own,
        other=torch.stack([spliced_motion(recipe, knots, model.motion_dim) for recipe in recipes]),
        spliced=torch.stack([frame >= recipe.splice_at for recipe in recipes]),
    )


def fast_dtype(device: str) -> torch.dtype:
    """Choose the precision of rendering: half on a GPU, float32 on a processor.

    bfloat16 is faster on some processors, but moves single pixels visibly, and a recipe should give the same
    picture everywhere.
    """
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def content_root(model: nn.Module) -> Tensor:
    """Give the symmetric square root of the content's covariance, [d, d] float64: it makes standard
    deviations of the content of steps of unit length.
    """
    values, axes = torch.linalg.eigh(model.content_covariance().double())
    return axes * values.clamp(min=0).sqrt() @ axes.T


def factorise(model: nn.Module, count: int = 8) -> Tensor:
    """Give the directions of content that move the picture network most, [count, d], each a standard
    deviation of the content long.

    Closed-form factorisation (Shen & Zhou, CVPR 2021): the eigenvectors of A^T A, A all its weights on
    the content, here in its standard deviations.
    """
    root = content_root(model)
    weights = root @ model.content_weights().detach().double()
    vectors = (torch.linalg.svd(weights, full_matrices=False).U.T[:count] @ root).float()
    strongest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    signed = vectors * strongest.sign()  # a sign that does not depend on the solver
    return F.pad(signed, (0, 0, 0, count - len(signed)))  # a tiny content space has no more directions


def to_bytes(frames: Tensor) -> np.ndarray:
    """Turn frames [n, c, h, w] in [-1, 1] into levels, uint8 [n, h, w, c]; float32 frames are overwritten."""
    byte = frames.float().add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(byte, "n c h w -> n h w c").contiguous().cpu().numpy()


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
        for chunk, count in self._chunks(codes):
            yield to_bytes(self.image(chunk)[:count])

    @torch.inference_mode()
    def attention(self, codes: Codes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield where motion styles act and how alike they are, for chunks of frames, clip after clip: heat
        float32 [chunk, k, h, w], cosine float32 [chunk, k, k].
        """
        for chunk, count in self._chunks(codes):
            heat, cosine = self.image.attention(chunk)
            yield heat[:count].float().cpu().numpy(), cosine[:count].float().cpu().numpy()

    @torch.inference_mode()
    def path(self, codes: Codes) -> Tensor:
        """Walk the motion paths: [n, t, d]."""
        return _spliced(codes.to(self.device), self.model.path)

    def _chunks(self, codes: Codes) -> Iterator[tuple[Tensor, int]]:
        """Yield the points of CHUNK frames, [CHUNK, d, 1, 1], of which the first so many are the clips'."""
        codes = codes.to(self.device)
        placed = codes.truncation, codes.moves
        latent = _spliced(
            codes, lambda motion, *rest: self.model.latents(codes.content, motion, *rest, *placed)
        )
        points = rearrange(latent, "n t d -> (n t) d 1 1")
        for chunk in points.split(CHUNK):
            padded = chunk.new_zeros(CHUNK, *chunk.shape[1:])
            padded[: len(chunk)] = chunk
            yield padded.to(self.dtype, memory_format=torch.channels_last), len(chunk)

    def clips(self, codes: Codes) -> np.ndarray:
        """Render whole clips: uint8 [n, t, h, w, c]."""
        return rearrange(
            np.concatenate(list(self.frames(codes))), "(n t) h w c -> n t h w c", n=len(codes.times)
        )


def _spliced(codes: Codes, read: Callable[..., Tensor]) -> Tensor:
    """Read [n, t, d] off the paths of the clips' motion, and off those of the other motion where it is
    spliced in.
    """
    rest = codes.times, codes.label, codes.strength, codes.smoothness
    own = read(codes.motion, *rest)
    if codes.other is None:
        return own
    return torch.where(rearrange(codes.spliced, "n t -> n t 1"), read(codes.other, *rest), own)
