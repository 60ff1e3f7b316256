"""What reads factors off any clip, and describes it for a Frechet distance: judges, the picture, an I3D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat

from vidgen.errors import VidgenError
from vidgen.evaluation.real import averaged, file_hash
from vidgen.metrics import shapes
from vidgen.metrics.features import Judge, clip_features, frame_content, load_judge, read_factors

PROBES = Path(__file__).resolve().parents[2] / "weights" / "probes"
I3D_FRAMES = 128  # looked at together, as in StyleGAN-V's measurements
Factors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Extractor:
    """Describe clips, uint8 [n, t, h, w, c] -> float [n, d].

    name: of the file; key: a hash of what it does; ddof: of the covariances that its distances are of.
    """

    name: str
    key: str
    features: Callable[[np.ndarray], np.ndarray]
    ddof: int = 1


@dataclass(frozen=True)
class Reader:
    """Read clips uint8 [n, t, h, w, c]: named factors, some content, some motion, perhaps the category.

    look: describe the content of each frame by itself, [n, t, d], by what `looked` names; None where nothing
    does. extractor: for FVD-c, None without a judge. names_category: whether `read` gives "category".
    """

    read: Callable[[np.ndarray], Factors]
    content: tuple[str, ...]
    motion: tuple[str, ...]
    tests: dict[str, float] = field(default_factory=dict)  # accuracy on real test clips, by factor
    about: str = ""
    look: Callable[[np.ndarray], np.ndarray] | None = None
    looked: str = "content"
    extractor: Extractor | None = None
    name: str = "the picture itself"
    names_category: bool = True


def read_frames(judge: Judge, clip: np.ndarray) -> Factors:
    """Read values off each frame of a clip by itself: uint8 [t, h, w, c] -> name -> float32 [t]."""
    frames = rearrange(fitted(clip[None], judge.config.size), "1 t h w c -> t 1 h w c")
    return {name: value[:, 0, 0] for name, value in read_factors(judge, frames).items()}


def fitted(clips: np.ndarray, size: int) -> np.ndarray:
    """Bring clips, uint8 [n, t, h, w, c], to a judge's size: averaged down or repeated up."""
    n, _, h, w, _ = clips.shape
    if h != w or max(h, size) % min(h, size):
        raise VidgenError(f"The judge reads frames of {size} px, not {h} x {w}.")
    if h < size:
        return repeat(clips, "n t h w c -> n t (h a) (w b) c", a=size // h, b=size // h)
    return averaged(clips, size)


def _read_shapes(clips: np.ndarray) -> Factors:
    return shapes.shape_content(clips) | shapes.shape_motion(clips) | {"category": shapes.shape_axis(clips)}


def find_reader(kind: str, judge: Path | None = None) -> Reader | None:
    """Open what reads clips of a data set, if there is anything: `open_reader`."""
    known = judge is not None or kind == "shapes" or (PROBES / f"{kind}.safetensors").is_file()
    return open_reader(kind, judge) if known else None


def open_reader(kind: str, judge: Path | None = None) -> Reader:
    """Find what reads the clips of a data set: the picture itself for shapes, else the shipped judge."""
    if kind == "shapes" and judge is None:
        about = "Factors are measured in the picture (`vidgen/metrics/shapes.py`); no network is involved"
        factors, extractor = (("colour", "size", "form"), ("trajectory",)), None
        if (path := PROBES / "shapes.safetensors").is_file():
            extractor = open_reader(kind, path).extractor
            about += f", but for FVD-c, in the features of `weights/probes/{path.name}`"
        look = {"look": shapes.shape_colours, "looked": "colour"}
        return Reader(_read_shapes, *factors, about=f"{about}.", extractor=extractor, **look)
    path = judge or PROBES / f"{kind}.safetensors"
    network, made = load_judge(path)
    config, key = network.config, file_hash(path)
    if not {"steps", "revision", "test", "test_clips", "held_out"} <= set(made):
        raise VidgenError(f"{path} is no judge of clips as python -m train.probes writes them.")
    test = made["test"]
    right = f": category accuracy {test['category']:.1%}" if "category" in test else ""
    about = (
        f"Factors are read by a network of {sum(p.numel() for p in network.parameters()):,} parameters "
        f"(`weights/probes/{kind}.safetensors`), trained for {made['steps']} steps on real clips of the "
        f"training split only (revision {made['revision']}) and tested on {made['test_clips']} real clips of "
        f"held-out subjects ({made['held_out']}){right}."
    )
    return Reader(
        lambda clips: read_factors(network, fitted(clips, config.size)),
        config.content,
        config.motion,
        test,
        about,
        (lambda clips: frame_content(network, fitted(clips, config.size))) if config.content else None,
        extractor=Extractor(path.name, key, lambda clips: clip_features(network, fitted(clips, config.size))),
        name=f"{path.name} {key[:8]}",
        names_category="category" in config.heads,
    )


def open_i3d(path: Path, device: str = "cpu") -> Extractor:
    """Open the published detector, a TorchScript file that the user has: an I3D trained on Kinetics-400.

    It is called as in StyleGAN-V (Skorokhodov et al., CVPR 2022): clips [n, c, t, h, w] in 0..255, which it
    scales and resizes to 224 px itself, for what comes before the classifier. There covariances are means
    over n rows.
    """
    if not path.is_file():
        raise VidgenError(f"There is no file {path}: give the I3D detector's TorchScript file as --i3d.")
    try:
        network = torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise VidgenError(f"{path} is not a readable TorchScript file.") from error

    @torch.inference_mode()
    def features(clips: np.ndarray) -> np.ndarray:
        step, found = max(I3D_FRAMES // clips.shape[1], 1), []
        for first in range(0, len(clips), step):
            pixels = torch.from_numpy(np.ascontiguousarray(clips[first : first + step])).to(device)
            video = rearrange(pixels, "n t h w c -> n c t h w").float()
            try:
                found.append(network(video, rescale=True, resize=True, return_features=True).float().cpu())
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise VidgenError(f"{path} does not work as the I3D detector does ({reason}).") from error
        described = torch.cat(found).numpy()
        if described.ndim != 2:
            raise VidgenError(
                f"{path} gives {described.ndim - 1} axes a clip, not one: it is no I3D detector."
            )
        return described

    return Extractor(path.name, file_hash(path), features, ddof=0)
