"""Whether a server is up, where etcd itself would rarely show the difference."""

import pytest

from etcd_async.testing import Ports, _health, ports
from etcd_async.testing._steps import run_sync


def test_a_server_that_listens_but_takes_no_calls_yet_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "healthy", lambda port: iter(()))
    monkeypatch.setattr(_health, "_ANSWER_TIMEOUT", 0.0)
    with ports.listener() as listener:
        chosen = Ports(client=listener.getsockname()[1], peer=0, metrics=0)
        steps = _health.ready(chosen)
        for _ in range(20):
            next(steps)
    run_sync(steps)  # the end of a connection is an answer, too: that of who wants TLS
