"""Weights in memory and answers from them: a base, adapters on it, and how tokens are chosen."""
