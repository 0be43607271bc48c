"""What is encoded by a shorter way than the standard library's says the same."""

import json

import pytest
from delivery import MODEL, decision

from edge.clock import rfc3339
from service.messages import decision_message, encode

SECOND = 1_000_000_000


@pytest.mark.parametrize("ns", [0, 999, 1000, 123_456_789, 999_999_999])
def test_times_are_told_to_the_microsecond(ns: int) -> None:
    for second in (1, 1_795_000_000, 1_795_000_001):
        at_ns = second * SECOND + ns
        made = decision()._replace(decided_at_ns=at_ns)
        told = decision_message(made, node="cell-7", model=MODEL, part=1, message_id="1")
        assert told["ts"] == rfc3339(at_ns)


def test_encoding_is_plain_json_on_one_line() -> None:
    message: dict[str, object] = {
        "label": 'Kratzer "tief"\n\t\\ 傷\u2028\x7f',
        "none": None,
        "numbers": [0.0, -0.5, 0.1234, 1e-7, 12345.678, 2**53, 0],
        "empty": {},
        "late": False,
    }
    encoded = encode(message)
    assert json.loads(encoded) == message
    assert b"\n" not in encoded
    assert encoded.endswith(b'"late":false}')
    assert "傷".encode() in encoded
