"""`python -m tests.warm.command estimate ...`: the command line, as a module that a warm process can give birth to."""

import sys

from studio.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
