"""What to change, what fits best, which card: every proposal is an estimate."""
