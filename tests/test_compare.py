"""Compare: the same codes through two models, blind votes and their count, and the app's endpoint."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import gradio as gr
import numpy as np
import pytest
from fake_session import SIZE, FakeSession, info
from gradio_client import Client
from test_app import sheet
from test_inspect import named

import app
from vidgen import web, web_compare
from vidgen.recipe import MAX_SEED, Recipe
from vidgen.video_io import read_clip
from vidgen.web_compare import COLUMNS, Comparer, counted, same_size, sign_test

SPRITES, SHAPES, MORE = "mocogan-sprites", "mocogan-shapes", "mostganv-sprites"
WISH = {"models": [SPRITES, MORE], "category": None, "content_seed": 3, "motion_seed": 4, "frames": 9}


class TwoSprites(FakeSession):
    """Has a second model of sprites, with two of the first one's categories, which paints the ground blue."""

    def __init__(self) -> None:
        super().__init__()
        more = info(MORE, "More sprites", {"category": ["jump", "walk down", "cast up"]})
        self.infos.append(replace(more, fps=20.0))
        self.fault: Exception | None = None

    def render(self, recipe: Recipe) -> np.ndarray:
        if self.fault:
            raise self.fault
        clip = super().render(recipe)
        if recipe.model == MORE:
            clip[..., 2] = 255
        return clip


@pytest.fixture
def session() -> TwoSprites:
    return TwoSprites()


@pytest.fixture
def comparer(session: TwoSprites) -> Comparer:
    return Comparer(web.Service(session))


# ---- which models


def test_two_models_of_the_same_data_come_first(session: TwoSprites) -> None:
    def pair() -> list[str]:
        return Comparer(web.Service(session)).pair

    assert pair() == [SPRITES, "mocogan-actions"], "none are alike: the first two"
    session.infos[2] = replace(session.infos[2], categories=session.infos[0].categories)
    assert pair() == [SPRITES, SHAPES]
    session.infos[1:4:2] = [replace(one, data="films") for one in session.infos[1:4:2]]
    session.infos[2] = replace(session.infos[2], categories=[])
    assert pair() == ["mocogan-actions", MORE]


def test_one_model_alone_has_no_tab(session: TwoSprites) -> None:
    def parts(blocks: gr.Blocks) -> list[str]:
        return [getattr(part, "elem_id", "") for part in blocks.blocks.values()]

    both = app.build_app(session)
    assert "compare" in parts(both) and "compare_clips" in named(both)
    session.infos = session.infos[:1]
    alone = app.build_app(session)
    assert "compare" not in parts(alone) and "compare_clips" not in named(alone)


# ---- the pair


def test_both_get_the_same_codes(comparer: Comparer) -> None:
    first, second = comparer.read(**WISH | {"category": "cast up"})
    assert (first.category, second.category) == (4, 2), "the same name has another number in each"
    assert (first.model, second.model) == (SPRITES, MORE)
    assert second == first.replace(model=MORE, category=2)
    assert first == Recipe(SPRITES, content_seed=3, motion_seed=4, category=4, frames=9, fps=20)


def test_no_category_is_one_that_both_have(comparer: Comparer) -> None:
    seen = {}
    for seed in range(4):
        pair = comparer.read(**WISH | {"motion_seed": seed})
        seen[seed] = [comparer.service.models[one.model].categories[one.category] for one in pair]
    shared = [["walk down"] * 2, ["cast up"] * 2]
    assert list(seen.values()) == shared * 2
    pair = comparer.read(**WISH | {"models": [SPRITES, SHAPES]})
    assert [one.category for one in pair] == [None, None]


def test_numbers_out_of_range_are_clamped(comparer: Comparer) -> None:
    pair = comparer.read(**WISH | {"frames": 10**9, "content_seed": 10**12, "motion_seed": -1})
    assert {(one.frames, one.content_seed, one.motion_seed) for one in pair} == {(128, MAX_SEED, 0)}


def test_the_page_gets_both_clips_and_no_name(comparer: Comparer, session: TwoSprites) -> None:
    answer = comparer.show(WISH, "somebody")
    assert set(answer) == {"src", "frames", "columns", "width", "height", "fps", "trial"}
    assert (answer["frames"], answer["columns"], answer["fps"]) == (9, 2, 20)
    picture = sheet(answer).astype(int)
    assert picture.shape == (9 * SIZE, 2 * SIZE, 3)
    assert sorted(one.model for one in session.rendered) == [SPRITES, MORE]
    clips = {one.model: session.render(one) for one in comparer.read(**WISH)}
    vote = comparer.vote({"trial": answer["trial"], "motion": "left", "subject": "same"})["vote"]
    for side, place in (("left", 0), ("right", SIZE)):
        shown = picture[:, place : place + SIZE].reshape(9, SIZE, SIZE, 3)
        assert np.abs(shown - clips[vote[side]]).mean() < 4


