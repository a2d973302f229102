"""The memory law: peak bytes of a step as a closed form, and its hand-written stand-in."""
