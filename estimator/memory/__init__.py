"""Exact bytes: weights as stored, states, the allocator and what is replayed through it."""
