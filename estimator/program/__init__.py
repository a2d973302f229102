"""How a run is built from a recipe, with the libraries imported inside functions."""
