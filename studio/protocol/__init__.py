"""How the page talks to a worker process: both halves of it, several workers of a kind, and the bounds of their work.
No torch."""
