"""The pytest plugin, in test runs of its own under anyio's plugin and under pytest-asyncio."""

import pytest

from tests.unit.testing.support import ROOT

pytestmark = pytest.mark.timeout(240)  # each is a test run of its own, with servers

#: Left out, it makes pytest-asyncio warn.
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")

CLIENT_TEST = """
async def test_writes(etcd_client):
    await etcd_client.put("/a", "1")
    kv = await etcd_client.get("/a")
    assert kv is not None and kv.value == b"1"

async def test_writes_in_another_loop(etcd_client):
    await etcd_client.put("/b", "1")
    assert await etcd_client.exists("/a")  # one server for the session
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are processes of their own, in other directories."""
    monkeypatch.setenv("PYTHONPATH", ROOT)


def run(pytester: pytest.Pytester, test: str, *options: str, failed: int = 0, passed: int = 0, errors: int = 0) -> str:
    pytester.makepyfile(test)
    # A process of its own: pytest-asyncio and anyio keep state per process. "-p no:" leaves one way of loading ours.
    loading = ("-p", "no:etcd_async", "-p", "etcd_async.testing.plugin")
    result = pytester.runpytest_subprocess(*loading, "-W", "error", *options)
    result.assert_outcomes(passed=passed, failed=failed, errors=errors)
    return result.stdout.str()


def test_fixtures_of_servers_are_for_plain_tests_too(pytester: pytest.Pytester) -> None:
    test = """
    from etcd_async.testing import EtcdServer

    def test_server(etcd_server):
        assert isinstance(etcd_server, EtcdServer) and etcd_server.is_running

    def test_cluster(etcd_cluster):
        assert len(etcd_cluster) == 3 and etcd_cluster.is_running
    """
    run(pytester, test, *ASYNCIO, passed=2)


def test_the_client_works_under_anyios_plugin(pytester: pytest.Pytester) -> None:
    backend = "import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\npytestmark = pytest.mark.anyio\n"
    run(pytester, backend + CLIENT_TEST, "-p", "no:asyncio", passed=2)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_the_client_works_under_pytest_asyncio_in_any_loop_scope(pytester: pytest.Pytester, scope: str) -> None:
    marks = f"import pytest\npytestmark = pytest.mark.asyncio(loop_scope={scope!r})\n"
    run(pytester, marks + CLIENT_TEST, *ASYNCIO, passed=2)


def test_the_client_works_under_the_automatic_mode_of_pytest_asyncio(pytester: pytest.Pytester) -> None:
    options = ("--asyncio-mode=auto", "-o", "asyncio_default_test_loop_scope=session")
    run(pytester, CLIENT_TEST, *ASYNCIO, *options, passed=2)


def test_a_plain_test_that_asks_for_the_client_is_told_why_it_can_not(pytester: pytest.Pytester) -> None:
    output = run(pytester, "def test_plain(etcd_client): pass", *ASYNCIO, errors=1)
    assert "etcd_client is for coroutine tests" in output


@pytest.mark.parametrize("name", ["etcd_server", "etcd_cluster"])
def test_a_missing_binary_is_one_line_that_says_what_to_do(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ETCD_BINARY", "/nowhere/etcd")
    output = run(pytester, f"def test_plain({name}): pass", *ASYNCIO, errors=1)
    assert "ETCD_BINARY is '/nowhere/etcd'" in output
    assert 'pip install "etcd_async[embedded]"' in output
    assert "Traceback" not in output
