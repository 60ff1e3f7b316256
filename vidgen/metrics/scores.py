"""Scores of clips: arrays in, floats out, numpy only.

Clips are uint8 [n, t, h, w, c]; distances between pictures are root mean squares in levels of 0..255.
Sources: Frechet distance: Heusel et al. 2017 (images), Unterthiner et al. 2018 (clips). ACD and MCS: Tulyakov
et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

CHUNK = 64  # clips compared at a time, to bound the memory


class Gaussian:
    """Mean and covariance of features, [n, d], that come some rows at a time; memory does not grow with n.

    Of the covariance a root is kept, as the triangle of a QR of all rows about their mean, with the row that
    moves the mean (Chan, Golub & LeVeque 1983). Float64; no feature is squared, so that a singular covariance
    loses no digits.
    """

    def __init__(self, features: np.ndarray | None = None) -> None:
        self.count, self.mean, self.rows = 0, np.zeros(0), np.zeros((0, 0))
        if features is not None:
            self.add(features)

    def add(self, features: np.ndarray) -> None:
        """Take more rows, [n, d]."""
        assert features.ndim == 2 and len(features), features.shape
        features = features.astype(np.float64)
        if not self.count:
            self.mean, self.rows = np.zeros(features.shape[1]), np.zeros((0, features.shape[1]))
        assert features.shape[1] == len(self.mean), (features.shape, self.mean.shape)
        n, total = len(features), self.count + len(features)
        gap = features.mean(0) - self.mean
        moved = gap * np.sqrt(self.count * n / total)
        rows = np.concatenate([self.rows, features - features.mean(0), moved[None]])
        self.rows = np.linalg.qr(rows, mode="r") if len(rows) > len(gap) else rows
        self.mean, self.count = self.mean + gap * n / total, total

    def root(self, ddof: int = 1) -> np.ndarray:
        """Give a root [d, r] of the covariance, which is the mean over n - ddof rows."""
        return self.rows.T / np.sqrt(self.count - ddof)


def frechet_distance(first: np.ndarray | Gaussian, second: np.ndarray | Gaussian, ddof: int = 1) -> float:
    """Measure |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) between two sets of features, [n, d] and [m, d].

    Float64; exact for singular covariances too, so n may be smaller than d. At least two rows each. ddof: 1
    for the unbiased covariance, 0 for that of the published FVD.
    """
    first, second = (x if isinstance(x, Gaussian) else Gaussian(x) for x in (first, second))
    assert len(first.mean) == len(second.mean), (first.mean.shape, second.mean.shape)
    assert min(first.count, second.count) > 1, "a covariance needs at least two rows"
    root1, root2 = first.root(ddof), second.root(ddof)
    # tr (S1 S2)^(1/2) is the nuclear norm of R1' R2 where S = R R': no square root of a small eigenvalue is
    # taken.
    cross = np.linalg.svd(root1.T @ root2, compute_uv=False).sum()
    distance = np.sum((first.mean - second.mean) ** 2) + np.sum(root1**2) + np.sum(root2**2) - 2 * cross
    return float(max(distance, 0.0))


def average_content_distance(features: np.ndarray) -> float:
    """Measure ACD: the mean L2 distance between frames of a clip, averaged over clips; features [n, t, d]."""
    features = features.astype(np.float64)
    first, second = np.triu_indices(features.shape[1], k=1)
    if not len(first):
        return 0.0
    return float(np.linalg.norm(features[:, first] - features[:, second], axis=-1).mean())


def accuracy(predicted: np.ndarray, asked: np.ndarray) -> float:
    """Measure the share of equal entries. With a judge's answers on generated clips, this is the MCS."""
    assert predicted.shape == asked.shape, (predicted.shape, asked.shape)
    return float(np.mean(predicted == asked))


def factor_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Measure how far one factor moved on average: classes int [n] count as 0 or 1, values [n, ...] by L2."""
    assert first.shape == second.shape, (first.shape, second.shape)
    if np.issubdtype(first.dtype, np.integer):
        return float(np.mean(first != second))
    gap = first.astype(np.float64) - second.astype(np.float64)
    return float(np.sqrt((gap.reshape(len(gap), -1) ** 2).sum(1)).mean())


def swap_error(
    base: Mapping[str, np.ndarray], changed: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Measure how far factors move that should stay, as a share of their spread between independent clips.

    base: factors read off clips; changed: off the clips with only the *other* code drawn anew; other: off
    independent clips. Returns each factor's share and their "mean": 0 perfect, 1 no control. A factor that
    never differs between independent clips says nothing and is left out; without any that says something it
    is NaN.
    """
    moved = {name: factor_distance(base[name], changed[name]) for name in base}
    return swap_shares(moved, {name: factor_distance(base[name], other[name]) for name in base})


