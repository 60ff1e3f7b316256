"""Carry the sound of a clip over to another file: packets as they are where both containers allow it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av

from vidgen._clips.files import readable
from vidgen.errors import VidgenError

CODECS = {
    *("aac", "mp3", "mp2", "opus", "vorbis", "flac", "alac", "ac3", "eac3", "amr_nb", "amr_wb"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8"),
    *("pcm_mulaw", "pcm_alaw", "adpcm_ms", "adpcm_ima_wav"),
}
KEPT = {"mp4": ("aac", "mp3"), "webm": ("opus", "vorbis")}  # what browsers play in these containers
ENCODERS = {"mp4": "aac", "webm": "libopus"}
RATE = 48_000  # samples a second, where the sound is encoded again


class Sound:
    """The first sound track of an open container, muxed into another beside the pictures.

    start: the time in seconds that becomes zero. Where the sound goes on beyond `max_seconds`, muxing it
    raises VidgenError, as for damage. Raises VidgenError for a codec that is not read.
    """

    max_seconds = math.inf

    def __init__(self, path: Path, container: av.container.InputContainer, start: float) -> None:
        self.path, self.container, self.start = path, container, start
        self.stream = container.streams.audio[0]
        codec = self.stream.codec_context.codec.canonical_name if self.stream.codec_context else "unknown"
        if codec not in CODECS:
            container.close()
            raise VidgenError(
                f"{path} has sound encoded as {codec}, which is not read: convert it to aac, or leave it out."
            )
        self.codec = codec

    def begin(self, target: av.container.OutputContainer) -> None:
        """Add a sound track to the target, before its first packet is muxed."""
        self.target, kind = target, target.format.name
        if self.codec in KEPT[kind]:
            self.track = target.add_stream_from_template(self.stream)
            packets = self._copied()
        else:
            self.track = target.add_stream(ENCODERS[kind], rate=RATE)
            self.track.layout = "mono" if self.stream.channels == 1 else "stereo"
            packets = self._encoded()
        self._packets = self._guarded(packets)
        self._next = next(self._packets, None)

    def mux_until(self, seconds: float) -> None:
        """Mux what sounds up to a time, so that pictures and sound lie side by side in the file."""
        while self._next is not None and self._time(self._next) <= seconds:
            if self._time(self._next) > self.max_seconds:
                raise VidgenError(
                    f"The sound of {self.path.name} is over {self.max_seconds:g} seconds long: cut it."
                )
            self._mux(self._next)
            self._next = next(self._packets, None)

    def _mux(self, packet: av.Packet) -> None:
        try:
            self.target.mux_one(packet)
        except ValueError as error:  # times that run backwards, a packet of another kind
            raise VidgenError(
                f"The sound of {self.path.name} is damaged and cannot be kept: convert the file first, or "
                "leave the sound out."
            ) from error

    def _guarded(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        with readable(self.path):
            yield from packets

    def close(self) -> None:
        self.container.close()

    def _time(self, packet: av.Packet) -> float:
        stamp = packet.pts if packet.dts is None else packet.dts
        return 0.0 if stamp is None else float(stamp * packet.time_base)

    def _read(self) -> Iterator[av.Packet]:
        for packet in self.container.demux(self.stream):
            if packet.is_corrupt:
                raise VidgenError(f"The sound of {self.path} is damaged or cut short.")
            yield packet

    def _copied(self) -> Iterator[av.Packet]:
        for packet in self._read():
            if packet.size == 0:  # the end
                continue
            shift = round(self.start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = self.track
            yield packet

    def _encoded(self) -> Iterator[av.Packet]:
        encoder = self.track.codec_context
        resampler = av.AudioResampler(format=encoder.format, layout=encoder.layout, rate=RATE)
        for packet in self._read():
            for frame in packet.decode():
                if frame.pts is not None:
                    frame.pts -= round(self.start / frame.time_base)
                for piece in resampler.resample(frame):
                    yield from self.track.encode(piece)
        for piece in resampler.resample(None):
            yield from self.track.encode(piece)
        yield from self.track.encode(None)
