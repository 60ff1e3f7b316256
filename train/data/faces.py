"""Clips cropped to the face in them, as they are decoded."""

from __future__ import annotations

import numpy as np

from vidgen.data.folders import ClipFolder
from vidgen.errors import VidgenError
from vidgen.faces import FaceTracker, crop
from vidgen.video_io import open_clip

MAX_SIDE = 1280  # px that a frame is read at: the crop is far smaller


class FaceFolder(ClipFolder):
    """The clips of a folder, each cropped to its largest face, which is followed and steadied."""

    def __init__(self, clips: ClipFolder) -> None:
        super().__init__(clips.sources, clips.categories, clips.size, clips.min_frames, clips.fps)

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Decode one clip: uint8 [t, h, w, 3] from the first frame with a face on, and its frames per second.

        Raises VidgenError, naming the file, for a clip without a face, or with too few frames after it.
        """
        path, tracker, faces = self.sources[index].path, FaceTracker(), []
        clip, times = open_clip(path, max_side=MAX_SIDE), []
        for frame in clip:
            times.append(frame.seconds)
            if (box := tracker.step(frame.pixels)) is not None:
                faces.append(crop(frame.pixels, box, self.size))
        if len(faces) < self.min_frames:
            raise VidgenError(
                f"{path} shows a face in {len(faces)} of its {len(times)} frames, but {self.min_frames} are "
                "needed: remove it, or take whole frames by --crop none."
            )
        return np.stack(faces), clip.fps or (len(times) - 1) / max(times[-1] - times[0], 1e-3)
