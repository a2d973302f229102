"""The only package that imports torch: a model without memory, its step recorded, a law fitted."""
