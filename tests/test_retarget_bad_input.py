"""Bad files are told in one plain sentence, in little memory, leave nothing behind, and harm no later call.

Every file is made here. Each is retargeted with a memory limit, as the app does: longest clip and all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from films import Inverter, ground, place, talking, turn, write_film
from PIL import Image

from vidgen.errors import VidgenError
from vidgen.faces import Box
from vidgen.retarget import MAX_RATE, LiveRetarget, RetargetOptions, RetargetReport, preview_crop, retarget

MAX_SECONDS = 60.0
GIB = 2**30


def attempt(source: Path | str, folder: Path, **options: object) -> RetargetReport:
    """Retarget a file; see that a mistake is one plain sentence, and that nothing but a result is left."""
    before = set(os.listdir(folder))
    try:
        report = retarget(
            Inverter(), source, folder / "out.mp4", RetargetOptions(max_seconds=MAX_SECONDS, **options)
        )
    except VidgenError as error:
        sentence = str(error)
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert len(sentence) < 300
        assert "Error" not in sentence
        assert set(os.listdir(folder)) == before
        raise
    assert set(os.listdir(folder)) == before | {"out.mp4"}
    return report


def works(folder: Path) -> None:
    """See that the next call is not harmed."""
    source = write_film(folder / "good.mp4", talking(5))
    assert attempt(source, folder).frames == 5


def refused(source: Path | str, folder: Path, match: str, **options: object) -> None:
    with pytest.raises(VidgenError, match=match):
        attempt(source, folder, **options)
    with pytest.raises(VidgenError):
        preview_crop(source)
    works(folder)


def test_no_face(tmp_path: Path) -> None:
    source = write_film(tmp_path / "empty.mp4", np.repeat(ground()[None], 30, axis=0))
    with pytest.raises(VidgenError, match="No face was found in the first 20 seconds of empty.mp4: mark"):
        attempt(source, tmp_path)
    frame, boxes = preview_crop(source)
    assert frame.shape == (240, 320, 3)
    assert boxes == []
    assert attempt(source, tmp_path, crop="none").frames == 30
    assert attempt(source, tmp_path, crop=Box(10, 10, 90)).frames == 30
    works(tmp_path)


def test_a_face_too_late(tmp_path: Path) -> None:
    empty = np.repeat(ground()[None], 22, axis=0)
    source = write_film(tmp_path / "late.mp4", np.concatenate([empty, talking(3)]), rate=1)
    with pytest.raises(VidgenError, match="No face was found"):
        attempt(source, tmp_path)
    works(tmp_path)


def test_a_face_that_leaves_and_comes_back(tmp_path: Path) -> None:
    empty = np.repeat(ground()[None], 40, axis=0)
    source = write_film(tmp_path / "gone.mp4", np.concatenate([talking(10), empty, talking(10)]))
    report = attempt(source, tmp_path)
    assert report.frames == 60
    assert 35 <= report.misses <= 45


def test_two_faces(tmp_path: Path) -> None:
    face = talking(1, 160, 160, 160)[0]
    film = [place(place(ground(), face, 0, 60, 130), face, 150, 40, 160)] * 6
    source = write_film(tmp_path / "two.mp4", film)
    assert len(preview_crop(source)[1]) == 2
    assert attempt(source, tmp_path, face=1).frames == 6
    refused_face = "shows 2 faces, so there is no face 3"
    with pytest.raises(VidgenError, match=refused_face):
        attempt(source, tmp_path, face=2)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_portrait_rotation(tmp_path: Path, quarters: int) -> None:
    stored = np.ascontiguousarray(np.rot90(talking(5, 320, 240), quarters, axes=(1, 2)))
    source = turn(write_film(tmp_path / "phone.mp4", stored), quarters)
    frame, boxes = preview_crop(source)
    assert frame.shape == (320, 240, 3)
    assert len(boxes) == 1
    assert attempt(source, tmp_path).misses == 0


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 0.01, 0.5, 0.51, 0.52, 2.0, 2.03]
    report = attempt(write_film(tmp_path / "vfr.mp4", talking(7), times=times), tmp_path)
    assert report.frames == 7
    assert report.seconds == pytest.approx(2.03, rel=0.2)


def test_times_that_stand_still(tmp_path: Path) -> None:
    source = write_film(tmp_path / "still.avi", talking(6), codec="mjpeg")
    data = bytearray(source.read_bytes())
    data[32:36] = bytes(4)  # microseconds a frame
    source.write_bytes(data)
    assert attempt(source, tmp_path).frames == 6


def test_webm_without_duration(tmp_path: Path) -> None:
    times = [index * 0.125 + index % 3 * 0.001 for index in range(12)]
    source = write_film(tmp_path / "webcam.webm", talking(12), times=times, rate=1000, live="1")
    report = attempt(source, tmp_path)
    assert report.frames == 12
    assert report.fps == pytest.approx(8, rel=0.02)


def test_sound_only(tmp_path: Path) -> None:
    source = tmp_path / "sound.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refused(source, tmp_path, "has no picture in it")


@pytest.mark.parametrize("name", ["none.mp4", "none.webm", "none.avi"])
def test_zero_frames(tmp_path: Path, name: str) -> None:
    codec = {"mp4": "libx264", "webm": "libvpx", "avi": "mpeg4"}[name.split(".")[1]]
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    refused(tmp_path / name, tmp_path, name)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    refused(tmp_path / "a.mp4", tmp_path, "a.mp4 is empty")


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_truncated(tmp_path: Path, name: str, kept: float) -> None:
    codec = "mpeg4" if name.endswith("avi") else None
    source = write_film(tmp_path / name, talking(30), codec=codec)
    source.write_bytes(source.read_bytes()[: int(kept * source.stat().st_size)])
    refused(source, tmp_path, name)


def test_truncated_sound(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", talking(20), sound="aac", movflags="+faststart")
    data = bytearray(source.read_bytes())
    data[-2000:] = bytes(2000)
    source.write_bytes(data)
    try:
        assert attempt(source, tmp_path).frames == 20
    except VidgenError as error:
        assert "a.mp4" in str(error)
    works(tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.mp4", b"just some words, no film at all"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("a.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(200)),
        ("a.webm", b"\x1a\x45\xdf\xa3" + bytes(200)),
        ("a.avi", b"RIFF\x08\x00\x00\x00AVI " + bytes(20)),
        ("a.py", b"import os"),
    ],
)
def test_not_a_video(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, tmp_path, name)


def test_a_photo_is_not_a_video(tmp_path: Path) -> None:
    Image.fromarray(talking(1)[0]).save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", tmp_path, "a.jpg is 320 x 240 pixels and no strip")


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "http://10.0.0.1/", "file:///etc/passwd"])
def test_an_address_in_place_of_a_file(tmp_path: Path, address: str) -> None:
    refused(address, tmp_path, "is an address and not a file")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", tmp_path, "does not exist")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", tmp_path, "holds no pictures")


def test_one_hour_by_its_header(tmp_path: Path) -> None:
    frames = talking(3, 48, 64, 40)
    source = write_film(tmp_path / "hour.mp4", frames, times=[0, 1800, 3600])
    with pytest.raises(VidgenError, match="hour.mp4 is over 60 seconds long, which is the most"):
        attempt(source, tmp_path)
    works(tmp_path)


def test_one_hour_by_its_times(tmp_path: Path) -> None:
    times = [0, 10, 20, 30, 40, 70, 3600]
    source = write_film(tmp_path / "hour.webm", talking(7), times=times, live="1")
    with pytest.raises(VidgenError, match="over 60 seconds long"):
        attempt(source, tmp_path)
    works(tmp_path)


def test_one_hour_of_sound_behind_a_second_of_picture(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", talking(5), sound="aac", sound_seconds=70, live="1")
    with pytest.raises(VidgenError, match="The sound of a.mkv is over 60 seconds long"):
        attempt(source, tmp_path)
    works(tmp_path)


def test_too_many_frames_a_second(tmp_path: Path) -> None:
    frames = talking(1, 48, 64, 40)
    count = MAX_RATE + 40
    source = write_film(tmp_path / "fast.mp4", np.repeat(frames, count, axis=0), rate=1000)
    with pytest.raises(VidgenError, match=f"over {MAX_RATE} frames a second"):
        retarget(Inverter(), source, tmp_path / "out.mp4", RetargetOptions(crop="none", max_seconds=1))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("target", ["out.mp4", "out.webm"])
@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.webm", "libopus"), ("a.mkv", "flac")])
def test_damage_is_read_or_named_and_nothing_else(tmp_path: Path, name: str, sound: str, target: str) -> None:
    source = write_film(tmp_path / name, talking(6, 48, 64, 40), sound=sound)
    whole = np.frombuffer(source.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(12):
        broken = whole.copy()
        broken[generator.integers(0, len(broken), 6)] = generator.integers(0, 256, 6)
        source.write_bytes(broken.tobytes())
        try:
            options = RetargetOptions(crop="none", max_seconds=MAX_SECONDS)
            retarget(Inverter(16), source, tmp_path / target, options)
        except VidgenError as error:
            assert name in str(error)
            assert set(os.listdir(tmp_path)) <= {name, target}


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 640)])
def test_the_smallest_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    source = write_film(tmp_path / "a.mkv", np.zeros((3, *size, 3), np.uint8), codec="ffv1")
    assert attempt(source, tmp_path, crop="none").frames == 3
    (tmp_path / "out.mp4").unlink()
    assert attempt(source, tmp_path, crop="none", paste_back=True).frames == 3
    with pytest.raises(VidgenError, match="No face"):
        attempt(source, tmp_path)


def test_unknown_codecs(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.avi", talking(3), codec="mpeg4")
    source.write_bytes(source.read_bytes().replace(b"FMP4", b"SVQ1"))
    refused(source, tmp_path, "is encoded as|cannot be read|has no frame")
    source = write_film(tmp_path / "b.mkv", talking(3), sound="wavpack")
    with pytest.raises(VidgenError, match="has sound encoded as wavpack"):
        attempt(source, tmp_path)


def test_too_large_a_picture(tmp_path: Path) -> None:
    frame = np.zeros((4400, 2200, 3), np.uint8)
    source = write_film(tmp_path / "8k.mp4", [frame])
    refused(source, tmp_path, "8k.mp4 is 2200 x 4400 pixels, and 9.0 megapixels are allowed")


def test_a_size_that_changes(tmp_path: Path) -> None:
    small, large = (write_film(tmp_path / f"{side}.h264", [ground(side, side)] * 3) for side in (48, 96))
    data = small.read_bytes() + large.read_bytes()
    (tmp_path / "raw.h264").write_bytes(data)
    source = tmp_path / "two.mkv"
    with av.open(str(tmp_path / "raw.h264")) as given, av.open(str(source), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for index, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
            packet.stream, packet.pts, packet.dts = stream, index * 1000, index * 1000
            container.mux(packet)
    for path in (small, large, tmp_path / "raw.h264"):
        path.unlink()
    with pytest.raises(VidgenError, match="two.mkv"):
        attempt(source, tmp_path, crop="none")
    works(tmp_path)


def test_a_webcam_frame_of_one_pixel() -> None:
    assert LiveRetarget(Inverter()).step(np.zeros((1, 1, 3), np.uint8)) == (None, None)
    result, box = LiveRetarget(Inverter(), crop="none").step(np.zeros((1, 1, 3), np.uint8))
    assert result.shape == (64, 64, 3)
    assert box == Box(0, 0, 1)


LIMITED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from films import Inverter, peak_memory
from vidgen.errors import VidgenError
from vidgen.retarget import RetargetOptions, retarget
try:
    options = RetargetOptions(crop=sys.argv[4], max_seconds=60, paste_back=sys.argv[5] == "paste")
    sys.stdout.write(f"{retarget(Inverter(), Path(sys.argv[1]), Path(sys.argv[2]), options).frames}\\n")
except VidgenError as error:
    sys.stdout.write(f"{error}\\n")
sys.stdout.write(f"{peak_memory()}\\n")
"""


