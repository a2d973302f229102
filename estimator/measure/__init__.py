"""The real step measured on this machine, beside its estimate."""
