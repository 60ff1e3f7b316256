"""Decide which clips are for testing, by what they show, so that no content is on both sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from vidgen.errors import VidgenError

SPLITS = ("train", "test", "all")


def content_id(name: str, group: str = "stem") -> str:
    """Name the content (person, character, scene) of a clip from its path below the data folder.

    group: "stem", the file name without its ending; "every:K", the number in the file name divided by K,
    for numbered files that come in runs of K of one content; or a regular expression with one group,
    searched in the path. Raises VidgenError where the rule does not fit the name.
    """
    stem = PurePosixPath(name).stem
    if group == "stem":
        return stem
    if every := re.fullmatch(r"every:([1-9]\d*)", group):
        if not (number := re.fullmatch(r"\D*(\d+)", stem)):
            raise VidgenError(f"{name}: no number at the end of the file name for the rule '{group}'.")
        return str(int(number[1]) // int(every[1]))
    match = compiled_rule(group).search(name)
    if match is None or match[1] is None:
        raise VidgenError(f"{name}: the rule '{group}' finds no content in the name.")
    return match[1]


def compiled_rule(group: str) -> re.Pattern[str]:
    """Compile a rule that names contents; raises VidgenError unless it has exactly one group."""
    try:
        rule = re.compile(group)
    except re.error as error:
        raise VidgenError(
            f"'{group}' is no regular expression ({error}): try 'stem' or 'every:2'."
        ) from error
    if rule.groups != 1:
        raise VidgenError(
            f"'{group}' has {rule.groups} groups, but must have one, around the name of the content."
        )
    return rule


def held_out(ids: Sequence[str], share: float = 0.1, chosen: Sequence[str] | None = None) -> list[str]:
    """Return the contents that are for testing, sorted.

    A content is for testing if the hash of its name falls below `share`, and the one with the lowest hash
    always is (unless share is 0 or there is only one). So data that is added later moves no content from
    training to testing. `chosen` overrides it. Raises VidgenError for unknown contents or nothing left for
    training.
    """
    contents = sorted(set(ids))
    if not 0 <= share < 1:
        raise VidgenError(f"The share of test contents is {share}, but must be at least 0 and below 1.")
    if chosen is None:
        ranked = sorted(contents, key=_hash)
        below = {name for name in ranked if _hash(name) < share}
        lowest = set(ranked[:1]) if share > 0 else set()
        tests = (below | lowest) - {ranked[-1]}  # one is left for training, whatever the hashes
    else:
        tests = set(chosen)
        if unknown := sorted(tests - set(contents)):
            raise VidgenError(
                f"No clip has the content '{unknown[0]}': choose from {', '.join(contents[:12])}."
            )
        if tests == set(contents):
            raise VidgenError(f"All {len(contents)} contents are for testing: leave some for training.")
    return sorted(tests)


def selected(ids: Sequence[str], tests: Sequence[str], split: str) -> list[int]:
    """Return the positions of the clips of a split; raises VidgenError for an unknown or empty split."""
    if split not in SPLITS:
        raise VidgenError(f"Unknown split '{split}': choose one of {', '.join(SPLITS)}.")
    held = set(tests)
    kept = [i for i, name in enumerate(ids) if split == "all" or (name in held) == (split == "test")]
    if not kept:
        raise VidgenError(
            f"The {split} split of {len(ids)} clips is empty: prepare them with a larger test share."
        )
    return kept


def _hash(name: str) -> float:
    """Map a name to [0, 1), the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
