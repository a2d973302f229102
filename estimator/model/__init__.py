"""What a model is: its configuration, every tensor of it, and the presets."""
