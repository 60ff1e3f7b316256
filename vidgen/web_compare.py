"""What the Compare tab does for a visitor, apart from the page: the same codes through two models, blind
votes on which clip is better, and their count. Guarded as `vidgen.web` guards the previews.

The server draws which model is left and tells only after the vote; the votes stay with the visitor.
"""

from __future__ import annotations

import csv
import io
import math
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vidgen import video_io
from vidgen.catalogue import ModelInfo
from vidgen.errors import VidgenError
from vidgen.recipe import Recipe
from vidgen.web import Service, fields, sheet

QUESTIONS = ("motion", "subject")  # more natural motion, more consistent subject: the papers' human study
ANSWERS = ("left", "right", "same")
TEXTS = ("time", "left", "right", "category")
NUMBERS = ("content_seed", "motion_seed", "frames", "fps")
COLUMNS = (*TEXTS, *NUMBERS, *QUESTIONS)  # of a vote, and so of the CSV
OPEN = 2000  # pairs that wait for a vote, of all visitors
MOST = 500  # votes that one request may bring to be counted
LONGEST = 255  # characters of a text in a vote


class Comparer:
    """Compare the models of a Service two by two."""

    def __init__(self, service: Service) -> None:
        self.service = service
        pairs = list(combinations(service.models.values(), 2))
        self.alike = [[one.name, other.name] for one, other in pairs if _alike(one, other)]
        self.pair = next(iter(self.alike + [[one.name, other.name] for one, other in pairs]), [])
        self._shown: OrderedDict[str, tuple[Recipe, Recipe]] = OrderedDict()

    def show(self, request: Any, visitor: str) -> dict[str, Any]:
        """Answer with a new pair of clips, which is left being drawn by chance.

        request: {"models": [name, name], "category": name or None, "content_seed", "motion_seed", "frames"}.
        Returns `web.sheet` with "trial", to be named in the vote, or as `Service.preview` {"busy", "retry"}
        or {"error"}; never raises.
        """
        return self.service.answer(lambda: self._show(request, visitor))

    def vote(self, request: Any) -> dict[str, Any]:
        """Answer a vote, {"trial", "motion": one of ANSWERS, "subject": likewise}, with {"vote": all that is
        known of the pair, by COLUMNS} or {"error"}. Sending it again is harmless: nothing is counted here.
        """
        return self.service.answer(lambda: self._vote(request))

    def tally(self, request: Any) -> dict[str, Any]:
        """Answer {"votes": [vote ...]} with {"rows": as `counted`, "csv": the votes as text} or {"error"}."""
        return self.service.answer(lambda: self._tally(request))

    def read(self, models: Sequence[str], category: str | None, **numbers: float) -> tuple[Recipe, Recipe]:
        """Read an untrusted pair: the recipes of two models that share seeds, length, rate and category.

        category: a name that both have; None takes one by the motion seed, and where none is shared each
        model draws its own.
        """
        if not isinstance(models, list | tuple) or len(models) != 2 or models[0] == models[1]:
            raise VidgenError("Choose two different models.")
        recipes = [self.service.read({"model": model} | numbers) for model in models]
        infos = [self.service.models[recipe.model] for recipe in recipes]
        shared = [name for name in infos[0].categories if name in infos[1].categories]
        if category is not None and category not in shared:
            known = f"they share {', '.join(shared)}" if shared else "they share none"
            raise VidgenError(f"Not both models have the category {str(category)[:40]!r}; {known}.")
        if category is None and shared:
            category = shared[recipes[0].motion_seed % len(shared)]
        changes = {"fps": max(info.fps for info in infos)}  # each moves at its own pace at any rate
        left, right = (
            recipe.replace(**changes, category=None if category is None else info.categories.index(category))
            for recipe, info in zip(recipes, infos, strict=True)
        )
        return left, right

    def film(self, pair: Sequence[Recipe], kind: str, folder: Path) -> Iterator[float | Path]:
        """Write two clips side by side as one film; yields as `Service.film`."""
        film = video_io.tile(self._clips(pair, "")[None])
        name = "-".join(recipe.model for recipe in pair)
        return self.service.film(name, [film], len(film), folder=folder, kind=kind, fps=pair[0].fps)

    def _show(self, request: Any, visitor: str) -> dict[str, Any]:
        wish = fields(request, "models", "category", "content_seed", "motion_seed", "frames")
        left, right = secrets.SystemRandom().sample(self.read(**wish), 2)
        answer = sheet(self._clips((left, right), visitor), left.fps)
        trial = secrets.token_urlsafe(12)
        self._shown[trial] = left, right
        if len(self._shown) > OPEN:
            self._shown.popitem(last=False)
        return answer | {"trial": trial}

    def _vote(self, request: Any) -> dict[str, Any]:
        given = fields(request, "trial", *QUESTIONS)
        answers = {question: _answer(question, given[question]) for question in QUESTIONS}
        if not isinstance(given["trial"], str) or given["trial"] not in self._shown:
            raise VidgenError("This pair is not, or no longer, open for a vote; take the next one.")
        left, right = self._shown[given["trial"]]
        names = self.service.models[left.model].categories
        texts = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "left": left.model,
            "right": right.model,
            "category": "" if left.category is None else names[left.category],
        }
        return {"vote": texts | {name: getattr(left, name) for name in NUMBERS} | answers}

    def _tally(self, request: Any) -> dict[str, Any]:
        votes = fields(request, "votes")["votes"]
        if not isinstance(votes, list) or len(votes) > MOST:
            raise VidgenError(f"The votes must be a list of at most {MOST}.")
        votes = [read_vote(vote) for vote in votes]
        return {"rows": counted(votes), "csv": as_csv(votes)}

    def _clips(self, pair: Sequence[Recipe], visitor: str) -> np.ndarray:
        return same_size([self.service.clip(recipe, visitor) for recipe in pair])


