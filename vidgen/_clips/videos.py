"""Videos in containers: mp4, mov, webm, mkv, avi."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import av
import numpy as np

from vidgen._clips.sound import Sound
from vidgen._clips.source import STRIP_FPS, Frame, Source, noted_size, parse_note
from vidgen.errors import VidgenError

CODECS = {
    *("av1", "h263", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "theora"),
    *("vp8", "vp9", "ffv1", "mjpeg", "png", "prores", "rawvideo"),
}
MAX_ASPECT = 4  # of a pixel; what is longer is no television's but a mistake


class Video(Source):
    """A container with a picture stream, decoded by PyAV."""

    demuxer = ""

    def inspect(self) -> None:
        if self.declared_bytes() > self.path.stat().st_size:
            raise VidgenError(f"{self.path} is cut short: it ends before the length that it states.")
        with self._open() as container:
            stream = self._stream(container)
            tags = {key.lower(): value for key, value in container.metadata.items()}
            self.note = parse_note(tags.get("comment"))
            self.fps = float(stream.average_rate) if stream.average_rate else None
            self.seconds = container.duration / av.time_base if container.duration else None
            aspect = float(stream.sample_aspect_ratio or 1)  # of a pixel, width to height
            self.aspect = aspect if 1 / MAX_ASPECT <= aspect <= MAX_ASPECT else 1.0
            self.start = (container.start_time or 0) / av.time_base  # of what begins first, picture or sound

    def declared_bytes(self) -> int:
        """Return where the file says that it ends, or 0 if it does not say."""
        raise NotImplementedError

    def _open(self) -> av.container.InputContainer:
        # The demuxer is fixed and nothing is probed: no playlist can make it open another file or an address.
        name = f"file:{self.path.resolve()}"
        return av.open(name, format=self.demuxer, options={"protocol_whitelist": "file"})

    def _stream(self, container: av.container.InputContainer) -> av.VideoStream:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise VidgenError(f"{self.path} has no picture in it, only sound or data.")
        context = streams[0].codec_context
        codec = context.codec.canonical_name if context is not None else "unknown"
        if codec not in CODECS:
            raise VidgenError(f"{self.path} is encoded as {codec}, which is not read: convert it to h264.")
        self.check_size(context.width, context.height)
        return streams[0]

    def decode(self) -> Iterator[Frame]:
        count, cut = 0, noted_size(self.note)
        with self._open() as container:
            for frame in self._frames(container):
                self.check_size(round(frame.width * self.aspect), frame.height)
                height, width = self.shape_within(frame.height, round(frame.width * self.aspect))
                pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
                if cut and 0 <= pixels.shape[0] - cut[0] <= 1 and 0 <= pixels.shape[1] - cut[1] <= 1:
                    pixels = pixels[: cut[0], : cut[1]]
                pixels = np.rot90(pixels, frame.rotation // 90)
                seconds = self._seconds(frame, count)
                yield Frame(np.ascontiguousarray(pixels), seconds, height / frame.height)
                count += 1
        if count == 0:
            raise VidgenError(f"{self.path} has no frame that can be decoded: it is damaged or cut short.")

    def _frames(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        stream, size = self._stream(container), None
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VidgenError(f"{self.path} is damaged or cut short in the middle.")
            for frame in packet.decode():
                self.check_size(frame.width, frame.height)
                size = size or (frame.width, frame.height)
                if size != (frame.width, frame.height):
                    raise VidgenError(f"{self.path} changes its picture size on the way: convert it first.")
                yield frame

    def _seconds(self, frame: av.VideoFrame, index: int) -> float:
        if frame.time is None:
            return index / (self.fps or STRIP_FPS)
        return float(frame.time) - self.start

    def sound(self) -> Sound | None:
        container = self._open()
        if not container.streams.audio:
            container.close()
            return None
        return Sound(self.path, container, self.start)


class Mov(Video):
    """mp4, m4v and mov."""

    demuxer = "mov"

    def declared_bytes(self) -> int:
        end, total = 0, self.path.stat().st_size
        with self.path.open("rb") as file:
            while end + 8 <= total:
                file.seek(end)
                size, name = struct.unpack(">I4s", file.read(8))
                if size == 1:  # a 64-bit size follows
                    size = int.from_bytes(file.read(8), "big")
                if size < 8 or not name.isalnum():  # 0: up to the end; else: rubbish after the last box
                    break
                end += size
        return end


class Matroska(Video):
    """webm and mkv."""

    demuxer = "matroska"

    def declared_bytes(self) -> int:
        with self.path.open("rb") as file:
            file.seek(4)
            header = _ebml_size(file.read(8))
            file.seek(4 + header[1] + header[0])
            if file.read(4) != b"\x18\x53\x80\x67":  # the segment, which holds the rest
                return 0
            start = file.tell()
            size, length = _ebml_size(file.read(8))
        unknown = (1 << 7 * length) - 1  # all ones: a live recording
        return 0 if size == unknown else start + length + size


def _ebml_size(data: bytes) -> tuple[int, int]:
    """Read a variable-length number: (value, bytes it took)."""
    length = 9 - data[0].bit_length()
    return int.from_bytes(data[:length], "big") & ((1 << 7 * length) - 1), length


class Avi(Video):
    """avi."""

    demuxer = "avi"

    def declared_bytes(self) -> int:
        with self.path.open("rb") as file:
            return 8 + struct.unpack("<4xI", file.read(8))[0]
