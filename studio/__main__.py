"""`lora-studio` and `python -m studio`: the page, or a subcommand."""

from __future__ import annotations

import argparse
import importlib
import os
import socket
import sys
from pathlib import Path

from estimator.core.problems import Problem

COMMANDS = {
    "estimate": "estimator.cli.cli",
    "advise": "estimator.cli.advise_command",
    "gpus": "estimator.cli.gpus_command",
    "models": "estimator.cli.models_command",
    "serving": "estimator.cli.serving_command",
    "measure": "estimator.cli.measure_command",
    "dataset": "studio.datasets.command",
    "dataset advise": "studio.outlook.command",
    "get": "studio.get.command",
}


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line that says what to mend."""
    arguments = sys.argv[1:] if argv is None else argv
    for count in (2, 1):
        if module := COMMANDS.get(" ".join(arguments[:count])):
            importlib.import_module("studio.i18n")  # the sentences of --lang
            return int(importlib.import_module(module).main(arguments[count - 1 :]))
    options = parser().parse_args(arguments)
    try:
        return serve(options)
    except Problem as problem:
        print(f"lora-studio: {problem}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lora-studio",
        description="Serve the studio's page on this machine.",
        epilog=f"Subcommands: {', '.join(COMMANDS)} (each has --help).",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; only this machine's own (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default 7860)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="where datasets and runs are kept (default: LORA_STUDIO_HOME, else the platform's data folder)",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="also serve /estimate and /recommend as tools for MCP clients, at /gradio_api/mcp/ (extra: mcp)",
    )
    return parser


def serve(options: argparse.Namespace) -> int:
    """Check everything that can be said in one line, then load the page."""
    from filelock import FileLock, Timeout

    from studio.gate.security import is_loopback
    from studio.gate.startup import has_mcp, import_gradio
    from studio.gate.uploaded import keep_uploads_here
    from studio.space import Space

    if not is_loopback(options.host):
        raise Problem("server.address", value=options.host)
    if options.mcp and not has_mcp():
        raise Problem("server.no_mcp")
    if options.data_dir:  # the estimator's own cache lies there too
        os.environ["LORA_STUDIO_HOME"] = str(options.data_dir.expanduser().resolve())
    space = Space.default().prepare()
    root = space.root
    lock = FileLock(root / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Problem("storage.busy", folder=str(root), pid=_read(root / ".pid")) from None
    with lock:
        (root / ".pid").write_text(str(os.getpid()))
        _check_port(options.host, options.port)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        # Events between two summaries for a dashboard that is not served: Gradio (6.31) loads pandas, 70 MB, for the
        # first one.
        os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**12)
        # Gradio serves files under the working directory that a handler names: work where there are none.
        neutral = space.cache / "empty"
        neutral.mkdir(exist_ok=True)
        os.chdir(neutral)
        keep_uploads_here(space)
        import_gradio(options.mcp)
        from studio.web.app import launch

        launch(space, options.host, options.port, options.mcp)
    return 0


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except (OSError, OverflowError):
            raise Problem("server.port", value=port) from None


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else "?"


if __name__ == "__main__":
    sys.exit(main())
