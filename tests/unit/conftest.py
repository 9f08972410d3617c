"""What tests of several modules stand on."""

import pytest

from etcd_async._transport import roster
from tests.unit.transport.fakes import Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """What all channels of a caller lead to, instead of servers."""
    made = Network()
    monkeypatch.setattr(roster, "Channel", made.channel)
    return made
