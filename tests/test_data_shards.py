"""Tar shards: written whole, dealt out to processes, read as a stream that a resumed run finds again."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import shutil
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train import mocogan, prepare
from train.data import shards as reading
from train.data import tars
from train.data.shards import ShardSource
from train.data.sources import open_source
from train.data.tars import INDEX, Clip, Shard, read_index, read_shard
from train.distributed import Team
from vidgen.checkpoint import load_model
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError

CLIPS, SIZE, LENGTH = 18, 32, 16
COUNT = {"train": 16, "test": 2}


def strips(folder: Path, count: int = CLIPS, size: int = SIZE, frames: int = LENGTH + 2) -> Path:
    """Write strips of two classes; pixels of frame i of clip k are (k, i, noise)."""
    draws = np.random.default_rng(0)
    for number in range(count):
        picture = draws.integers(256, size=(size, size * frames, 3), dtype=np.uint8)
        picture[..., 0], picture[..., 1] = number, np.arange(size * frames) // size
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


def run(folder: Path, out: Path, *extra: str) -> int:
    words = ["--size", str(SIZE), "--group", "every:2", "--tests", "8", "--jobs", "1", *extra]
    return prepare.main([str(folder), "--out", str(out), *words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare 16 clips for training and two for testing, as one shard each, and in shards of two clips."""
    folder = tmp_path_factory.mktemp("shards")
    assert run(strips(folder / "in"), folder / "clips", "--shards", "1") == 0
    assert run(folder / "in", folder / "small", "--shards", "0.1") == 0
    return folder


@pytest.fixture(autouse=True)
def no_reading_into_the_next_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    workers: list[ThreadPoolExecutor] = []

    def watched(*words: object) -> ThreadPoolExecutor:
        workers.append(ThreadPoolExecutor(*words))
        return workers[-1]

    monkeypatch.setattr(reading, "ThreadPoolExecutor", watched)
    yield
    for worker in workers:
        worker.shutdown()


def source(made: Path, block: int = 3, **team: int) -> ShardSource:
    return ShardSource(str(made / "small"), LENGTH, 1, Team(**team), block=block)


def draw(found: ShardSource, step: int, part: int = 0, n: int = 2) -> torch.Tensor:
    """Draw a step's batch: what shows its clips, frames and references."""
    batch = found.batch(np.random.default_rng([5, step, part]), n, LENGTH, 2)
    return torch.cat([batch.video, batch.references], 1)


