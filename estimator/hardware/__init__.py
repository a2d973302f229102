"""Accelerators, the machines they are in, what joins them, and which kernels they run."""
