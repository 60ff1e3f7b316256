"""Begin a training with the networks of a weights file, one's own or one that ships."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from vidgen.checkpoint import load_model
from vidgen.errors import VidgenError
from vidgen.models import family_of


def begin_with(path: str, network: nn.Module, extras: Collection[str] = ()) -> dict[str, Any]:
    """Copy a weights file's networks into `network`, which has a `config`; gives the file's training card
    and checksum, for the card of what becomes of it.

    extras: options of the config that add parts; where one of the two goes without, the parts are left out or
    stay as they were made. VidgenError where other options differ.
    """
    model, about, _ = load_model(path)
    if family_of(model) != family_of(network):
        raise VidgenError(f"{path} holds a {family_of(model)}; --start needs a {family_of(network)}.")
    theirs, ours = asdict(model.config), asdict(network.config)
    apart = [
        name
        for name in ours
        if theirs[name] != ours[name] and not (name in extras and not (theirs[name] and ours[name]))
    ]
    if apart:
        said = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in apart)
        raise VidgenError(f"{path} holds other networks than this recipe's: {said}. --start needs the same.")
    known, given = network.state_dict(), model.state_dict()
    network.load_state_dict({**known, **{name: value for name, value in given.items() if name in known}})
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return {"file": Path(path).name, "sha256": digest, "card": about.get("card", {})}
