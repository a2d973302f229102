"""From the name of a model to its tensors, to the law of its memory, and to a folder with whole and safe weights."""
