"""Datasets of Hugging Face and ModelScope: what a repository offers, and its files on their way to the rows."""
