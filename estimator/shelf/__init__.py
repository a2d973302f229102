"""Laws, streams and replays by the hash of a structure: shipped, kept, nearest."""
