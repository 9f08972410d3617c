"""What is built from keys, leases and watches: locks, elections, service registration and discovery."""

__all__: list[str] = []
