"""Scripts that write `presets/`."""
