"""The models held against a real etcd: it answers one client as the simulation does, and the judges accept it."""

from dataclasses import replace
from random import Random

import pytest

from etcd_async import Client, EtcdError, ops
from etcd_async.testing import EtcdServer
from tests.robustness.history import (
    Answer,
    Compact,
    Failure,
    Grant,
    History,
    Operation,
    Request,
    Revoke,
    answer,
    failure,
)
from tests.robustness.judges import judge_history
from tests.robustness.simulation import Traffic
from tests.robustness.store import Refused, Store, as_told

pytestmark = pytest.mark.timeout(400)  # the first may have to build Porcupine

REQUESTS = 500


async def of_etcd(client: Client, request: Request) -> Answer | Failure:
    try:
        match request:
            case Grant():
                return answer(await client.leases.grant(request.ttl, request.lease))
            case Revoke():
                await client.leases.revoke(request.lease)
                return Answer()
            case Compact():
                await client.compact(request.revision)
                return Answer()
            case _:
                return answer(await client.do(request))
    except EtcdError as error:
        return replace(failure(error), message="")


def of_store(store: Store, request: Request) -> Answer | Failure:
    try:
        return as_told(request, store.do(request))
    except Refused as error:
        return Failure(str(error))


def as_versions_tell(request: Request, told: Answer | Failure) -> list[Answer | Failure]:
    """Return an answer as the versions of etcd give it: 3.7 tells no leases where it was asked for keys only."""
    if isinstance(request, ops.Range) and request.keys_only and isinstance(told, Answer):
        return [told, replace(told, kvs=tuple(replace(kv, lease=0) for kv in told.kvs))]
    return [told]


@pytest.mark.parametrize("seed", range(4))
async def test_etcd_answers_as_the_simulation_does_and_the_judges_accept_it(seed: int) -> None:
    traffic = Traffic(Random(seed))
    operations: list[Operation] = []
    async with EtcdServer() as server, Client(server.endpoint) as client:
        for number in range(REQUESTS):
            request = traffic.request()
            told = await of_etcd(client, request)
            assert told in as_versions_tell(request, of_store(traffic.store, request)), request
            operations.append(Operation(1, request, 2 * number, 2 * number + 1, told))
    verdict = judge_history(History(tuple(operations), (), tuple(traffic.store.log)))
    assert verdict.accepted, verdict.report()
