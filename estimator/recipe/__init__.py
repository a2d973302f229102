"""What a user asks for: the recipe, its choices and conflicts, batches, and how it is written to a file."""
