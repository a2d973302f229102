"""What is said of a run before it starts: the memory it takes, how long it lasts, whether its base can come. No
torch."""
