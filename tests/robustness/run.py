"""One run: a cluster, its traffic and its faults, the end at which all must come together, and the files of it all."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from etcd_async import Client
from tests.robustness import history
from tests.robustness.cluster import Cluster, numbers
from tests.robustness.ending import differing_hashes, last_revision, lifeless
from tests.robustness.faults import KINDS, Injector, Kind, available, plan
from tests.robustness.recorder import Recorder
from tests.robustness.reference import Log, LogError, Witness
from tests.robustness.report import Report
from tests.robustness.traffic import Supplies
from tests.robustness.traffic_streams import Budget, Compactor, Stream
from tests.robustness.traffic_watches import Finish, Watching

__all__ = ["Settings", "run"]

_MARGIN: Final = 1.5
_WATCHES: Final = 12
_LOG_TIMEOUT: Final = 20.0
_READS_ARE_SAFE: Final = (3, 5, 6)


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What a run is to be.

    Attributes:
        folder: Where its files go.
        seconds: How long faults are injected.
        kinds: Which faults.
        binaries: The etcds to run, the members' in turn; by default as `Cluster`.
        rate: Operations a second, of all streams together, as long as nothing holds them up.
        operations: At most so many.
    """

    seed: int
    folder: Path
    seconds: float = 60.0
    kinds: Sequence[Kind] = KINDS
    binaries: Sequence[str | os.PathLike[str]] = ()
    rate: float = 100.0
    operations: int = 6000


async def run(settings: Settings) -> Report:
    """Do one run, and return what is to be said of it; its files are for the judges."""
    started = time.monotonic()
    async with Cluster(settings.binaries) as cluster:
        with Recorder(settings.folder) as recorder, _heard() as said:
            drive = _Run(settings, cluster, recorder)
            await drive.all()
    report = Report(
        seed=settings.seed,
        version="+".join(dict.fromkeys(cluster.versions)),
        seconds=time.monotonic() - started,
        faults=drive.injector.done,
        operations=recorder.operations,
        events=recorder.events,
        endings=recorder.endings,
        complaints=[*drive.finish.stuck, *drive.complaints, *said],
    )
    (settings.folder / history.RUN).write_text(json.dumps(report.as_json() | {"log": drive.injector.log}, indent=1))
    return report


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the event loop has to complain of, such as errors that nobody looked at."""
    loop = asyncio.get_running_loop()
    before, said = loop.get_exception_handler(), list[str]()

    def hear(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said.append(f"the event loop says: {context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(hear)
    try:
        yield said
        gc.collect()  # a future that nobody looked at says so when it goes
    finally:
        loop.set_exception_handler(before)


class _Run:
    """The parts of one run, and their order."""

    def __init__(self, settings: Settings, cluster: Cluster, recorder: Recorder) -> None:
        faults = plan(settings.seed, settings.seconds, available(settings.kinds))
        self.injector = Injector(cluster, faults)
        self._stopped = asyncio.Event()
        self.finish = Finish(self._stopped, asyncio.get_running_loop().create_future(), [])
        self.complaints: list[str] = []
        self._settings = settings
        self._cluster = cluster
        self._recorder = recorder
        self._log = Log()

    async def all(self) -> None:
        """Do everything, from the first put to the written log."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            clients = [await stack.enter_async_context(Client(each)) for each in self._places()]
            watching = [await stack.enter_async_context(Client(each)) for each in self._watching_places()]
            direct = [await stack.enter_async_context(Client(each)) for each in self._cluster.direct]
            witnesses = [
                group.create_task(Witness(f"m{member}", client, self._log).run())
                for member, client in enumerate(direct)
            ]
            watches = [group.create_task(each.run()) for each in self._watches(watching)]
            await self._harm(clients, group)
            self.complaints += await lifeless([*clients, *watching])
            await self._finish(watches)
            for witness in witnesses:
                witness.cancel()

    async def _harm(self, clients: Sequence[Client], group: asyncio.TaskGroup) -> None:
        """Have traffic and faults side by side, then traffic alone, then none."""
        compactor = Compactor(clients[-1], self._random("compactor"), recorder=self._recorder, log=self._log)
        works = [stream.run() for stream in self._streams(clients)]
        tasks = [group.create_task(work) for work in (*works, compactor.run(self._stopped))]
        end = time.monotonic() + self._settings.seconds
        await self.injector.run()
        await self._cluster.heal()
        await asyncio.sleep(max(_MARGIN, end - time.monotonic()))
        self._stopped.set()
        await asyncio.wait(tasks)

    async def _finish(self, watches: Sequence[asyncio.Task[None]]) -> None:
        """Put the last revision, and wait until everybody has seen it."""
        async with Client(self._cluster.direct) as client:
            last = await last_revision(client, self._recorder)
            self.finish.revision.set_result(last)
            await asyncio.wait(watches)
            self.complaints += await differing_hashes(self._cluster, last)
            await self._write_log(client, last)

    async def _write_log(self, client: Client, last: int) -> None:
        """Let one more witness look at all that is left, then write down what all together know."""
        try:
            async with asyncio.timeout(_LOG_TIMEOUT):
                await self._log.until(last)
                await Witness("a witness afterwards", client, self._log).run(last)
            events = self._log.events()
        except (TimeoutError, LogError) as error:
            self.complaints.append(f"the true log can't be had: known up to {self._log.come} of {last}: {error!r}")
            return
        lines = "".join(f"{history.reference_line(event)}\n" for event in events)
        (self._settings.folder / history.REFERENCE).write_text(lines, encoding="ascii")

    def _places(self) -> list[Sequence[str]]:
        """Return the endpoints of each client that does operations: some have one, some all."""
        every = self._cluster.endpoints
        return [*([each] for each in every), *(every for _ in range(5))]

    def _watching_places(self) -> list[Sequence[str]]:
        every = self._cluster.endpoints
        return [[every[0]], [every[1]], every, every]

    def _streams(self, clients: Sequence[Client]) -> Iterator[Stream]:
        """Return one stream for each client of one endpoint, and two for those of all, which share its connections."""
        shares = [1 if len(place) == 1 else 2 for place in self._places()]
        owners = [client for client, share in zip(clients, shares, strict=True) for _ in range(share)]
        supplies = Supplies(has_safe_reads=min(map(numbers, self._cluster.versions)) >= _READS_ARE_SAFE)
        settings = self._settings
        budget = Budget(settings.operations, settings.rate, streams=len(owners), stopped=self._stopped)
        for number, client in enumerate(owners):
            random = self._random(f"stream {number}")
            yield Stream(client, random, supplies=supplies, recorder=self._recorder, budget=budget)

    def _watches(self, clients: Sequence[Client]) -> Iterator[Watching]:
        for number in range(_WATCHES):
            random = self._random(f"watch {number}")
            yield Watching(clients[number % len(clients)], random, recorder=self._recorder, finish=self.finish)

    def _random(self, part: str) -> Random:
        return Random(f"{self._settings.seed}/{part}")
