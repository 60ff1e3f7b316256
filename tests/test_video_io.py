"""Clips on disk: what goes in comes out, and what is broken is named."""

from __future__ import annotations

import errno
import io
import os
import struct
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidgen import video_io
from vidgen._clips import files, pictures
from vidgen.errors import VidgenError
from vidgen.video_io import (
    ClipWriter,
    filmstrip,
    jpeg_sheet,
    read_clip,
    read_recipe,
    stream_frames,
    tile,
    write_clip,
)

RECIPE = {
    "model": "mocogan-sprites",
    "content_seed": 3,
    "directions": [0.5, -1.25],
    "category": None,
    "é": "ü",
}
ENDINGS = ("mp4", "webm", "gif", "webp", "png")
# Mean difference in levels that each format may cost on a smooth picture.
LOSS = {"mp4": 2.5, "webm": 3.0, "gif": 4.0, "webp": 2.5, "png": 0.0}


def film(count: int = 12, height: int = 48, width: int = 48) -> np.ndarray:
    """Return a smooth picture that shifts from frame to frame: uint8 [t, h, w, 3]."""
    t, y, x = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    return np.stack([(x * 3 + t * 6) % 256, y * 4 % 256, 90 + t * 5], axis=-1).clip(0, 255).astype(np.uint8)


def encode(path: Path, frames: np.ndarray, codec: str, kind: str | None = None, **muxing: str) -> None:
    """Write a video by hand, as another program would."""
    with av.open(str(path), "w", format=kind, options=muxing) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("count", "height", "width"), [(12, 48, 48), (1, 48, 48), (5, 33, 47)])
def test_a_clip_comes_back(tmp_path: Path, ending: str, count: int, height: int, width: int) -> None:
    path, frames = tmp_path / f"clip.{ending}", film(count, height, width)
    write_clip(path, frames, 12.5, RECIPE)
    clip = read_clip(path)
    assert clip.frames.shape == frames.shape
    assert clip.frames.dtype == np.uint8
    assert clip.fps == 12.5
    assert clip.recipe == RECIPE == read_recipe(path)
    difference = np.abs(clip.frames.astype(int) - frames).mean()
    assert difference <= LOSS[ending], difference
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_frozen_clip_keeps_its_length(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"still.{ending}"
    write_clip(path, np.repeat(film(1), 9, axis=0), 12, RECIPE)
    assert len(read_clip(path).frames) == 9
    moving = tmp_path / f"moving.{ending}"
    write_clip(moving, np.concatenate([film(3), np.repeat(film(3)[-1:], 4, axis=0), film(2)]), 12)
    assert len(read_clip(moving).frames) == 9


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp"])
@pytest.mark.parametrize("fps", [1, 7.3, 12, 29.97, 60])
def test_other_readers_see_the_rate(tmp_path: Path, ending: str, fps: float) -> None:
    path = tmp_path / f"clip.{ending}"
    write_clip(path, film(20), fps)
    if ending in ("mp4", "webm"):
        with av.open(str(path)) as container:
            seconds = [frame.time for frame in container.decode(video=0)]
            assert (len(seconds) - 1) / (seconds[-1] - seconds[0]) == pytest.approx(fps, rel=0.01)
        return
    with Image.open(path) as image:
        total = 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            total += image.info["duration"]
    # Browsers slow a gif down whose delays are under 20 ms: 50 fps is its top.
    assert 20_000 / total == pytest.approx(min(fps, 50) if ending == "gif" else fps, rel=0.02)


def test_mp4_starts_at_once(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", film(), 12)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_gray_frames_are_written(tmp_path: Path) -> None:
    write_clip(tmp_path / "gray.png", film()[..., :1], 12)
    assert (read_clip(tmp_path / "gray.png").frames == film()[..., :1]).all()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx")]
)
def test_videos_of_others_are_read(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    encode(path, film(), codec)
    clip = read_clip(path)
    assert clip.frames.shape == film().shape
    assert clip.fps == pytest.approx(10, rel=0.02)
    assert clip.recipe is None
    assert np.abs(clip.frames.astype(int) - film()).mean() < 12
    with pytest.raises(VidgenError, match="carries no recipe"):
        read_recipe(path)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    encode(tmp_path / "a.avi", film(), "libx264", kind="mp4")
    assert len(read_clip(tmp_path / "a.avi").frames) == 12


def test_times_give_the_rate_of_a_webcam_file(tmp_path: Path) -> None:
    path = tmp_path / "webcam.webm"
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=1000)
        stream.height = stream.width = 48
        stream.pix_fmt = "yuv420p"
        for index, frame in enumerate(film()):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = index * 125 + index % 3
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert read_clip(path).fps == pytest.approx(8, rel=0.01)


def test_an_mp4_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    encode(path, film(4, 32, 48), "libx264")
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    # The point (x, y) of the stored picture is shown at (32 - y, x): a quarter turn clockwise.
    turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    upright = read_clip(path).frames
    data[matrix : matrix + 36] = turn
    path.write_bytes(data)
    turned = read_clip(path).frames
    assert turned.shape == (4, 48, 32, 3)
    assert (turned == np.rot90(upright, -1, axes=(1, 2))).all()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_strip_of_squares_is_read(tmp_path: Path, ending: str) -> None:
    Image.fromarray(filmstrip(film(7))).save(tmp_path / f"strip.{ending}", quality=95)
    clip = read_clip(tmp_path / f"strip.{ending}")
    assert clip.frames.shape == (7, 48, 48, 3)
    assert np.abs(clip.frames.astype(int) - film(7)).mean() < 4
    assert clip.fps == 12


def test_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (96, 48), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert (read_clip(tmp_path / "a.png").frames == 255).all()


def test_an_animation_with_uneven_delays_is_made_even(tmp_path: Path) -> None:
    first, *rest = [Image.fromarray(frame) for frame in film(4)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[100, 100, 300, 100])
    clip = read_clip(tmp_path / "a.gif")
    assert clip.fps == 10
    assert len(clip.frames) == 6
    assert (clip.frames[2] == clip.frames[4]).all()


def test_a_folder_of_frames_is_read_by_number(tmp_path: Path) -> None:
    for index, frame in enumerate(film(12)):
        Image.fromarray(frame).save(tmp_path / f"frame_{index}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert (read_clip(tmp_path).frames == film(12)).all()


def test_a_folder_names_the_picture_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match="holds no pictures"):
        read_clip(tmp_path)
    Image.fromarray(film(1)[0]).save(tmp_path / "1.png")
    Image.fromarray(film(1, 24, 24)[0]).save(tmp_path / "2.png")
    with pytest.raises(VidgenError, match="2.png is 24 x 24"):
        read_clip(tmp_path)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    with pytest.raises(VidgenError, match="2.png cannot be read"):
        read_clip(tmp_path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_limits_hold(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"clip.{ending}"
    write_clip(path, film(), 12)
    assert len(read_clip(path, max_frames=5).frames) == 5
    assert read_clip(path, max_frames=5).fps == 12
    assert read_clip(path, size=20).frames.shape == (12, 20, 20, 3)
    assert read_clip(path, size=(20, 30)).frames.shape == (12, 20, 30, 3)
    with pytest.raises(VidgenError, match="gave no frames"):
        read_clip(path, max_frames=0)
    with pytest.raises(VidgenError, match="x 48 pixels"):
        monkeypatch.setattr(pictures, "MAX_STRIP_PIXELS", 1000)
        read_clip(path, max_pixels=1000)
    monkeypatch.setattr(video_io, "MAX_CLIP_BYTES", 48 * 48 * 3 * 6)
    with pytest.raises(VidgenError, match="more frames than"):
        read_clip(path)


@pytest.mark.parametrize(
    "address", ["https://example.org/a.mp4", "rtsp://x/y", "file:///etc/passwd", "data:,x"]
)
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(VidgenError, match="is an address"):
        read_clip(address)


def test_playlists_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.mp4", film(), 12)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n")
    with pytest.raises(VidgenError, match="no clip that can be read"):
        read_clip(tmp_path / "list.mp4")


@pytest.mark.parametrize("name", ["none.mp4", "a\0b.mp4", "x" * 300 + ".mp4", "/dev/null"])
def test_what_is_no_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(VidgenError):
        read_clip(tmp_path / name)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0, 3, 30, 0.5, 0.97])