def read_vote(values: Any) -> dict[str, Any]:
    """Read an untrusted vote, as `Comparer.vote` gave it; a model that is shipped no longer still counts."""
    vote = fields(values, *COLUMNS)
    for name in TEXTS:
        if not isinstance(vote[name], str) or len(vote[name]) > LONGEST:
            raise VidgenError(f"{name} in a vote must be a text of at most {LONGEST} characters.")
    if vote["left"] == vote["right"]:
        raise VidgenError("A vote must be about two different models.")
    numbers = Recipe.from_dict({name: vote[name] for name in NUMBERS}, clamp=False)
    answers = {question: _answer(question, vote[question]) for question in QUESTIONS}
    return vote | {name: getattr(numbers, name) for name in NUMBERS} | answers


def counted(votes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count votes, for each pair of models and each question:
    {"models": [a, b], "question", "wins": [of a, of b], "ties", "votes", "p": as `sign_test`}.
    """
    rows = []
    for pair in sorted({tuple(sorted((vote["left"], vote["right"]))) for vote in votes}):
        of_pair = [vote for vote in votes if {vote["left"], vote["right"]} == set(pair)]
        for question in QUESTIONS:
            winners = [vote.get(vote[question]) for vote in of_pair]  # None: no difference
            wins = [winners.count(model) for model in pair]
            row = {"models": list(pair), "question": question, "wins": wins, "ties": winners.count(None)}
            rows.append(row | {"votes": len(of_pair), "p": sign_test(*wins)})
    return rows


def sign_test(wins: int, losses: int) -> float:
    """Give the two-sided p-value of the exact binomial test that both are as likely to win; 1 for none."""
    count = wins + losses
    tail = sum(math.comb(count, number) for number in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**count)


def as_csv(votes: Sequence[Mapping[str, Any]]) -> str:
    """Write votes as CSV with a header, by COLUMNS."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(votes)
    return text.getvalue()


def same_size(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Enlarge clips, uint8 [t, h, h, c], to the largest of them by repeating pixels: [n, t, h, h, c]."""
    size = max(clip.shape[1] for clip in clips)
    places = (np.arange(size) * clip.shape[1] // size for clip in clips)
    return np.stack([clip[:, place][:, :, place] for clip, place in zip(clips, places, strict=True)])


def _answer(question: str, answer: Any) -> str:
    if answer not in ANSWERS:
        raise VidgenError(f"{question} is {str(answer)[:40]!r}; answer one of {', '.join(ANSWERS)}.")
    return answer


def _alike(one: ModelInfo, other: ModelInfo) -> bool:
    """Tell whether two models have learned from the same data, or at least the same categories."""
    same_data = one.data and one.data == other.data
    return bool(same_data or (one.categories and one.categories == other.categories))
