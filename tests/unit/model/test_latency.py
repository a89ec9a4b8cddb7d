"""Latencies of messages add up over processes and travel as figures do."""

import msgspec

from amas.model.latency import LATENCY_BOUNDS_S, Latencies


def test_what_processes_counted_is_one_histogram() -> None:
    here, there = Latencies(), Latencies()
    for seconds in (0.0, 0.001, 0.0011, 99.0):
        here.add(seconds)
    there.add(0.0005)
    before = msgspec.msgpack.decode(msgspec.msgpack.encode(there), type=Latencies)
    here.add_since(Latencies(), before)
    there.add(0.3)
    here.add_since(before, there)
    buckets = here.buckets()
    assert buckets[:2] == [(0.001, 3), (0.0025, 4)]
    assert buckets[-2:] == [(LATENCY_BOUNDS_S[-1], 5), (float("inf"), 6)]
    assert round(here.sum_s, 4) == 99.3026
