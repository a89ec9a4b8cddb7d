"""The plan of `python -m benchmarks.day`: a day's curve, and everything at least once, the same for the same seed."""

from collections import Counter

from benchmarks.day.plan import NIGHT, SHARES, events, rate, waves


def test_a_day_has_a_quiet_night_and_two_peaks() -> None:
    hours = [rate(hour / 10) for hour in range(241)]
    peaks = [hour / 10 for hour in range(1, 240) if hours[hour - 1] < hours[hour] >= hours[hour + 1]]
    assert [peak for peak in peaks if rate(peak) > 2 * NIGHT] == [10.5, 16.0]
    assert max(hours) == 1.0
    assert rate(3) < 2 * NIGHT


def test_arrivals_follow_the_curve_and_the_seed() -> None:
    day = list(waves(7, seconds=600, per_s=40))
    assert day == list(waves(7, seconds=600, per_s=40))
    assert day != list(waves(8, seconds=600, per_s=40))
    by_hour = Counter(int(wave.at_s / 25) for wave in day for _ in wave.arrivals)
    assert by_hour[10] > 5 * by_hour[3]
    assert abs(by_hour[10] - 40 * 25) < 100
    arrivals = [arrival for wave in day for arrival in wave.arrivals]
    assert {arrival.capability for arrival in arrivals} == SHARES.keys()
    assert sum(arrival.asked["gives_up"] for arrival in arrivals) == len(arrivals) // 250
    assert len({arrival.asked["number"] for arrival in arrivals}) == len(arrivals)


def test_everything_happens_however_short_the_day() -> None:
    for seconds in (45, 600):
        planned = events(3, seconds=seconds)
        assert planned == sorted(events(3, seconds=seconds), key=lambda each: each.at_s)
        assert {"roll-out", "back-up", "drain", "uncordon", "kill"} == {each.what for each in planned}
        killed = {each.part.partition("-")[0] for each in planned if each.what == "kill"}
        assert killed == {"host", "control", "engine"}
        assert all(0 < each.at_s < seconds for each in planned)
    assert sum(each.what == "kill" for each in planned) == 31
