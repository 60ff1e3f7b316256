"""Parts of a batch: two processes of one run, one that takes two parts in turn, and one that is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slow_saver
import tiny_trainers
import torch
from test_loop import TINY, assert_same, losses, saved
from torch import nn

from train import mocogan
from train.distributed import Team, part_seed
from train.watching import read_log
from vidgen.errors import VidgenError

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
LAUNCH += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def launch(*line: str, **more: Any) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*LAUNCH, *line], env=env, stderr=subprocess.PIPE, text=True, **more)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread, as each of two processes does: sums depend on how they are divided."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Give what each of two processes has after a few steps of every trainer."""
    out = tmp_path_factory.mktemp("both")
    process = launch(tiny_trainers.__file__, str(out))
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", tiny_trainers.NAMES)
def test_two_processes_equal_one_that_takes_two_parts(both: list[dict[str, Any]], name: str) -> None:
    alone = tiny_trainers.outcome(name, Team(accumulate=2))
    assert len(alone["losses"]) == tiny_trainers.STEPS
    for theirs in both:
        assert_same(alone["state"], theirs[name]["state"])
        for own, their in zip(alone["losses"], theirs[name]["losses"], strict=True):
            assert their == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("name", tiny_trainers.NAMES)
def test_parts_matter_to_what_is_drawn(name: str) -> None:
    """The second part has clips and noise of its own, so its gradients count."""
    one, two = (tiny_trainers.outcome(name, Team(accumulate=parts)) for parts in (1, 2))
    assert one["losses"][0] != two["losses"][0]
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in two["losses"])


def test_the_gradient_of_parts_is_that_of_the_batch() -> None:
    torch.manual_seed(0)
    layer, data = nn.Linear(3, 1), torch.randn(8, 3)
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)

    def after(accumulate: int) -> list[torch.Tensor]:
        team, start = Team(accumulate=accumulate), [p.detach().clone() for p in layer.parameters()]

        def update(part: torch.Tensor) -> dict[str, float]:
            loss = layer(part).square().mean()
            team.clear(optimizer)
            loss.backward()
            team.apply(optimizer)
            return {"loss": loss.item()}

        size = team.share(len(data))
        log = team.alternate(0, 0, lambda part: data[part * size : (part + 1) * size], [update], [layer])
        ended = [p.detach().clone() for p in layer.parameters()]
        with torch.no_grad():
            for weight, old in zip(layer.parameters(), start, strict=True):
                weight.copy_(old)
        return [*ended, torch.tensor(log["loss"])]

    for whole, parts in zip(after(1), after(4), strict=True):
        torch.testing.assert_close(whole, parts)


def test_running_statistics_are_those_of_all_parts() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.5)
    parts = [torch.full((4, 2), 2.0), torch.full((4, 2), 6.0)]
    team = Team(accumulate=2)
    team.alternate(0, 0, lambda part: norm(parts[part]), [lambda _: {}, lambda _: {}], [norm])
    assert norm.running_mean.tolist() == [2.0, 2.0]  # half of the mean, 4
    assert int(norm.num_batches_tracked) == 1


def test_a_second_update_meets_the_same_rendering_and_its_own_noise() -> None:
    drawn: list[list[float]] = [[], []]

    def update(number: int) -> Any:
        def one(made: torch.Tensor) -> dict[str, float]:
            drawn[number].append(float(made))
            drawn[number].append(float(torch.rand(())))
            return {}

        return one

    Team(accumulate=2).alternate(3, 5, lambda _: torch.rand(()), [update(0), update(1)], [])
    (first, noise, second, _), (again, other, again_second, _) = drawn
    assert (first, second) == (again, again_second)
    torch.manual_seed(part_seed(3, 5))
    assert [float(torch.rand(())) for _ in range(3)] == [first, noise, other]


def test_a_batch_that_cannot_be_divided() -> None:
    with pytest.raises(VidgenError, match=r"batch of 6 .* 4 parts \(processes: 2, --accumulate 2\)"):
        Team(size=2, accumulate=2).share(6)


def test_a_lost_process_ends_the_run_with_one_sentence_and_the_run_resumes(tmp_path: Path) -> None:
    line = [*TINY.split(), "--out", str(tmp_path / "cut")]
    process = launch("-m", "train.mocogan", *line)
    while process.poll() is None and len(read_log(tmp_path / "cut")) < 3:
        time.sleep(0.01)
    lost = next(pid for pid in children(process.pid) if b"RANK=1" in environment(pid))
    os.kill(lost, signal.SIGKILL)
    said = process.communicate(timeout=600)[1]
    assert process.returncode != 0
    assert len(re.findall("Another process of this run was lost", said)) == 1
    assert said.count("Traceback") <= 1  # torchrun's own
    assert saved(tmp_path / "cut")["step"] == 2
    assert mocogan.main([*line, "--accumulate", "2"]) == 0
    assert mocogan.main([*TINY.split(), "--out", str(tmp_path / "whole"), "--accumulate", "2"]) == 0
    assert_same(saved(tmp_path / "whole")["trainer"], saved(tmp_path / "cut")["trainer"])
    for cut, whole in zip(losses(tmp_path / "cut"), losses(tmp_path / "whole"), strict=True):
        assert cut == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_processes_that_are_asked_to_stop_save_first(tmp_path: Path, ranks: tuple[int, ...]) -> None:
    process = launch(slow_saver.__file__, str(tmp_path))
    while process.poll() is None and len(read_log(tmp_path)) < 2:
        time.sleep(0.01)
    workers = children(process.pid)
    for rank in ranks:
        os.kill(next(pid for pid in workers if b"RANK=%d" % rank in environment(pid)), signal.SIGTERM)
    if len(ranks) == 2:  # a scheduler signals all that there is
        process.terminate()
    said = process.communicate(timeout=600)[1]
    assert process.returncode != 0
    (step,) = re.findall(r"the same command goes on from step (\d+)", said)
    assert saved(tmp_path)["step"] == int(step)
    assert "was lost" not in said


def children(pid: int) -> list[int]:
    """List a process's children, by Linux's account."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
