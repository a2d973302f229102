"""From rows to the tokens that are trained: the one path of preview, training and chat."""