def test_chance_decides_which_is_left(comparer: Comparer) -> None:
    lefts = []
    for _ in range(40):
        trial = comparer.show(WISH, "")["trial"]
        lefts.append(comparer.vote({"trial": trial, "motion": "same", "subject": "same"})["vote"]["left"])
    assert {SPRITES, MORE} == set(lefts)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (None, "the fields 'models', 'category'"),
        ({"more": 1}, "the fields"),
        ({"models": [SPRITES]}, "two different"),
        ({"models": [SPRITES, SPRITES]}, "two different"),
        ({"models": SPRITES}, "two different"),
        ({"models": [SPRITES, "nope"]}, "There is no model 'nope'"),
        ({"models": [SPRITES, "negative"]}, "There is no model 'negative'"),
        ({"models": [SPRITES, "../../etc/passwd"]}, "There is no model"),
        ({"models": [SPRITES, {}]}, "model must be a name"),
        ({"category": "jump"}, "share walk down, cast up"),
        ({"category": ["walk down"]}, "Not both models have"),
        ({"models": [SPRITES, SHAPES], "category": "jump"}, "they share none"),
        ({"content_seed": math.nan}, "finite"),
        ({"motion_seed": "1"}, "must be a number"),
        ({"motion_seed": 0.5}, "whole number"),
        ({"frames": None}, "must be a number"),
        ({"frames": math.inf}, "finite"),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(comparer: Comparer, change: dict | None, part: str) -> None:
    answer = comparer.show(change and WISH | change, "somebody")
    assert set(answer) == {"error"}
    assert part in answer["error"] and "\n" not in answer["error"]


def test_a_render_that_fails_is_told_and_the_next_one_works(comparer: Comparer, session: TwoSprites) -> None:
    session.fault = RuntimeError("secret")
    assert comparer.show(WISH, "somebody") == {"error": web.FAULT}
    session.fault = None
    assert "trial" in comparer.show(WISH, "somebody")


def test_a_visitor_pays_and_waits_as_for_previews(session: TwoSprites) -> None:
    comparer = Comparer(web.Service(session, web.Limits(burst=20, per_second=0.001, patience=0.01)))
    assert "src" in comparer.show(WISH, "one")
    assert comparer.show(WISH | {"motion_seed": 5}, "one")["busy"]
    with comparer.service.my_turn():
        assert comparer.show(WISH | {"motion_seed": 5}, "two") == {"busy": True, "retry": 0.5}


def test_a_smaller_clip_is_enlarged_to_the_other() -> None:
    small = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    large = np.zeros((2, 8, 8, 3), np.uint8)
    both = same_size([small, large])
    assert (both[0] == small.repeat(2, 1).repeat(2, 2)).all()
    assert (both[1] == large).all()


# ---- the votes


def voted(comparer: Comparer, motion: str = "left", subject: str = "right", **change: object) -> dict:
    trial = comparer.show(WISH | change, "")["trial"]
    return comparer.vote({"trial": trial, "motion": motion, "subject": subject})["vote"]


def test_a_vote_comes_back_with_all_that_is_known(comparer: Comparer) -> None:
    vote = voted(comparer, category="walk down")
    assert tuple(vote) == COLUMNS
    assert {vote.pop("left"), vote.pop("right")} == {SPRITES, MORE}
    assert vote.pop("time").endswith("+00:00")
    numbers = {"content_seed": 3, "motion_seed": 4, "frames": 9, "fps": 20.0}
    assert vote == numbers | {"category": "walk down", "motion": "left", "subject": "right"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (None, "the fields 'trial', 'motion', 'subject'"),
        ({"trial": "never-shown"}, "not, or no longer, open"),
        ({"trial": None}, "not, or no longer, open"),
        ({"trial": ["a"]}, "not, or no longer, open"),
        ({"motion": "up"}, "motion is 'up'; answer one of left, right, same"),
        ({"subject": None}, "subject is 'None'"),
        ({"left": SPRITES}, "the fields"),
    ],
)
def test_a_bad_vote_is_told_in_one_sentence(comparer: Comparer, change: dict | None, part: str) -> None:
    good = {"trial": comparer.show(WISH, "")["trial"], "motion": "left", "subject": "same"}
    answer = comparer.vote(change and good | change)
    assert set(answer) == {"error"} and part in answer["error"]
    assert "vote" in comparer.vote(good), "the mistake has cost nothing"


def test_only_so_many_pairs_stay_open(comparer: Comparer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_compare, "OPEN", 2)
    trials = [comparer.show(WISH, "")["trial"] for _ in range(3)]
    answers = [comparer.vote({"trial": trial, "motion": "left", "subject": "left"}) for trial in trials]
    assert ["error" in answer for answer in answers] == [True, False, False]


