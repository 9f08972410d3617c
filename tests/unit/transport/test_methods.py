"""The table of methods, held against the services of proto/."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from etcd_async._transport import methods
from etcd_async._transport.methods import METHODS, Kind, Method

PROTO = Path(__file__).parents[3] / "proto"
RPC = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\)")

# etcd's own client repeats these: client/v3/retry.go, the rows with repeatable policy.
REPEATED_BY_ETCDS_CLIENT = {
    *("Range", "LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases", "LeaseKeepAlive"),
    *("MemberList", "Alarm", "Status", "Hash", "HashKV", "Snapshot", "MoveLeader"),
    *("UserList", "UserGet", "RoleGet", "RoleList"),
}
# Reads, and a login, that etcd's client could repeat as well.
REPEATED_HERE_TOO = {"RangeStream", "Watch", "AuthStatus", "Authenticate", "Leader", "Observe"}
REPEATED_WRITES = {"LeaseGrant", "LeaseRevoke", "Alarm", "MoveLeader"}


class Declared(NamedTuple):
    path: str
    request: str
    response: str
    kind: Kind


def declared() -> Iterator[Declared]:
    for file in sorted(PROTO.glob("*.proto")):
        text = file.read_text()
        package = re.search(r"^package (\w+);", text, re.MULTILINE)
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            assert package
            for name, many_in, request, many_out, response in RPC.findall(body):
                kind = Kind.DUPLEX if many_in else Kind.SERVER_STREAM if many_out else Kind.UNARY
                yield Declared(f"/{package[1]}.{service}/{name}", request, response, kind)


DECLARED = list(declared())


def name_of(method: Method) -> str:
    return method.path.rpartition("/")[2]


def test_every_service_of_proto_was_found() -> None:
    services = {each.path.split("/")[1] for each in DECLARED}
    etcd = {f"etcdserverpb.{name}" for name in ("KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth")}
    assert services == etcd | {"v3electionpb.Election", "v3lockpb.Lock"}
    assert len(DECLARED) == 49


def test_the_table_has_exactly_the_calls_of_proto() -> None:
    assert set(METHODS) == {each.path for each in DECLARED}


@pytest.mark.parametrize("expected", DECLARED, ids=lambda each: each.path)
def test_a_row_has_the_messages_and_the_kind_that_proto_gives_it(expected: Declared) -> None:
    method = METHODS[expected.path]
    package = expected.path[1:].partition(".")[0]
    names = method.request.__name__.lower(), method.response.__name__.lower()  # betterproto2 writes HashKv for HashKV
    assert (*names, method.kind) == (expected.request.lower(), expected.response.lower(), expected.kind)
    assert method.request.__module__ == method.response.__module__ == f"etcd_async._pb.{package}"


def test_what_may_be_repeated_is_etcds_list_and_a_few_reads() -> None:
    repeatable = {name_of(method) for method in METHODS.values() if method.repeatable}
    assert repeatable == REPEATED_BY_ETCDS_CLIENT | REPEATED_HERE_TOO


def test_what_is_not_repeatable_writes() -> None:
    assert all(method.writes for method in METHODS.values() if not method.repeatable)
    assert {name_of(each) for each in METHODS.values() if each.repeatable and each.writes} == REPEATED_WRITES


def test_only_the_login_goes_without_a_token() -> None:
    assert [name_of(method) for method in METHODS.values() if not method.needs_token] == ["Authenticate"]


def test_every_row_has_a_name_of_its_own() -> None:
    named = [each for each in vars(methods).values() if isinstance(each, Method)]
    assert named == list(METHODS.values())


def test_the_table_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        METHODS["/x"] = methods.RANGE  # type: ignore[index]
