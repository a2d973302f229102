"""Pictures as HTML and SVG text: pure functions of data and language, every value from outside escaped."""
