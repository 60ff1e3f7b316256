"""The parts of `vidgen.video_io`."""
