"""The Dataset tab: a file or a sample on the left; on the right what was recognised and the rows as the model reads
them. `tab` lays it out; each module with a `wire` wires what its name says."""
