"""What a row means: its columns, messages and tools, and the shapes that people write."""
