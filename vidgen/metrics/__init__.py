"""What is measured: `scores` (numpy, arrays in, floats out) and `features` (small networks that judge clips)."""
