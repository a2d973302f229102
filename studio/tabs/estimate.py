"""Placeholder while this tab is written."""


def build(shared) -> None:
    return None
