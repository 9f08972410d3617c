"""
Traces and metrics of every call, by OpenTelemetry; needs the extra ``otel``.

    client = Client("localhost:2379", telemetry=Telemetry())

Each unary call is a span of kind CLIENT, named after its RPC (``etcdserverpb.KV/Range``), with all its attempts, and a
measurement in the histogram ``rpc.client.duration``. Neither keys nor values nor credentials are recorded.
Watches and lease keep-alives are lasting streams, and not recorded; what a client sees of its servers is in
``client.state``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._transport.caller import Caller
from etcd_async._transport.methods import Method
from etcd_async.errors import EtcdError, RpcError

try:
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ImportError('etcd_async.telemetry needs OpenTelemetry: pip install "etcd-async[otel]"') from _missing

__all__ = ["Telemetry"]

_SCOPE = "etcd_async"


class Telemetry:
    """
    Where spans and measurements of a client go.

    Attributes of both are those of OpenTelemetry's conventions for gRPC: ``rpc.system``, ``rpc.service``,
    ``rpc.method``, ``rpc.grpc.status_code`` (of what the server answered), ``error.type``. The span of a call that
    failed says in ``etcd.maybe_applied`` whether a write may have been applied.

    Args:
        tracer_provider: The application's own if None.
        meter_provider: The application's own if None.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "rpc.client.duration", unit="s", description="How long calls of etcd took, all attempts included."
        )

    def caller(self, endpoints: Sequence[Endpoint], **options: Any) -> Caller:
        """Make what a client makes its calls with; for `Client`."""
        return _Observed(self, endpoints, **options)

    @contextmanager
    def observe(self, method: Method) -> Iterator[None]:
        """Record what happens in the body as one call of *method*."""
        service, _, name = method.path[1:].partition("/")
        attributes: dict[str, str | int | bool] = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        began = time.perf_counter()
        with self._tracer.start_as_current_span(
            method.path[1:],
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
                attributes["rpc.grpc.status_code"] = 0
            except BaseException as error:
                failure = _failure(error)
                attributes |= failure
                span.set_attributes(failure)
                if isinstance(error, EtcdError):
                    span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                    span.set_attribute("etcd.maybe_applied", error.maybe_applied)
                raise
            finally:
                self._duration.record(time.perf_counter() - began, attributes)


class _Observed(Caller):
    """A caller whose calls are recorded."""

    def __init__(self, telemetry: Telemetry, endpoints: Sequence[Endpoint], **options: Any) -> None:
        super().__init__(endpoints, **options)
        self._telemetry = telemetry

    async def unary(
        self,
        method: Method,
        payload: bytes,
        *,
        timeout: float | None,
        repeatable: bool | None = None,
        endpoint: Endpoint | None = None,
    ) -> bytes:
        with self._telemetry.observe(method):
            return await super().unary(method, payload, timeout=timeout, repeatable=repeatable, endpoint=endpoint)


def _failure(error: BaseException) -> dict[str, str | int | bool]:
    failure: dict[str, str | int | bool] = {"error.type": type(error).__name__}
    if isinstance(error, RpcError):
        failure["rpc.grpc.status_code"] = int(error.code)
    return failure