def swap_shares(moved: Mapping[str, float], spread: Mapping[str, float]) -> dict[str, float]:
    """Set how far each factor moved against its spread between independent clips, as `swap_error` does."""
    shares = {name: moved[name] / spread[name] for name in moved if spread[name] > 0}
    return {**shares, "mean": float(np.mean(list(shares.values()))) if shares else float("nan")}


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Measure the distance of every clip of one set to every clip of another: [n, m], levels of 0..255."""
    rows, columns = (clips.reshape(len(clips), -1) for clips in (first, second))
    assert rows.shape[1] == columns.shape[1], (first.shape, second.shape)
    out = np.empty((len(rows), len(columns)))
    for i in range(0, len(rows), CHUNK):
        a = rows[i : i + CHUNK].astype(np.float32)
        for j in range(0, len(columns), CHUNK):
            b = columns[j : j + CHUNK].astype(np.float32)
            square = (
                (a**2).sum(1, dtype=np.float64)[:, None] + (b**2).sum(1, dtype=np.float64) - 2.0 * (a @ b.T)
            )
            out[i : i + CHUNK, j : j + CHUNK] = np.sqrt(np.maximum(square, 0) / rows.shape[1])
    return out


def diversity(clips: np.ndarray) -> float:
    """Measure the mean distance between different clips: near 0 when the generator makes one clip only."""
    assert len(clips) > 1, "diversity is of at least two clips"
    table = distances(clips, clips)
    return float(table[~np.eye(len(clips), dtype=bool)].mean())


def nearest_distance(clips: np.ndarray, known: np.ndarray) -> float:
    """Measure the mean distance from each clip to the nearest known one: near 0 when the generator copies."""
    return float(distances(clips, known).min(1).mean())


class Nearest:
    """The nearest of known clips, which come some at a time, to each of `clips`, uint8 [n, t, h, w, c].

    distance [n], levels; found: those known clips, as `clips`.
    """

    def __init__(self, clips: np.ndarray) -> None:
        self.clips, self.found = clips, np.zeros_like(clips)
        self.distance = np.full(len(clips), np.inf)

    def add(self, known: np.ndarray) -> None:
        """Compare with more known clips."""
        table = distances(self.clips, known)
        best = table.argmin(1)
        nearer = table.min(1) < self.distance
        self.distance[nearer], self.found[nearer] = table.min(1)[nearer], known[best[nearer]]


def motion_energy(clip: np.ndarray) -> float:
    """Measure the mean change from frame to frame, levels of 0..255; clip uint8 [t, h, w, c]."""
    if len(clip) < 2:
        return 0.0
    return float(np.abs(np.diff(clip.astype(np.int16), axis=0)).mean())


def flicker(clip: np.ndarray) -> float:
    """Measure what jumps and returns: the mean gap of a frame to the middle of its neighbours, levels."""
    if len(clip) < 3:
        return 0.0
    return float(np.abs(np.diff(clip.astype(np.int16), n=2, axis=0)).mean() / 2)


def sharpness(clip: np.ndarray) -> float:
    """Measure how much of the pictures is finer than 3 px: the mean gap of a pixel to the mean of the 3 x 3
    about it, levels; clip uint8 [t, h, w, c].
    """
    levels = clip.astype(np.float32)
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    blurred = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
    return float(np.abs(levels[:, 1:-1, 1:-1] - blurred).mean())


def content_drift(clip: np.ndarray) -> float:
    """Measure how far the colours wander within a clip, 0..1, wherever in the picture they are.

    The mean over pairs of frames of the share of pixels whose colour would have to change (64 colours).
    """
    if len(clip) < 2:
        return 0.0
    return average_overlap_gap(np.stack([_colour_shares(frame) for frame in clip]))


def average_overlap_gap(shares: np.ndarray) -> float:
    """Measure the mean over pairs of rows of half their L1 distance; rows [t, bins] each sum to 1."""
    first, second = np.triu_indices(len(shares), k=1)
    return float(np.abs(shares[first] - shares[second]).sum(1).mean() / 2)


def _colour_shares(frame: np.ndarray) -> np.ndarray:
    """Return the share of each of 4 x 4 x 4 colours in a frame, soft between bins against jumps."""
    flat = frame.reshape(-1, 3).astype(np.float64) / 255 * 3
    low = np.minimum(flat.astype(int), 2)
    high = flat - low
    shares = np.zeros(64)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.asarray(corner) == 1, high, 1 - high), axis=1)
        shares += np.bincount((low + corner) @ (16, 4, 1), weights=weight, minlength=64)
    return shares / len(flat)


def meters(clip: np.ndarray) -> dict[str, float]:
    """Measure one clip for the app: content_drift 0..1, motion_energy and flicker in levels of 0..255."""
    assert clip.ndim == 4 and clip.shape[-1] == 3, clip.shape
    return {
        "content_drift": content_drift(clip),
        "motion_energy": motion_energy(clip),
        "flicker": flicker(clip),
    }
