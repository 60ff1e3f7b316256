"""A run that can be trusted: killed, cut short, out of disk or memory, it loses nothing that it had."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from train import baselines, checkpoints, common, memory, mocogan, mostganv
from train.distributed import Team
from train.watching import read_log
from vidgen.checkpoint import load_model
from vidgen.errors import VidgenError

TINY = (
    "--data shapes --size 32 --batch 4 --base-width 8 --d-width 8 --v-width 8 --content-dim 6 --motion-dim 4"
)
TINY += " --warm-up 2 --bfloat16 false --device cpu --threads 1 --steps 6 --save-every 2 --log-every 1"
OPTIONS = {"seed": 0, "steps": 6}


class Toy:
    """A trainer of one layer, on random numbers, that breaks, or is stopped, where a test asks."""

    def __init__(self, nan_at: int | None = None, stop_at: int | None = None, width: int = 4) -> None:
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(width, 1)
        self.optimizer = torch.optim.Adam(self.layer.parameters(), 0.1)
        self.nan_at, self.stop_at = nan_at, stop_at

    def state(self) -> dict[str, Any]:
        return {"layer": self.layer.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.layer.load_state_dict(state["layer"])
        self.optimizer.load_state_dict(state["optimizer"])

    def step(self, index: int) -> dict[str, float]:
        if index == self.stop_at:
            raise KeyboardInterrupt
        loss = self.layer(torch.randn(3, self.layer.in_features)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"fine": 1.0, "g": float("nan") if index == self.nan_at else loss.item(), "d": float("inf")}

    def sample(self, folder: Path, index: int) -> None:
        (folder / f"samples-{index:06d}.png").write_bytes(b"")


class Calm(Toy):
    """A toy without the infinite loss."""

    def step(self, index: int) -> dict[str, float]:
        return {name: loss for name, loss in super().step(index).items() if name != "d"}


def train(out: Path, trainer: Toy, steps: int = 6, **more: Any) -> common.Record:
    more = {"save_every": 2, "sample_every": 100, "log_every": 1, **more}
    return common.run(trainer, out, steps, more.pop("options", OPTIONS), **more)


def saved(out: Path) -> dict[str, Any]:
    return torch.load(out / checkpoints.LAST, weights_only=True)


def losses(out: Path) -> list[dict[str, float]]:
    """List the logged losses, without what no two runs share."""
    apart = {"seconds", "processor_seconds", "images_per_second", "memory_gb"}
    return [{name: v for name, v in line.items() if name not in apart} for line in read_log(out)]


def assert_same(one: Any, two: Any) -> None:
    """Compare nested states bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """Let no file grow beyond `left` bytes, as a disk that is nearly full does."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny MoCoGAN without interruption."""
    out = tmp_path_factory.mktemp("whole")
    assert mocogan.main([*TINY.split(), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("repeat", range(2))
def test_a_killed_run_equals_an_uninterrupted_one(tmp_path: Path, whole: Path, repeat: int) -> None:
    step = random.Random().randint(1 + 3 * repeat, 2 + 3 * repeat)
    line = [*TINY.split(), "--out", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "train.mocogan", *line], stderr=subprocess.DEVNULL)
    while process.poll() is None and len(read_log(tmp_path)) < step:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    assert mocogan.main(line) == 0
    assert_same(saved(whole)["trainer"], saved(tmp_path)["trainer"])
    assert losses(whole) == losses(tmp_path), f"killed at step {step}"
    models = [load_model(out / "model.safetensors")[0].state_dict() for out in (whole, tmp_path)]
    assert_same(*models)


class Signalled(Calm):
    """A toy that is sent a signal during a step, and perhaps another right after it."""

    def __init__(self, at: int, *numbers: int) -> None:
        super().__init__()
        self.at, self.numbers = at, numbers

    def step(self, index: int) -> dict[str, float]:
        if index == self.at:
            for number in self.numbers:
                os.kill(os.getpid(), number)
        return super().step(index)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C be heard, as in a terminal: in the background of a script it is ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_first(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = signal.getsignal(number)
    train(tmp_path / "whole", Calm(), save_every=6)
    with pytest.raises(SystemExit) as left:
        train(tmp_path / "cut", Signalled(2, number), save_every=6)
    assert left.value.code == 128 + number
    assert "the same command goes on from step 3" in capsys.readouterr().err
    assert saved(tmp_path / "cut")["step"] == 3
    assert signal.getsignal(number) is usual
    train(tmp_path / "cut", Calm(), save_every=6)
    assert_same(saved(tmp_path / "whole")["trainer"], saved(tmp_path / "cut")["trainer"])


def test_a_stop_where_a_score_is_due_misses_none(tmp_path: Path) -> None:
    scores = {2: 3.0, 4: 1.0, 6: 2.0}
    with pytest.raises(SystemExit):
        train(tmp_path, Signalled(3, signal.SIGTERM), score=scores.__getitem__)
    assert train(tmp_path, Calm(), score=scores.__getitem__).best == {"step": 4, "score": 1.0}


def test_ctrl_c_stays_ignored_in_the_background(tmp_path: Path) -> None:
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(tmp_path, Signalled(2, signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, usual)
    assert saved(tmp_path)["step"] == 6


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Signalled(3, signal.SIGINT, signal.SIGINT))
    assert saved(tmp_path)["step"] == 2


def test_a_signal_in_the_last_step_leaves_a_whole_run(tmp_path: Path) -> None:
    train(tmp_path, Signalled(5, signal.SIGTERM))
    assert saved(tmp_path)["step"] == 6


def test_means_span_a_stop(tmp_path: Path) -> None:
    """A checkpoint between two lines of the log keeps the losses that wait for the next line."""
    train(tmp_path / "whole", Calm(), log_every=5)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Calm(stop_at=4), log_every=5)
    train(tmp_path / "cut", Calm(), log_every=5)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")
    assert len(losses(tmp_path / "cut")) == 2


def test_the_loss_that_went_first_is_named_and_the_last_good_state_kept(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match=r"step 1: the loss 'd' is inf; begin anew"):
        train(tmp_path / "inf", Toy())
    with pytest.raises(VidgenError, match=r"step 5: the loss 'g' is nan; go on from step 4, with --revise"):
        train(tmp_path / "nan", Calm(nan_at=4), log_every=100)
    assert saved(tmp_path / "nan")["step"] == 4


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    class Spoilt(Calm):
        def step(self, index: int) -> dict[str, float]:
            found = super().step(index)
            if index == 3:
                self.layer.bias.data.fill_(float("nan"))
            return found

    with pytest.raises(VidgenError, match=r"step 4: 'layer.bias' in the networks .* go on from step 2"):
        train(tmp_path, Spoilt())
    assert saved(tmp_path)["step"] == 2
    assert checkpoints.broken(saved(tmp_path)) is None


def test_a_cut_state_gives_way_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path / "whole", Calm())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Calm(stop_at=5))
    path = tmp_path / "cut" / checkpoints.LAST
    path.write_bytes(path.read_bytes()[:-200])
    train(tmp_path / "cut", Calm())
    said = capsys.readouterr().err
    assert "state.pt cannot be read" in said and "of step 2" in said
    assert_same(saved(tmp_path / "whole")["trainer"], saved(tmp_path / "cut")["trainer"])
    for name in (checkpoints.LAST, checkpoints.PREVIOUS):
        (tmp_path / "cut" / name).write_bytes(b"no state")
    with pytest.raises(VidgenError, match="remove it to start anew"):
        train(tmp_path / "cut", Calm())