def test_a_cut_file_is_named(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / f"clip.{ending}"
    write_clip(path, np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8), 12, RECIPE)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(VidgenError, match=path.name):
        read_clip(path)


@pytest.mark.parametrize("name", ["a.mov", "a.avi", "a.mkv"])
def test_a_cut_video_of_others_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    encode(path, film(30), "mpeg4")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(VidgenError, match=name):
        read_clip(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_is_read_or_named_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clip.{ending}"
    write_clip(path, film(), 12, RECIPE)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(40):
        broken = whole.copy()
        broken[generator.integers(0, len(broken), 8)] = generator.integers(0, 256, 8)
        path.write_bytes(broken.tobytes())
        try:
            read_clip(path, max_pixels=100_000, max_frames=100)
        except VidgenError as error:
            assert path.name in str(error)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 44100
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    with pytest.raises(VidgenError, match="sound.mp4 has no picture"):
        read_clip(path)


def test_a_comment_of_others_is_no_recipe(tmp_path: Path) -> None:
    for comment in (b"made with love", b"{", b"[1]", b'{"recipe": {"model": "x"}}', b"[" * 60_000):
        first, *rest = [Image.fromarray(frame) for frame in film(2)]
        first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=100, comment=comment)
        assert read_clip(tmp_path / "a.gif").recipe is None
        with pytest.raises(VidgenError, match="carries no recipe"):
            read_recipe(tmp_path / "a.gif")


