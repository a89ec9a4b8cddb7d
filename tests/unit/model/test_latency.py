"""Latencies of messages add up over processes and travel as figures do."""

import msgspec

from amas.model.latency import LATENCY_BOUNDS_S, MessageLatencies
from amas.model.message import MessageType


def test_two_processes_latencies_are_one_histogram() -> None:
    here, there = MessageLatencies(), MessageLatencies()
    for seconds in (0.0, 0.001, 0.0011, 99.0):
        here.add(MessageType.STATUS, seconds)
    there.add(MessageType.STATUS, 0.0005)
    there.add(MessageType.SYSTEM, 0.3)
    here.merge(msgspec.json.decode(msgspec.json.encode(there), type=MessageLatencies))
    buckets = here.by_type[MessageType.STATUS].buckets()
    assert buckets[:2] == [(0.001, 3), (0.0025, 4)]
    assert buckets[-2:] == [(LATENCY_BOUNDS_S[-1], 4), (float("inf"), 5)]
    assert round(here.by_type[MessageType.STATUS].sum_s, 4) == 99.0026
    assert here.by_type[MessageType.SYSTEM].buckets()[-1][1] == 1
    assert there.by_type[MessageType.STATUS].buckets()[-1][1] == 1
