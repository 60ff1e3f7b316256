"""What is measured: `scores` (numpy, arrays in, floats out) and `features` (networks that judge clips)."""