# ---- their count


def test_the_count_is_by_model_whatever_its_side() -> None:
    one = {"left": "a", "right": "b", "motion": "left", "subject": "same"}
    votes = [one, one | {"left": "b", "right": "a"}, one, one | {"right": "c", "subject": "right"}]
    rows = counted(votes)
    assert rows[:2] == [
        {"models": ["a", "b"], "question": "motion", "wins": [2, 1], "ties": 0, "votes": 3, "p": 1.0},
        {"models": ["a", "b"], "question": "subject", "wins": [0, 0], "ties": 3, "votes": 3, "p": 1.0},
    ]
    assert [(row["models"], row["wins"]) for row in rows[2:]] == [(["a", "c"], [1, 0]), (["a", "c"], [0, 1])]


@pytest.mark.parametrize("count", range(9))
def test_p_is_the_share_of_outcomes_at_least_as_uneven(count: int) -> None:
    outcomes = [sum(toss) for toss in itertools.product((0, 1), repeat=count)]
    for wins in range(count + 1):
        uneven = abs(2 * wins - count)
        share = Fraction(sum(abs(2 * other - count) >= uneven for other in outcomes), 2**count)
        assert sign_test(wins, count - wins) == float(share)


def test_p_of_many_votes_is_exact() -> None:
    assert sign_test(0, 500) == 2.0**-499
    assert sign_test(250, 250) == 1


def test_the_csv_holds_every_vote(comparer: Comparer) -> None:
    votes = [voted(comparer), voted(comparer, "same", "left", models=[SPRITES, SHAPES])]
    answer = comparer.tally({"votes": json.loads(json.dumps(votes))})
    assert answer["rows"] == counted(votes) and len(answer["rows"]) == 4
    rows = list(csv.DictReader(io.StringIO(answer["csv"])))
    assert rows == [{name: str(value) for name, value in vote.items()} for vote in votes]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"time": 3}, "time in a vote must be a text"),
        ({"left": "x" * 256}, "at most 255 characters"),
        ({"left": "a", "right": "a"}, "two different models"),
        ({"frames": math.nan}, "finite"),
        ({"frames": 10**9}, "choose 1 to 1024"),
        ({"content_seed": "1"}, "must be a number"),
        ({"motion": "both"}, "answer one of"),
        ({"more": 1}, "the fields"),
    ],
)
def test_votes_that_are_none_are_not_counted(comparer: Comparer, change: dict, part: str) -> None:
    good = voted(comparer)
    assert part in comparer.tally({"votes": [good, good | change]})["error"]


@pytest.mark.parametrize("request_", [None, {}, {"votes": 3}, {"votes": [None]}, {"votes": [{}]}])
def test_a_bad_list_of_votes_is_told(comparer: Comparer, request_: object) -> None:
    assert set(comparer.tally(request_)) == {"error"}


def test_as_many_votes_as_fit_a_request_are_counted(comparer: Comparer) -> None:
    votes = [voted(comparer)] * web_compare.MOST
    assert len(json.dumps(votes)) < web.MAX_BODY
    assert comparer.tally({"votes": votes})["rows"][0]["votes"] == web_compare.MOST
    assert "at most 500" in comparer.tally({"votes": [*votes, votes[0]]})["error"]


# ---- the app served


@pytest.fixture(scope="module")
def served() -> Iterator[gr.Blocks]:
    blocks = app.build_app(TwoSprites())
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


def test_the_endpoint_gives_both_clips(served: gr.Blocks) -> None:
    remote = Client(served.local_url, verbose=False)
    seeds = {"content_seed": 3, "motion_seed": 4, "frames": 9, "category": "cast up"}
    film = remote.predict(SPRITES, MORE, **seeds, format="png", api_name="/compare_clips")
    frames = read_clip(film).frames
    assert frames.shape == (9, SIZE, 2 * SIZE + 2, 3)
    session = TwoSprites()
    recipe = Recipe(SPRITES, content_seed=3, motion_seed=4, category=4, frames=9, fps=20)
    assert (frames[:, :, :SIZE] == session.render(recipe)).all()
    assert (frames[:, :, -SIZE:] == session.render(recipe.replace(model=MORE, category=2))).all()
    mistakes = {
        "two different models": {"first": MORE, "second": MORE},
        "no model 'nope'": {"second": "nope"},
        "share none": {"first": SPRITES, "second": SHAPES, "category": "walk down"},
        "choose one of": {"format": "exe"},
    }
    for sentence, values in mistakes.items():
        with pytest.raises(Exception, match=sentence):
            remote.predict(**values, api_name="/compare_clips")
