"""Begin a training with the networks of a weights file, one's own or one that ships."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from vidgen.checkpoint import load_model
from vidgen.errors import VidgenError
from vidgen.models import family_of

EXTRAS = ("couplings",)  # flows begin as no change: weights without them may be the start


def begin_with(
    path: str,
    network: nn.Module,
    average: nn.Module,
    about: Mapping[str, Any],
    extras: Collection[str] = EXTRAS,
) -> dict[str, Any]:
    """Copy a weights file's networks into `network`, which has a `config`, and into its average; gives what
    the file says of itself, for what becomes of it: file, sha256, licence, credit and training card.

    about: describes the data of the new training; its categories must be the file's. extras: options of the
    config that add parts; where one of the two goes without, the parts are left out or stay as they were
    made. VidgenError where other options differ.
    """
    model, theirs, _ = load_model(path)
    if family_of(model) != family_of(network):
        raise VidgenError(f"{path} holds a {family_of(model)}; --start needs a {family_of(network)}.")
    old, new = asdict(model.config), asdict(network.config)
    apart = [
        name
        for name in new
        if old[name] != new[name] and not (name in extras and not (old[name] and new[name]))
    ]
    if apart:
        said = ", ".join(f"{name} {old[name]}, not {new[name]}" for name in apart)
        raise VidgenError(f"{path} holds other networks than this recipe's: {said}. --start needs the same.")
    named = theirs.get("categories", []), about.get("categories", [])
    if named[0] != named[1]:
        raise VidgenError(
            f"{path} has the categories {', '.join(named[0]) or 'none'}; the data have "
            f"{', '.join(named[1]) or 'none'}: --start needs the same."
        )
    known, given = network.state_dict(), model.state_dict()
    network.load_state_dict({**known, **{name: value for name, value in given.items() if name in known}})
    average.load_state_dict(network.state_dict())
    told = {name: theirs.get(name, "") for name in ("licence", "credit")}
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return {"file": Path(path).name, "sha256": digest, "card": theirs.get("card", {}), **told}


def inherited(about: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Add the licence and the credit of the weights that a training began with to those of its data."""
    if not before:
        return about
    both = about.get("licence", "unknown"), before["licence"] or "unknown"
    credits = [part for part in (about.get("credit", ""), before["credit"]) if part]
    joined = credits[:1] if len(set(credits)) == 1 else credits
    licence = both[0] if both[0] == both[1] else f"{both[1]} (the weights it began with) and {both[0]}"
    return {**about, "licence": licence, "credit": " ".join(joined)}