def test_a_kill_between_two_names_leaves_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, Calm(), steps=4)
    (tmp_path / checkpoints.LAST).replace(tmp_path / checkpoints.PREVIOUS)
    (tmp_path / "state.part").write_bytes(b"half")
    train(tmp_path, Calm())
    assert "of step 4" in capsys.readouterr().err
    assert {path.name for path in tmp_path.glob("state*")} == {checkpoints.LAST, checkpoints.PREVIOUS}


def test_a_full_disk_costs_nothing_that_was_saved(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path / "whole", Calm(width=4000))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "full", Calm(stop_at=3, width=4000))
    room = (tmp_path / "full" / "log.jsonl").stat().st_size + 50
    told = pytest.raises(VidgenError, match=r"no room for the end of the run.* from step 2\.")
    with full_disk(room), told:
        train(tmp_path / "full", Calm(width=4000))
    said = capsys.readouterr().err
    assert "Step 4 cannot be saved" in said and "log.jsonl cannot be written" in said
    assert saved(tmp_path / "full")["step"] == 2
    kept = losses(tmp_path / "full")
    assert len(kept) < 6 and kept == losses(tmp_path / "whole")[: len(kept)]
    train(tmp_path / "full", Calm(width=4000))
    assert_same(saved(tmp_path / "whole")["trainer"], saved(tmp_path / "full")["trainer"])
    assert losses(tmp_path / "whole") == losses(tmp_path / "full")


