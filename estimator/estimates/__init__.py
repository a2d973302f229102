"""A recipe and a model in, memory by component with its error bar and its reasons out."""
