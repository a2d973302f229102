"""What lies on the disk: where, how it is written whole, and how records of a user's disk are read."""
