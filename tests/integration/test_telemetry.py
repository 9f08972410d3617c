"""Spans and measurements of calls on a real etcd."""

import asyncio

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from etcd_async import Client, FutureRevision, Unavailable
from etcd_async.telemetry import Telemetry
from etcd_async.testing import EtcdServer


class Recording:
    """Where telemetry of a test goes."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = tracers.get_tracer("test")
        self.telemetry = Telemetry(tracer_provider=tracers, meter_provider=MeterProvider(metric_readers=[self.reader]))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how often each method ended in each way."""
        data = self.reader.get_metrics_data()
        assert data is not None
        [metric] = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("rpc.client.duration", "s")
        found = {}
        for point in metric.data.data_points:
            attributes = point.attributes or {}
            key = (str(attributes["rpc.method"]), str(attributes.get("error.type", "")))
            found[key] = int(getattr(point, "count", 0))
        return found


@pytest.fixture
def recording() -> Recording:
    return Recording()


async def test_each_call_is_a_span_and_a_measurement(etcd_server: EtcdServer, recording: Recording) -> None:
    async with Client(etcd_server.endpoint, telemetry=recording.telemetry) as client:
        with recording.tracer.start_as_current_span("request") as outer:
            await client.put("/secret-key", "secret-value")
            await client.get("/secret-key")
            with pytest.raises(FutureRevision):
                await client.get("/secret-key", revision=10**9)
    put, get, failed, _ = recording.spans
    assert [span.name.partition("/")[2] for span in (put, get, failed)] == ["Put", "Range", "Range"]
    assert put.name == "etcdserverpb.KV/Put"
    for span in (put, get, failed):
        assert span.parent is not None
        assert span.parent.span_id == outer.get_span_context().span_id
        assert "secret" not in span.to_json()
    assert dict(get.attributes or {}) == {"rpc.system": "grpc", "rpc.service": "etcdserverpb.KV", "rpc.method": "Range"}
    assert failed.status.status_code is StatusCode.ERROR
    attributes = failed.attributes or {}
    assert (attributes["error.type"], attributes["rpc.grpc.status_code"]) == ("FutureRevision", 11)
    assert recording.counts() == {("Put", ""): 1, ("Range", ""): 1, ("Range", "FutureRevision"): 1}


async def test_a_failed_write_says_whether_it_may_have_been_applied(dead_endpoint: str, recording: Recording) -> None:
    async with Client(dead_endpoint, telemetry=recording.telemetry) as client:
        with pytest.raises(Unavailable):
            await client.put("/a", "x")
    [span] = recording.spans
    assert (span.attributes or {})["etcd.maybe_applied"] is False


async def test_a_cancelled_call_ends_its_span(etcd_server: EtcdServer, recording: Recording) -> None:
    async with Client(etcd_server.endpoint, telemetry=recording.telemetry) as client:
        task = asyncio.create_task(client.get("/a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    [span] = recording.spans
    assert (span.attributes or {})["error.type"] == "CancelledError"


def test_what_is_no_telemetry_is_refused() -> None:
    with pytest.raises(TypeError, match="telemetry must be a Telemetry, not str"):
        Client(telemetry="yes")  # type: ignore[arg-type]