def test_a_disk_that_is_full_for_a_while_does_not_end_a_run(tmp_path: Path) -> None:
    class Passing(Calm):
        def step(self, index: int) -> dict[str, float]:
            usual = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (600 if index < 4 else usual, usual))
            return super().step(index)

        def sample(self, folder: Path, index: int) -> None:
            (folder / f"samples-{index:06d}.png").write_bytes(bytes(700))

    with full_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1]):
        train(tmp_path, Passing(), sample_every=3)
    assert saved(tmp_path)["step"] == 6
    assert [line["step"] for line in losses(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_the_best_is_kept_beside_the_last(tmp_path: Path) -> None:
    scores, exported = {2: 3.0, 4: 1.0, 6: 2.0}, []
    record = train(
        tmp_path, Calm(), score=scores.get, on_save=lambda step, so_far: exported.append((step, so_far.best))
    )
    assert record.best == {"step": 4, "score": 1.0}
    assert exported[1:] == [(4, {"step": 4, "score": 1.0}), (6, {"step": 4, "score": 1.0})]
    assert [line["score"] for line in read_log(tmp_path) if "score" in line] == [3.0, 1.0, 2.0]
    scores |= {8: 1.5}
    again = train(tmp_path, Calm(), steps=8, options={**OPTIONS, "steps": 8}, revise=True, score=scores.get)
    assert again.best == {"step": 4, "score": 1.0}


def test_options_of_another_version_are_listed_and_need_no_leave(tmp_path: Path) -> None:
    train(tmp_path, Calm(), steps=2, options={"seed": 0, "steps": 6, "gone": 3})
    record = train(tmp_path, Calm(), options={**OPTIONS, "newer": True})
    assert record.changes == [{"step": 2, "options": {"newer": [None, True], "gone": [3, None]}}]
    with pytest.raises(VidgenError, match=r"another newer \(True\)"):
        train(tmp_path, Calm(), options={**OPTIONS, "newer": False})


def test_a_state_of_older_code_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Calm(stop_at=2))
    state = saved(tmp_path)
    old = {name: state[name] for name in ("step", "seconds", "options", "changes", "trainer")}
    torch.save(old, tmp_path / checkpoints.LAST)
    assert train(tmp_path, Calm()).changes == []


def test_a_line_says_speed_and_memory(tmp_path: Path) -> None:
    train(tmp_path, Calm(), images=8)
    lines = read_log(tmp_path)
    assert all(line["images_per_second"] > 0 for line in lines)
    assert lines[-1]["memory_gb"] == pytest.approx(memory_now(), rel=0.2)


def memory_now() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def test_tensorboard_has_what_the_log_has(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tmp_path, Calm(), tensorboard=True)
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [line["g"] for line in read_log(tmp_path)]
    assert [event.value for event in found.Scalars("g")] == pytest.approx(logged)


def test_tensorboard_that_is_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(VidgenError, match="pip install tensorboard"):
        train(tmp_path, Calm(), tensorboard=True)


class Hungry(Calm):
    """A toy for which only so many clips fit in memory at a time."""

    def __init__(self, fits: int, batch: int = 12) -> None:
        super().__init__()
        self.fits, self.batch, self.team = fits, batch, Team()

    def step(self, index: int) -> dict[str, float]:
        if self.team.share(self.batch) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().step(index)


@pytest.mark.parametrize(
    ("fits", "remedy"), [(5, "4 do: add --accumulate 3"), (0, "no smaller parts of 1 clip(s) or more do")]
)
def test_out_of_memory_is_answered(fits: int, remedy: str) -> None:
    trainer = Hungry(fits)
    error = memory.advice(trainer.step, trainer.team, trainer.batch, 7)
    assert "step 8: 12 clips at a time" in str(error) and remedy in str(error)


def test_batch_auto_takes_as_few_parts_as_fit(capsys: pytest.CaptureFixture) -> None:
    trainer = Hungry(fits=6)
    before = memory._copied(trainer.state())
    memory.choose(trainer, trainer.team, trainer.batch, 100)
    assert trainer.team.accumulate == 2
    assert "6 at a time" in capsys.readouterr().err
    assert_same(before, trainer.state())


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(_index: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        memory.fitting(broken, Team(), 4, [0])
    assert memory.is_full(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))


def test_a_trainer_that_runs_out_of_memory_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = mocogan.MoCoGANTrainer.generate

    def hungry(self: mocogan.MoCoGANTrainer, batch: Any, adversarial: bool) -> dict[str, Any]:
        if len(batch.video) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, batch, adversarial)

    monkeypatch.setattr(mocogan.MoCoGANTrainer, "generate", hungry)
    line = [*TINY.split(), "--out", str(tmp_path), "--steps", "1"]
    assert mocogan.main(line) == 2
    said = capsys.readouterr().err
    assert "Out of memory at step 1: 4 clips at a time do not fit; 2 do: add --accumulate 2" in said
    assert "Traceback" not in said
    assert mocogan.main([*line, "--batch", "auto", "--preset", "modern"]) == 0
    assert "(--accumulate 8)" in capsys.readouterr().err
    assert json.loads((tmp_path / "options.json").read_text())["parts"] == 8


