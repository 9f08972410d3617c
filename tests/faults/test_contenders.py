"""Twenty contenders for a lock and an election in four processes, of which one is killed every now and then."""

import random

import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer
from tests.faults.judge import Contest, history
from tests.faults.killable import Program, running_all
from tests.faults.support import Stopwatch
from tests.support.live import until, within

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PROCESSES = 4
CONTENDERS = 20
SECONDS = 60.0
KILLS = 10  # at least
TTL = 1.0


def programs(endpoint: str) -> list[Program]:
    names = [f"contender-{number:02}" for number in range(CONTENDERS)]
    size = CONTENDERS // PROCESSES
    return [
        Program("contender.py", endpoint, str(TTL), str(at), *names[at : at + size])
        for at in range(0, CONTENDERS, size)
    ]


async def until_turns(client: Client, seconds: float) -> None:
    """Wait until somebody has had the lock after now."""
    revision = (await client.put("turns/from", "")).revision

    async def has_spoken() -> bool:
        newest = await client.range(prefix="said/lock/", sort_by="mod_revision", descending=True, limit=1)
        return bool(newest) and newest[0].mod_revision > revision

    await until(has_spoken, seconds)


@pytest.mark.judged
@pytest.mark.timeout(400)
async def test_never_two_holders_growing_tokens_nothing_left_and_nobody_starved(
    server: EtcdServer, client: Client
) -> None:
    chooser = random.Random(20)
    async with running_all(programs(server.endpoint)) as made:
        running = Stopwatch()
        kills = 0
        while running.seconds < SECONDS or kills < KILLS:
            async with client.watch(prefix="said/") as watch:  # a moment that nobody can foresee
                for _ in range(chooser.randint(1, 400)):
                    await within(anext(aiter(watch)), 30)
            victims = chooser.sample(made, chooser.choice([1, 1, 1, 2]))
            for victim in victims:
                await victim.kill()
                await victim.start()
            kills += len(victims)
        await until_turns(client, 30)
        for program in made:
            await program.stop()
    await until(lambda: nothing_left(client), 20)
    lock, election = Contest(b"lock/", b"said/lock/"), Contest(b"election/", b"said/election/")
    async for events in history(client):
        lock.see(events)
        election.see(events)
    for contest in (lock, election):
        assert contest.faults == []
        assert contest.tokens == sorted(set(contest.tokens))
        assert len(contest.turns) == CONTENDERS
        # Whoever was killed more often than others, and took its time to start anew, had fewer turns.
        assert min(contest.turns.values()) * 10 > sum(contest.turns.values()) / CONTENDERS
    assert len(lock.tokens) > 5 * CONTENDERS


async def nothing_left(client: Client) -> bool:
    contending = await client.count(prefix="lock/") + await client.count(prefix="election/")
    return not contending and not await client.leases.list()
