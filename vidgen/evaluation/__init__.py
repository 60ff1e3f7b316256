"""Measure models against real clips: `generators` and `translators`, and what both stand on."""
