"""Instances of services, and how they change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Service:
    """
    One instance of a service.

    Attributes:
        name: The service's name, without slashes: what `discover` is asked for.
        id: This instance's id, unique within the name, without slashes.
        address: Where it listens, as its clients need it (``"10.0.0.5:8080"``, a URL).
        metadata: Anything else, as text to text.
        is_healthy: What the instance says of itself; see `Registration.set_health`.
        note: Why it says so.
    """

    name: str
    id: str
    address: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    is_healthy: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """
    One change among the instances of a service.

    Attributes:
        type: ``"added"``, ``"modified"`` or ``"removed"``.
        service: The instance after the change; as it was before, where it was removed.
    """

    type: Literal["added", "modified", "removed"]
    service: Service
