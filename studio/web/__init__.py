"""The page put together and served: its frame and theme, all its tabs, and what programs ask."""
