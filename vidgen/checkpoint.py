"""Weights: one safetensors file with its JSON description in the metadata; strict load, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidgen._clips.files import replacing, reported
from vidgen.catalogue import FORMAT, read_header
from vidgen.errors import VidgenError
from vidgen.models import build, family_of


def save_model(
    path: str | Path, model: nn.Module, about: Mapping[str, Any], extra: Mapping[str, Tensor] | None = None
) -> None:
    """Save a generator in half precision.

    about: JSON-able description (title, categories, fps, licence, training card ...). extra: further tensors,
    such as the content directions, kept under "extra." names.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in (extra or {}).items()}
    half = {
        name: (v.half() if v.is_floating_point() else v).contiguous().clone() for name, v in tensors.items()
    }
    metadata = {
        "format": FORMAT,
        "family": family_of(model),
        "config": json.dumps(asdict(model.config)),
        "about": json.dumps(dict(about)),
    }
    data = save(half, metadata)
    with replacing(path) as part, reported(path):
        part.write_bytes(data)


def load_model(path: str | Path, device: str = "cpu") -> tuple[nn.Module, dict[str, Any], dict[str, Tensor]]:
    """Load a generator for use: (model in float32 and eval mode, about, extra tensors)."""
    header = read_header(path)
    try:
        with torch.device("meta"):
            model = build(header["family"], header["config"])
        with safe_open(path, "pt", device=device) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        tensors = {name: v.float() if v.is_floating_point() else v for name, v in tensors.items()}
        state = {name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")}
        model.load_state_dict(state, strict=True, assign=True)
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise VidgenError(f"{path} does not hold the tensors that its description promises.") from error
    extra = {name.removeprefix("extra."): v for name, v in tensors.items() if name.startswith("extra.")}
    return model.eval().requires_grad_(False), header["about"], extra
