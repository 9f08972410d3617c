"""How a client's endpoints do."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EndpointState:
    """
    What a client sees of one endpoint.

    Attributes:
        endpoint: Its spelling, with scheme and port as far as they are known.
        is_connected: Whether there is a connection for new calls.
        is_healthy: False while it is set aside: calls go elsewhere until a probe finds that it works.
        failures: How often in a row it was set aside, or did not answer a probe.
        failing_since: When it was set aside, in UTC; None if it is healthy.
        last_error: Why; the newest reason, or "".
    """

    endpoint: str
    is_connected: bool = False
    is_healthy: bool = True
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ClientState:
    """
    What a client sees of its servers.

    Attributes:
        endpoints: Each of them, in the order they were given.
    """

    endpoints: tuple[EndpointState, ...]

    @property
    def is_connected(self) -> bool:
        """True if there is a connection to any."""
        return any(endpoint.is_connected for endpoint in self.endpoints)
