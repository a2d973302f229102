"""What leaves the studio."""
