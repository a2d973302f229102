"""Long work in a process of its own: its folder, journal and lock, and the supervisor that starts, finds and stops
it."""