def apart(source: Path, crop: str, paste: str = "") -> tuple[str, int]:
    """Retarget in a process of its own: what it said and the bytes of memory that it took at most."""
    target = source.with_name("out.mp4")
    command = [sys.executable, "-c", LIMITED, source, target, Path(__file__).parent, crop, paste]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()
    return said, int(peak) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs the system's count of memory")
@pytest.mark.parametrize("crop", ["auto", "none"])
def test_a_small_file_of_gigabytes(tmp_path: Path, crop: str) -> None:
    black = np.zeros((1080, 1920, 3), np.uint8)
    source = write_film(tmp_path / "bomb.mp4", [black] * 400)
    assert source.stat().st_size < 200_000
    assert 400 * black.nbytes > 1.5 * GIB
    said, peak = apart(source, crop)
    assert said == "400" or said.startswith("No face")
    assert peak < 1.5 * GIB


@pytest.mark.skipif(sys.platform != "linux", reason="needs the system's count of memory")
@pytest.mark.parametrize("paste", ["", "paste"])
def test_4k(tmp_path: Path, paste: str) -> None:
    source = write_film(tmp_path / "4k.mp4", talking(10, 2160, 3840, 1400))
    said, peak = apart(source, "auto", paste)
    assert said == "10"
    assert peak < 1.5 * GIB
