"""etcd's wire interface as tables (tests/wire, for etcd 3.7), row by row against proto/, the messages and the codec."""

import csv
from pathlib import Path
from typing import Any

import pytest

from etcd_async._codec import decode, encode
from tests.unit.codec.google import NAMES, attribute, descriptors, files, google_class, our_class

TABLES = Path(__file__).parents[2] / "wire"
SAMPLES: dict[str, Any] = {
    **{"bool": True, "bytes": b"\x00\xff", "enum": 1, "int64": -5, "string": "\u00fc"},
    **{"uint32": 2**32 - 1, "uint64": 2**64 - 1, "message": {}},
}


def rows(table: str) -> list[dict[str, str]]:
    with (TABLES / f"{table}.csv").open() as file:
        return list(csv.DictReader(file))


def title(row: dict[str, str]) -> str:
    return ".".join(list(row.values())[:2])


FIELDS = [row for row in rows("messages") if row["field"]]


@pytest.mark.parametrize("row", FIELDS, ids=title)
def test_each_field_has_its_name_number_type_and_place(row: dict[str, str]) -> None:
    field = descriptors()[row["message"]].fields_by_number[int(row["number"])]
    oneof = field.containing_oneof
    assert field.name == row["field"]
    assert field.is_repeated == (row["label"] == "repeated")
    assert (oneof.name if oneof else "") == row["oneof"]
    nested = field.message_type or field.enum_type
    assert (nested.full_name if nested else "") == row["type_name"]


@pytest.mark.parametrize("row", FIELDS, ids=title)
def test_each_field_passes_through_the_codec_as_through_googles(row: dict[str, str]) -> None:
    sample = SAMPLES[row["type"]]
    data = google_class(row["message"])(**{row["field"]: [sample] if row["label"] else sample}).SerializeToString()
    message = decode(our_class(row["message"]), data)
    value = getattr(message, attribute(descriptors()[row["message"]].fields_by_name[row["field"]]))
    expected = our_class(row["type_name"])() if row["type"] == "message" else sample
    assert value == ([expected] if row["label"] else expected)
    assert encode(message) == data != b""


def test_there_is_no_message_beyond_the_table() -> None:
    assert {row["message"] for row in rows("messages")} == set(NAMES)


@pytest.mark.parametrize("row", rows("enums"), ids=title)
def test_each_value_of_an_enum_has_its_number(row: dict[str, str]) -> None:
    assert our_class(row["enum"])[row["value_name"]] == int(row["number"])


def test_there_is_no_value_of_an_enum_beyond_the_table() -> None:
    enums = [enum for file in files().file for enum in file.enum_type]
    enums += [enum for file in files().file for message in file.message_type for enum in message.enum_type]
    assert sum(len(enum.value) for enum in enums) == len(rows("enums"))


@pytest.mark.parametrize("row", rows("services"), ids=title)
def test_each_method_has_its_messages_and_streams(row: dict[str, str]) -> None:
    found = _methods()[f"/{row['service']}/{row['rpc']}"]
    assert row["path"] == f"/{row['service']}/{row['rpc']}"
    assert (found.input_type, found.output_type) == (f".{row['request']}", f".{row['response']}")
    streams = (str(found.client_streaming), str(found.server_streaming))
    assert streams == (row["client_streaming"], row["server_streaming"])


def test_there_is_no_method_beyond_the_table() -> None:
    assert len(_methods()) == len(rows("services"))


def _methods() -> dict[str, Any]:
    services = [(file.package, service) for file in files().file for service in file.service]
    return {
        f"/{package}.{service.name}/{method.name}": method for package, service in services for method in service.method
    }