def test_streaming_holds_one_frame(tmp_path: Path) -> None:
    path, copy = tmp_path / "long.mp4", tmp_path / "copy.mp4"
    with ClipWriter(path, 25) as writer:
        for index in range(150):
            writer.add(np.full((256, 256, 3), index, np.uint8))
    tracemalloc.start()
    with ClipWriter(copy, 25) as writer:
        for frame in stream_frames(path):
            writer.add(frame.pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 256 * 256 * 3, peak
    assert [round(frame.seconds * 25) for frame in stream_frames(copy)] == list(range(150))


def test_opening_a_stream_fails_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(VidgenError):
        stream_frames(tmp_path / "none.mp4")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_error_on_the_way_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clip.{ending}"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), ClipWriter(path, 12) as writer:
        writer.add(film()[0])
        1 / 0  # noqa: B018
    with pytest.raises(VidgenError, match="no frames"):
        write_clip(path, film(0), 12)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
    write_clip(path, film(), 12)
    assert len(read_clip(path).frames) == 12


@pytest.mark.parametrize("ending", ENDINGS)
def test_bad_places_are_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(VidgenError, match="no folder"):
        write_clip(tmp_path / "none" / f"a.{ending}", film(), 12)
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(VidgenError, match="is a folder"):
        write_clip(tmp_path / f"folder.{ending}", film(), 12)
    with pytest.raises(VidgenError):
        write_clip(tmp_path / ("x" * 300 + f".{ending}"), film(), 12)
    with pytest.raises(VidgenError):
        write_clip(tmp_path / f"a\0.{ending}", film(), 12)
    assert os.listdir(tmp_path) == [f"folder.{ending}"]


@pytest.mark.parametrize("name", ["clip", "clip.txt", "clip.MP5", ".mp4"])
def test_unknown_endings_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(VidgenError, match="must end in"):
        write_clip(tmp_path / name, film(), 12)


def test_a_read_only_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    path.chmod(0o444)
    # The superuser may write anywhere, so the system's answer for others is put in its place.
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(VidgenError, match="read-only"):
        write_clip(path, film(), 12)
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write: /proc")
def test_a_read_only_folder_is_named() -> None:
    with pytest.raises(VidgenError, match="cannot be written"):
        write_clip("/proc/clip.mp4", film(), 12)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_nothing(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(VidgenError, match="no space left on device"):
        write_clip(tmp_path / f"clip.{ending}", film(), 12)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_cannot_grow_leaves_nothing(tmp_path: Path, ending: str, part: float) -> None:
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"clip.{ending}"
    write_clip(path, noise, 12)
    limit = int(path.stat().st_size * part)
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(VidgenError, match="too large"):
            write_clip(path, noise, 12)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_mad_rate_is_named(tmp_path: Path, fps: float) -> None:
    with pytest.raises(VidgenError, match="frames per second"):
        write_clip(tmp_path / "a.mp4", film(), fps)


def test_a_still_gif_has_a_longest_time(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match="655 s"):
        write_clip(tmp_path / "a.gif", np.repeat(film(1, 8, 8), 700, axis=0), 1)
    assert os.listdir(tmp_path) == []


def test_a_strip_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidgen._clips import writer

    monkeypatch.setattr(writer, "MAX_STRIP_PIXELS", 10_000)
    with pytest.raises(VidgenError, match="megapixels"):
        write_clip(tmp_path / "a.png", film(), 12)
    monkeypatch.setattr(writer, "MAX_BUFFER", 10_000)
    with pytest.raises(VidgenError, match="GiB"):
        write_clip(tmp_path / "a.webp", film(), 12)
    assert os.listdir(tmp_path) == []


def test_tile_lays_out_rows_and_columns() -> None:
    clips = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1, 1) * np.ones((1, 1, 4, 8, 10, 3), np.uint8)
    sheet = tile(clips, gap=2, shade=99)
    assert sheet.shape == (4, 18, 34, 3)
    assert (sheet[:, :8, :10] == 0).all()
    assert (sheet[:, :8, 24:] == 2).all()
    assert (sheet[:, 10:, 12:22] == 4).all()
    assert (sheet[:, 8:10] == 99).all()
    assert tile(clips, gap=0).shape == (4, 16, 30, 3)


def test_filmstrip_holds_the_ends() -> None:
    frames = film(9)
    assert filmstrip(frames).shape == (48, 9 * 48, 3)
    strip = filmstrip(frames, count=3, gap=2)
    assert strip.shape == (48, 3 * 48 + 4, 3)
    assert (strip[:, :48] == frames[0]).all()
    assert (strip[:, 50:98] == frames[4]).all()
    assert (strip[:, 100:] == frames[8]).all()
    assert filmstrip(frames[:1], count=5).shape == (48, 48, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_sheet_stacks_the_frames(channels: int) -> None:
    frames = film(9)[..., :channels]
    with Image.open(io.BytesIO(jpeg_sheet(frames, 95))) as image:
        assert image.size == (48, 9 * 48)
        sheet = np.array(image.convert("RGB")).reshape(9, 48, 48, 3)
    assert np.abs(sheet.astype(int) - frames).mean() < 4
    assert len(jpeg_sheet(frames, 30)) < len(jpeg_sheet(frames, 95))
    with pytest.raises(VidgenError, match="pixels high"):
        jpeg_sheet(np.zeros((1400, 48, 48, channels), np.uint8))
