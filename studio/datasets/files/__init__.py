"""What a file holds as numbered raw values: a module a kind of file, each with a `read(source)`."""
