"""What was trained: run folders, their journals, and the processes that write them."""
