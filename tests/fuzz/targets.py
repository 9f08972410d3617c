"""What is fuzzed: each target takes any bytes and raises if something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz.codec import fuzz_hot_answers, fuzz_messages_of_protobuf, fuzz_rows
from tests.fuzz.conversation import fuzz_connection
from tests.fuzz.framing import fuzz_frames, fuzz_heads, fuzz_messages
from tests.fuzz.machines import fuzz_renewals, fuzz_watches

CORPUS: Final = Path(__file__).parent / "corpus"

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "answers": fuzz_hot_answers,
    "codec": fuzz_messages_of_protobuf,
    "connection": fuzz_connection,
    "frames": fuzz_frames,
    "heads": fuzz_heads,
    "messages": fuzz_messages,
    "renewals": fuzz_renewals,
    "rows": fuzz_rows,
    "watches": fuzz_watches,
}


def corpus(target: str) -> list[Path]:
    """Return the inputs that are kept for a target: what found something once, and what leads far."""
    return sorted((CORPUS / target).glob("*"))