def test_the_training_commands_of_the_readme_can_run() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = text.split("## Train your own")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if "-m train.mocogan" in line and not line.startswith("`")]
    assert len(lines) == 6
    for line in lines:
        args, options = mocogan.parse(line.split("-m train.mocogan ")[1].replace("SEED", "1").split())
        assert Team(accumulate=16 if "torchrun" in line else 1).share(options.batch) >= 8
        assert args.steps >= options.warm_up
    lines = [line for line in section.splitlines() if line.startswith("python -m train.mostganv")]
    sharp = ("projected", 64)
    for line, expected in zip(lines, (("frames", 64), ("frames", 32), sharp, sharp), strict=True):
        args, options = mostganv.parse(line.split("-m train.mostganv ")[1].replace(" V", " 8").split())
        assert args.preset == "small" and options.warm_up < args.steps
        assert (options.critic, options.size) == expected
    lines = [line for line in section.splitlines() if line.startswith("python -m train.baselines --preset")]
    for line, model in zip(lines, baselines.MODELS, strict=True):
        args = line.split("-m train.baselines ")[1].split()
        assert baselines.parse(args)[1].model == model


def test_a_batch_too_small_for_the_recipe_is_told_before_memory_is_tried() -> None:
    class Comparing:
        fewest = 4

    with pytest.raises(VidgenError, match="compares 4 clips with each other, and a process has 2"):
        memory.choose(Comparing(), Team(), 2, 100)