def numbers(video: torch.Tensor) -> list[int]:
    """Tell which clips a batch shows."""
    return ((video[:, 0, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_shards_hold_what_the_pack_of_the_same_clips_holds(made: Path) -> None:
    assert run(made / "in", made / "clips.pack") == 0
    index = read_index(str(made / "small"))
    assert [len(index[split]["shards"]) for split in COUNT] == [8, 1]
    assert index["test"]["contents"] == ["8"] and index["categories"] == ["a", "b"]
    for split, count in COUNT.items():
        pack = Pack(made / "clips.pack", split)
        wanted = {name: i for i, name in enumerate(pack.names)}
        shards = [Shard(str(made / "small" / s["name"]), s["clips"]) for s in index[split]["shards"]]
        found = [clip for shard in shards for clip in read_shard(shard, SIZE)]
        assert {clip.name for clip in found} == set(wanted) and len(found) == len(pack) == count
        for clip in found:
            i = wanted[clip.name]
            assert np.array_equal(clip.frames, pack.clip(i))
            assert (clip.label, clip.content, clip.fps) == (
                pack.labels[i],
                pack.content_ids[i],
                pack.rates[i],
            )


def test_shards_are_about_as_large_as_asked(made: Path) -> None:
    assert [len(list((made / "clips").glob(f"{split}-*.tar"))) for split in COUNT] == [1, 1]
    for path in (made / "small").glob("train-*.tar"):
        assert 0.1e6 < path.stat().st_size < 0.2e6  # two clips of 55 kB


def test_shards_mix_classes_and_keep_a_few_clips_of_a_content_together() -> None:
    ids = [str(number // 10) for number in range(200)]
    order = tars._mixed(range(200), ids)
    assert sorted(order) == list(range(200)) and order == tars._mixed(range(200), ids)
    changes = sum(ids[a] != ids[b] for a, b in itertools.pairwise(order))
    assert 40 < changes < 60, "60 runs"
    assert len({ids[index] for index in order[:64]}) > 10


@pytest.mark.parametrize("n", [1, 2])
def test_two_processes_see_every_clip_once_an_epoch(
    made: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    opened: list[Counter[str]] = [Counter(), Counter()]
    seen: list[list[list[int]]] = []
    for rank in (0, 1):
        monkeypatch.setattr(
            reading,
            "read_shard",
            lambda shard, size, r=rank: opened[r].update([shard.url]) or read_shard(shard, size),
        )
        found = source(made, rank=rank, size=2, block=8)  # a block is a process's epoch
        batches = [numbers(draw(found, step, rank, n)) for step in range(8 * 3 // n)]
        flat = [number for batch in batches for number in batch]
        seen.append([flat[epoch * 8 : epoch * 8 + 8] for epoch in range(3)])
    epochs = [one + two for one, two in zip(*seen, strict=True)]
    assert all(sorted(epoch) == list(range(16)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3, "each epoch has its own order"
    assert len({frozenset(epoch) for epoch in seen[0]}) > 1, "a process does not keep its shards"


def test_parts_in_turn_see_what_processes_see(made: Path) -> None:
    alone = source(made, accumulate=2)
    both = [source(made, rank=rank, size=2) for rank in (0, 1)]
    for step in range(9):
        for _ in range(2):  # each update begins its parts anew
            for part in (0, 1):
                assert torch.equal(draw(alone, step, part, 3), draw(both[part], step, part, 3))


@pytest.mark.parametrize("block", [1, 3, 5, 64])
def test_a_resumed_run_draws_the_same(made: Path, block: int) -> None:
    whole = source(made, block=block)
    batches = [draw(whole, step, n=3) for step in range(14)]  # beyond two epochs
    assert len({tuple(numbers(batch)) for batch in batches}) > 10
    for step in (0, 1, 4, 5, 6, 11, 13):
        assert torch.equal(draw(source(made, block=block), step, n=3), batches[step])
    assert torch.equal(draw(whole, 2, n=3), batches[2]), "a step back"


def test_a_resumed_run_opens_few_shards(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(
        reading, "read_shard", lambda shard, size: opened.append(shard) or read_shard(shard, size)
    )
    found = source(made, block=2)
    draw(found, 8 * 1000 + 6)  # the seventh of eight shards, in the thousandth epoch
    found._worker.shutdown()
    assert len(opened) == 2  # the one that is needed, and the next


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Clip]:
    """Give all clips that are in memory."""
    kept: weakref.WeakSet[Clip] = weakref.WeakSet()

    def watched(shard: Shard, size: int) -> Iterator[Clip]:
        for clip in read_shard(shard, size):
            kept.add(clip)
            yield clip

    monkeypatch.setattr(reading, "read_shard", watched)
    return kept


def test_memory_holds_three_blocks_and_a_batch(made: Path, alive: weakref.WeakSet[Clip]) -> None:
    found, most = source(made, block=2), 0
    started = time.monotonic()
    for step in range(20):
        draw(found, step, n=1)
        most = max(most, len(alive))
        while most <= 2 and time.monotonic() - started < 10:  # on a busy machine the reader may lag behind
            time.sleep(0.002)
            most = max(most, len(alive))
    assert 2 < most <= 3 * 2 + 1


def test_the_next_block_is_read_while_a_step_computes(made: Path, alive: weakref.WeakSet[Clip]) -> None:
    found = source(made, block=4)
    draw(found, 0, n=1)
    started = time.monotonic()
    while len(alive) < 8 and time.monotonic() - started < 10:
        time.sleep(0.002)
    assert len(alive) == 8


def test_references_show_the_same_subject(made: Path) -> None:
    found, other = source(made, block=16), 0
    for step in range(16):
        batch = found.batch(np.random.default_rng([0, step, 0]), 2, LENGTH, 4)
        for number, frames in zip(numbers(batch.video), batch.references, strict=True):
            theirs = ((frames[:, 0, 0, 0] + 1) * 127.5).round().int()
            assert set((theirs // 2).tolist()) == {number // 2}
            other += int((theirs != number).sum())
    assert other > 20, "from the other clip of the content, too"
    alone = source(made, block=1).batch(np.random.default_rng([0, 0, 0]), 1, LENGTH, 4)
    assert (alone.references[:, :, 0] == alone.video[:, :1, 0]).all(), "from the clip where there is no other"


def test_other_random_numbers_draw_from_anywhere(made: Path) -> None:
    """A sheet shows the same clips each time; a judge that draws on gets others; no step is disturbed."""
    found, rng = source(made), np.random.default_rng([7, 8])
    before = draw(found, 0)
    drawn = [found.batch(rng, 3, LENGTH, 1).video for _ in range(12)]
    assert torch.equal(drawn[0], found.batch(np.random.default_rng([7, 8]), 3, LENGTH, 1).video)
    assert len({number for video in drawn for number in numbers(video)}) > 8
    assert len(numbers(found.batch(rng, 40, LENGTH, 1).video)) == 40
    assert torch.equal(draw(found, 0), before)


def test_strides_and_about(made: Path) -> None:
    found = ShardSource(str(made / "small"), 9, 2)
    batch = found.batch(np.random.default_rng([0, 0, 0]), 2, 9, 1)
    assert (((batch.video[:, :, 1, 0, 0] + 1) * 127.5).round().diff(dim=1) == 2).all()
    about = found.about()
    assert (about["fps"], about["clip_length"], about["categories"]) == (6, 9, ["a", "b"])
    assert (about["title"], about["licence"], found.mirrors) == ("small", "unknown", False)


def test_folders_become_one_data_set_by_a_pattern_or_a_url(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(made / "small", tmp_path / name)
    both = ShardSource(f"{tmp_path}/{{one,two}}", LENGTH, 1)
    assert len(both.shards) == 16
    seen = Counter(number for step in range(16) for number in numbers(draw(both, step)))
    assert seen == dict.fromkeys(range(16), 2)
    index = json.loads((tmp_path / "two" / INDEX).read_text())
    index["train"]["contents"] = ["8"]
    (tmp_path / "two" / INDEX).write_text(json.dumps(index))
    with pytest.raises(VidgenError, match=r"'8' is for training in .*two and for testing in"):
        ShardSource(f"{tmp_path}/{{one,two}}", LENGTH, 1)
    (tmp_path / "two" / INDEX).write_text(json.dumps(index | {"size": 8}))
    with pytest.raises(VidgenError, match=r"two differ in size: 32, 8"):
        ShardSource(f"{tmp_path}/{{one,two}}", LENGTH, 1)


@pytest.mark.skipif(not shutil.which("curl"), reason="webdataset reads URLs by curl, which is not installed")
def test_shards_are_read_from_a_server(made: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(made))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        found = open_source(f"{place}/small", made, size=SIZE, length=LENGTH, stride=1)
        assert found.name == "small"
        here = ShardSource(str(made / "small"), LENGTH, 1)
        assert all(torch.equal(draw(found, step), draw(here, step)) for step in (3, 0, 9))
        with pytest.raises(VidgenError, match=r"/nothing/shards.json cannot be read"):
            ShardSource(f"{place}/nothing", LENGTH, 1)
        found._worker.shutdown()  # while the server is there
        server.shutdown()


def test_too_few_shards_are_one_sentence(made: Path) -> None:
    with pytest.raises(VidgenError, match=r"has 8 shards, but a batch has 9 parts \(processes: 3, --acc"):
        source(made, size=3, accumulate=3)
    found = source(made)
    with found.team.rehearsal(9), pytest.raises(VidgenError, match="has 8 shards, but a batch has 9 parts"):
        draw(found, 0)


@pytest.mark.parametrize("cut", ["half", "at a member", "noise", "gone", "foreign", "other size"])
def test_a_broken_shard_is_named(made: Path, tmp_path: Path, cut: str) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(made / "small", folder)
    path = folder / "train-00003.tar"
    data, sentence = path.read_bytes(), "is damaged, cut short or of another kind"
    if cut == "half":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif cut == "at a member":
        path.write_bytes(data[: data.index(b".json", 1000) // 512 * 512])
        sentence = "holds 1 clips, but shards.json says 2"
    elif cut == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif cut == "gone":
        path.unlink()
        sentence = "cannot be read .No such file"
    elif cut == "foreign":
        with path.open("wb") as file, tars.webdataset().TarWriter(file) as tar:
            tar.write({"__key__": "1", "txt": "roses"})
    else:
        with path.open("wb") as file, tars.webdataset().TarWriter(file) as tar:
            frames = np.zeros((LENGTH, 8, 8, 3), np.uint8)
            about = {"label": 0, "content": "x", "name": "x.png", "fps": 12.0}
            tar.write({"__key__": "1", "npy": frames, "json": about})
        sentence = "x.png has frames of 8 x 8 x 3, not of 32 px"
    found = ShardSource(str(folder), LENGTH, 1)
    with pytest.raises(VidgenError, match=rf"train-00003.tar.? {sentence}"):
        for step in range(8):
            draw(found, step)


def test_mistakes_are_one_sentence(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = functools.partial(open_source, cache=tmp_path, stride=1)
    small = str(made / "small")
    with pytest.raises(VidgenError, match="holds frames of 32 px; prepare it with --size 64"):
        opened(small, size=64, length=LENGTH)
    with pytest.raises(
        VidgenError, match=r"small: [ab]/\d+.png has 18 frames; 19 frames at stride 1 need 19"
    ):
        opened(small, size=SIZE, length=19)
    with pytest.raises(VidgenError, match=r"train-0000\d.tar: [ab]/\d+.png has 18 frames; 20 frames"):
        source(made).batch(np.random.default_rng([0, 0, 0]), 1, 20, 1)
    with pytest.raises(VidgenError, match="no pattern of folders"):
        opened("here/{one", size=SIZE, length=LENGTH)
    shutil.copytree(made / "small", tmp_path / "clips")
    for text, sentence in (
        ('{"unfinished": true}', "not finished"),
        ("roses", "damaged"),
        (None, "cannot be read"),
    ):
        (tmp_path / "clips" / INDEX).write_text(text) if text else (tmp_path / "clips" / INDEX).unlink()
        with pytest.raises(VidgenError, match=rf"clips/shards.json (is )?{sentence}"):
            opened(str(tmp_path / "clips"), size=SIZE, length=LENGTH)
    assert run(made / "in", tmp_path / "clips", "--shards", "1") == 2
    assert "holds other tar files" in capsys.readouterr().err
    assert run(made / "in", tmp_path / "new", "--shards", "-1") == 2
    assert "--shards is -1" in capsys.readouterr().err


def test_what_stops_leaves_whole_shards_and_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, out = strips(tmp_path / "in", 6, 16), tmp_path / "out"
    words = ["--size", "16", "--tests", "5"]
    usual, count = tars.webdataset().TarWriter.write, iter(range(100))

    def stopped(self: object, sample: dict) -> int:
        if next(count) == 3:
            raise KeyboardInterrupt
        return usual(self, sample) + 600_000

    monkeypatch.setattr(tars.webdataset().TarWriter, "write", stopped)
    line = [str(clips), "--out", str(out), *words, "--shards", "1"]
    with pytest.raises(KeyboardInterrupt):
        prepare.main(line)
    assert sorted(path.name for path in out.iterdir()) == [INDEX, "train-00000.tar"]
    with pytest.raises(VidgenError, match="not finished"):
        read_index(str(out))
    (out / "train-00007.tar").write_bytes(b"of a larger data set before")
    assert prepare.main(line) == 0
    assert "5 clips in 3 shards, 1 for testing in 1, 0 left out" in capsys.readouterr().out
    assert len(list(out.glob("*.tar"))) == 4
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare.main(line) == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_windows_become_shards(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(18):
        Image.fromarray(np.full((64, 48, 3), number, np.uint8)).save(folder / f"{number:02}.png")
    line = [str(folder), "--out", str(tmp_path / "out"), "--size", "16", "--windows", "16", "--shards", "1"]
    assert prepare.main(line) == 0
    index = read_index(str(tmp_path / "out"))
    assert index["train"]["clips"] > 20 and index["test"]["contents"] == ["held out"]


TINY = "--size 32 --batch 4 --base-width 8 --d-width 8 --v-width 8 --content-dim 6 --motion-dim 4 --stride 1"
TINY += " --warm-up 1 --bfloat16 false --device cpu --threads 1 --save-every 2 --sample-every 100"


def test_mocogan_trains_from_shards_and_resumes(made: Path, tmp_path: Path) -> None:
    line = ["--data", str(made / "small"), *TINY.split(), "--accumulate", "2", "--revise"]
    for out, stops in (("whole", ["2"]), ("cut", ["1", "2"])):
        for steps in stops:
            assert mocogan.main([*line, "--out", str(tmp_path / out), "--steps", steps]) == 0
    states = [
        torch.load(tmp_path / out / "state.pt", weights_only=True)["trainer"] for out in ("whole", "cut")
    ]
    for name, weight in states[0]["g"].items():
        assert torch.equal(weight, states[1]["g"][name]), name
    _, about, _ = load_model(tmp_path / "cut" / "model.safetensors")
    assert about["categories"] == ["a", "b"] and about["card"]["data"] == "small"


@pytest.mark.parametrize("lost", ["size", "train", "shards"])
def test_a_damaged_index_is_one_sentence(tmp_path: Path, lost: str) -> None:
    split = {"shards": [], "clips": 0, "shortest": None, "contents": []}
    index = {"version": tars.VERSION, "size": 16, "categories": [], "fps": 12.0, "about": {}}
    index |= {"train": dict(split), "test": dict(split)}
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert read_index(str(tmp_path)) == index
    (index if lost in index else index["train"]).pop(lost)
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(VidgenError, match="is damaged"):
        read_index(str(tmp_path))
