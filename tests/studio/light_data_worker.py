"""The data worker without its heavy imports at start: for tests that only read files."""

from studio.workers import data
from studio.workers.serve import serve

if __name__ == "__main__":
    serve(data.HANDLERS)
