"""What a translator makes of a row of crops: its own frames, steadied by its predictor, and the panels."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

BLEND = 0.3  # of the app and the command: steadier, and follows as well (weights/recyclegan-mia.md)
PANELS = ("source", "result", "cycle", "residual")
RESIDUAL_GAIN = 4  # the predictor's error is shown so many times brighter


class Translator(Protocol):
    """A loaded translator: uint8 RGB frames of `size` pixels in and out."""

    size: int
    reversible: bool

    def translate(self, frames: np.ndarray) -> np.ndarray:
        """Translate [t, s, s, 3] frame by frame."""

    def predict(self, previous: np.ndarray) -> np.ndarray:
        """Predict the frame [s, s, 3] that follows two translated ones, [2, s, s, 3]."""

    def back(self, frames: np.ndarray) -> np.ndarray:
        """Translate [t, s, s, 3] back to the source's domain; VidgenError if it is not reversible."""


class Painter:
    """Translate crops batch by batch and remember what the predictor needs of the frames before."""

    def __init__(
        self, translator: Translator, blend: float = 0.0, panels: tuple[str, ...] = ("result",)
    ) -> None:
        self.translator, self.blend, self.panels = translator, blend, panels
        self.before: deque[np.ndarray] = deque(maxlen=2)

    def paint(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """Return the panels of crops, uint8 [t, s, s, 3], each of the same shape, and "result" always."""
        translated = self.translator.translate(crops)
        pairs = [self._steadied(frame) for frame in translated]
        shown = {"source": crops, "result": np.stack([result for result, _ in pairs])}
        if "residual" in self.panels:
            shown["residual"] = np.stack([residual for _, residual in pairs])
        if "cycle" in self.panels:
            shown["cycle"] = self.translator.back(shown["result"])
        return shown

    def roll(self, source: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return the panels of the frame that the predictor puts after the last one."""
        result = self._predicted()
        self.before.append(result)
        shown = {"result": result, "source": result if source is None else source}
        shown["residual"] = np.zeros_like(result)
        if "cycle" in self.panels:
            shown["cycle"] = self.translator.back(result[None])[0]
        return shown

    def _steadied(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        residual = np.zeros_like(frame)
        if len(self.before) == 2 and (self.blend > 0 or "residual" in self.panels):
            foreseen = self._predicted().astype(np.float32)
            residual = (np.abs(foreseen - frame) * RESIDUAL_GAIN).clip(0, 255).astype(np.uint8)
            frame = np.rint(frame + self.blend * (foreseen - frame)).astype(np.uint8)
        self.before.append(frame)
        return frame, residual

    def _predicted(self) -> np.ndarray:
        return self.translator.predict(np.stack([self.before[0], self.before[-1]]))
