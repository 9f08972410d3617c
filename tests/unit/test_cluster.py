"""What members may be called, before any server is asked."""

import re
import time

import pytest

from etcd_async import Client, Member, ProtocolError


@pytest.fixture
def client() -> Client:
    return Client("localhost:1")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with"),
        ("10.0.0.4:2380", "must begin with"),
        ("localhost:2380", "must begin with"),
        ("ftp://h:2380", "must begin with"),
        ("http://h", "the form"),
        ("http://:2380", "the form"),
        ("http://h:port", "not a URL"),
        ("http://h:99999", "not a URL"),
        ("http://[::1:2380", "not a URL"),
        ("http://h:2380/", "around host and port"),
        ("http://h:2380/path", "around host and port"),
        ("http://h:2380?query", "around host and port"),
        ("http://user:pw@h:2380", "around host and port"),
        ("http://h:2380 ", "white space"),
        ("\thttp://h:2380", "white space"),
        ("unix://", "no path"),
    ],
)
async def test_what_is_no_url_of_a_peer_is_refused_here(client: Client, url: str, problem: str) -> None:
    for call in (client.cluster.add(url), client.cluster.add_learner([url]), client.cluster.update(1, (url,))):
        with pytest.raises(ValueError, match=f"^peer_urls .*{problem}"):
            await call


def test_a_password_in_a_url_is_not_told(client: Client) -> None:
    for url in ("http://user:hunter2@h:2380", "http://user:hunter2/@@h:2380", "user:hunter2@" + "h" * 1000):
        assert "hunter2" not in str(_refusal(client, url))


def test_a_url_of_megabytes_is_refused_at_once_in_few_words(client: Client) -> None:
    began = time.process_time()
    assert len(str(_refusal(client, "x" * 3_000_000))) < 300
    assert time.process_time() - began < 5.0


def _refusal(client: Client, url: str) -> BaseException:
    adding = client.cluster.add(url)
    with pytest.raises(ValueError, match=re.escape("peer_urls")) as caught:
        adding.send(None)
    return caught.value


async def test_arguments_of_the_wrong_kind_are_refused_by_name(client: Client) -> None:
    with pytest.raises(ValueError, match="peer_urls must hold at least one"):
        await client.cluster.add([])
    with pytest.raises(TypeError, match="peer_urls must be str"):
        await client.cluster.add(b"http://h:2380")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="peer_urls must hold str, not bytes"):
        await client.cluster.add([b"http://h:2380"])  # type: ignore[list-item]
    for number, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)):
        for call in (client.cluster.remove, client.cluster.promote):
            with pytest.raises(error, match=r"^id must be"):
                await call(number)  # type: ignore[arg-type]


async def test_arguments_of_maintenance_are_refused_by_name(client: Client) -> None:
    maintenance = client.maintenance
    with pytest.raises(ValueError, match="bad endpoint 'ftp://h'"):
        await maintenance.status("ftp://h")
    with pytest.raises(ValueError, match="target_id must be at least 1"):
        await maintenance.move_leader(0)
    with pytest.raises(ValueError, match="alarm must be one of nospace, corrupt, not 'NOSPACE'"):
        await maintenance.disarm(alarm="NOSPACE")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="action must be one of validate, enable, cancel"):
        await maintenance.downgrade("undo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="version must be given to validate and enable, and only to them"):
        await maintenance.downgrade("enable")
    with pytest.raises(ValueError, match="version must be given to validate and enable, and only to them"):
        await maintenance.downgrade("cancel", "3.5")
    with pytest.raises(TypeError, match="version must be str, not float"):
        await maintenance.downgrade("enable", 3.5)  # type: ignore[arg-type]


async def test_a_client_of_several_must_say_which_one_is_to_be_worked_on() -> None:
    client = Client(["http://a:1", "http://b:1"])
    with pytest.raises(ValueError, match="endpoint must be given: the client has several"):
        await client.maintenance.defragment()
    with pytest.raises(ValueError, match="endpoint must be given: the client has several"):
        await client.maintenance.hash_kv()


async def test_an_answer_that_can_not_be_read_leaves_open_what_a_change_did(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def garbled(*_arguments: object, **_options: object) -> bytes:
        return b"\xff"

    monkeypatch.setattr(client._core.caller, "unary", garbled)
    with pytest.raises(ProtocolError) as change:
        await client.cluster.remove(1)
    assert change.value.maybe_applied
    with pytest.raises(ProtocolError) as question:
        await client.cluster.list()
    assert not question.value.maybe_applied


def test_a_member_that_has_a_name_was_started() -> None:
    assert not Member(1, peer_urls=("http://h:2380",)).is_started
    assert Member(1, "m1").is_started
