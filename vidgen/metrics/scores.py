"""Scores of clips: arrays in, floats out, numpy only.

Clips are uint8 [n, t, h, w, c]; distances between pictures are root mean squares in levels of 0..255.
Sources: Frechet distance: Heusel et al. 2017 (images), Unterthiner et al. 2018 (clips). ACD and MCS: Tulyakov
et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

CHUNK = 64  # clips compared at a time, to bound the memory


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Measure |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) between two sets of features, [n, d] and [m, d].

    Float64; exact for singular covariances too, so n may be smaller than d. At least two rows each.
    """
    assert first.ndim == second.ndim == 2 and first.shape[1] == second.shape[1], (first.shape, second.shape)
    assert min(len(first), len(second)) > 1, "a covariance needs at least two rows"
    (mean1, root1), (mean2, root2) = _gaussian(first), _gaussian(second)
    # tr (S1 S2)^(1/2) is the nuclear norm of R1' R2 where S = R R': no square root of a small eigenvalue is
    # taken.
    cross = np.linalg.svd(root1.T @ root2, compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.sum(root1**2) + np.sum(root2**2) - 2 * cross
    return float(max(distance, 0.0))


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [d] and a root [d, r] of the covariance, r the smaller of n and d."""
    features = features.astype(np.float64)
    centred = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    root = centred.T if len(features) <= features.shape[1] else np.linalg.qr(centred, mode="r").T
    return features.mean(0), root


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
    shares = {}
    for name in base:
        spread = factor_distance(base[name], other[name])
        if spread > 0:
            shares[name] = factor_distance(base[name], changed[name]) / spread
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
