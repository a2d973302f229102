"""From a model's name to its tensors: presets, folders, hubs, pasted configurations."""
