"""
The command line: ``python -m etcd_async demo`` runs a guided tour on a real etcd.

Exit status: 0, 1 if something failed (one line on standard error says what), 2 for a wrong command line, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import anyio

from etcd_async import Client, EtcdError
from etcd_async._demo.stage import DemoFailed, Output
from etcd_async._demo.tour import run
from etcd_async.testing import EtcdBinaryNotFound

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return 0
    try:
        anyio.run(run, chosen.endpoint, Output(sys.stdout))
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except Exception as error:
        return _fail(_told(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m etcd_async", description="The asyncio client for etcd v3.")
    parser.add_argument("--version", action="version", version=f"etcd_async {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    about = "a guided tour on a real etcd: keys, transactions, watches, leases, locks, elections, services"
    demo = commands.add_parser("demo", help=about, description=f"Show {about}. It takes about ten seconds.")
    demo.add_argument(
        "--endpoint",
        action="append",
        default=[],
        type=_endpoint,
        metavar="URL",
        help="use this etcd, not one started for the tour, under a prefix that is removed at the end; "
        "give it once for each member",
    )
    return parser


def _endpoint(text: str) -> str:
    try:
        Client(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _version() -> str:
    try:
        return version("etcd-async")
    except PackageNotFoundError:
        return "(not installed)"


def _told(error: BaseException) -> str:
    """Say what went wrong; what is neither etcd's doing nor a promise broken is a defect, and keeps its traceback."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, EtcdError | DemoFailed):
        raise error
    is_plain = isinstance(error, DemoFailed | EtcdBinaryNotFound)
    return str(error) if is_plain else f"{type(error).__name__}: {error}"


def _fail(message: str, status: int = 1) -> int:
    sys.stderr.write(f"etcd_async: {message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
