"""Figures of speed and memory. Each module has `figures()`; ratios are taken in one run, interleaved."""
