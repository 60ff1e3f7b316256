"""A translator for use: uint8 frames in, uint8 frames out."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from vidgen.sampling import fast_dtype, to_bytes

CHUNK = 8  # frames translated at once, to bound the memory


class FrameTranslator:
    """Translate frames with a model of the contract's second kind (RecycleGAN): channels last, and half
    precision on a GPU.

    size: px of a frame's side. reversible: whether `back` works.
    """

    def __init__(self, model: nn.Module, device: str = "cpu") -> None:
        self.device, self.dtype = torch.device(device), fast_dtype(device)
        self.model = model.to(self.device, self.dtype, memory_format=torch.channels_last).eval()
        self.size, self.reversible = model.config.size, model.reversible

    def translate(self, frames: np.ndarray) -> np.ndarray:
        """Translate frames of X, uint8 [t, s, s, 3], into frames of Y, the same."""
        return self._in_chunks(self.model, frames)

    def back(self, frames: np.ndarray) -> np.ndarray:
        """Translate frames of Y, uint8 [t, s, s, 3], into frames of X; VidgenError where the model has no way
        back.
        """
        return self._in_chunks(self.model.back, frames)

    @torch.inference_mode()
    def predict(self, previous: np.ndarray) -> np.ndarray:
        """Predict the frame of Y that follows two: uint8 [2, s, s, 3] -> [s, s, 3]."""
        return to_bytes(self.model.predict(self._video(previous)))[0]

    @torch.inference_mode()
    def _in_chunks(self, way: nn.Module, frames: np.ndarray) -> np.ndarray:
        if not len(frames):
            return frames
        parts = [frames[first : first + CHUNK] for first in range(0, len(frames), CHUNK)]
        return np.concatenate([to_bytes(way(self._video(part))[0]) for part in parts])

    def _video(self, frames: np.ndarray) -> Tensor:
        """Turn uint8 [t, h, w, c] into [1, t, c, h, w] in [-1, 1]."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        video = rearrange(pixels, "t h w c -> 1 t c h w").to(self.dtype)
        return video / 127.5 - 1
