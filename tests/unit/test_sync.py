"""Which of the URLs that members advertise a client takes over."""

from random import Random

import pytest

from etcd_async import _codec
from etcd_async._core import Core
from etcd_async._pb.etcdserverpb import Member, MemberListRequest, MemberListResponse, ResponseHeader, StatusResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._sync import EndpointSync
from etcd_async._transport.caller import Caller
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import Attempt, ClientClosed, EtcdError, Unavailable
from etcd_async.options import Backoff
from tests.unit.transport.fakes import Network

QUICK = Backoff(initial=0.0001, maximum=0.0002)
OURS = ResponseHeader(cluster_id=7)
A, B, C = "http://a:1", "http://b:1", "http://c:1"


@pytest.fixture
def network(network: Network) -> Network:
    network.probes.default_factory = lambda: [_codec.encode(StatusResponse(header=OURS, leader=1))]
    return network


def core_of(*endpoints: str) -> Core:
    tasks = Tasks(lambda error: None)
    caller = Caller([parse(each) for each in endpoints], backoff=QUICK, tasks=tasks, random=Random(0))
    return Core(caller, tasks, 5.0)


async def synced(network: Network, core: Core, *members: Member, is_secure: bool = False) -> list[str]:
    """Return the endpoints of the client after *members* were its cluster's."""
    answer = _codec.encode(MemberListResponse(header=OURS, members=list(members)))
    network.script = [answer]
    try:
        await EndpointSync(core, is_secure=is_secure).once(5.0)
    finally:
        await core.aclose()
    assert network.asked[0].payload == _codec.encode(MemberListRequest(linearizable=True))
    return [endpoint.text for endpoint in core.caller.addresses()]


def member(*urls: str, name: str = "m", is_learner: bool = False) -> Member:
    return Member(name=name, client_ur_ls=list(urls), is_learner=is_learner)


def another_cluster() -> bytes:
    return _codec.encode(StatusResponse(header=ResponseHeader(cluster_id=8), leader=1))


async def test_the_urls_of_all_members_are_taken_over_each_once(network: Network) -> None:
    found = await synced(network, core_of(A), member(A, "http://a:2"), member(B), member(B, name="n"))
    assert found == [A, "http://a:2", B]


async def test_learners_and_members_without_a_name_or_urls_are_left_out(network: Network) -> None:
    members = [member(A), member(B, is_learner=True), member(C, name=""), member()]
    assert await synced(network, core_of(A, B), *members) == [A]


async def test_what_can_not_be_read_is_left_out(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    assert await synced(network, core_of(A), member("ftp://x", B)) == [B]
    assert "ftp://x" in caplog.text


async def test_a_new_url_is_taken_only_if_the_same_cluster_answers_there(network: Network) -> None:
    network.probes[B] = [AttemptFailed(B, "connection refused", sent=False, is_down=True)]
    network.probes[C] = [another_cluster()]
    assert await synced(network, core_of(A), member(A), member(B), member(C)) == [A]


async def test_a_url_in_use_stays_though_nobody_answers_there_now(network: Network) -> None:
    network.probes[B] = [AttemptFailed(B, "connection refused", sent=False, is_down=True)]
    assert await synced(network, core_of(A, B), member(A), member(B)) == [A, B]


async def test_a_client_that_is_closed_meanwhile_says_so(network: Network) -> None:
    network.probes[B] = network.probes[C] = [ClientClosed()]
    with pytest.raises(ClientClosed):
        await synced(network, core_of(A), member(B), member(C))


async def test_a_list_of_which_nothing_answers_is_not_taken_and_each_reason_told(network: Network) -> None:
    network.probes[B] = [another_cluster()]
    network.probes[C] = [b"\xff"]
    core = core_of(A)
    with pytest.raises(Unavailable) as caught:
        await synced(network, core, member(B), member(C))
    assert Attempt(B, "another cluster answers there") in caught.value.attempts
    assert {attempt.endpoint for attempt in caught.value.attempts} == {B, C}
    assert [endpoint.text for endpoint in core.caller.addresses()] == [A]


async def test_a_list_without_any_url_is_not_taken(network: Network) -> None:
    core = core_of(A)
    with pytest.raises(EtcdError, match="no member of the cluster advertises"):
        await synced(network, core, member(name=""))
    assert [endpoint.text for endpoint in core.caller.addresses()] == [A]


@pytest.mark.parametrize(
    ("present", "is_secure", "expected"),
    [
        ("https://a:1", True, ["https://c:1"]),
        ("a:1", True, ["https://c:1"]),
        ("a:1", False, [B, "https://c:1"]),
        (A, True, [B, "https://c:1"]),
    ],
)
async def test_a_client_of_tls_does_not_follow_to_plain_urls(
    network: Network, present: str, is_secure: bool, expected: list[str]
) -> None:
    found = await synced(network, core_of(present), member(B, "https://c:1"), is_secure=is_secure)
    assert found == expected
