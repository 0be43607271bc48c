"""Threads that hang are noticed, and those that wait for something that may take long are not."""

from fakes import FakeClock

from service.activity import Activity


def test_what_takes_longer_than_it_may_is_a_hang() -> None:
    clock = FakeClock()
    activity = Activity(clock)
    activity.does("inspecting a frame", 30)
    clock.sleep(30)
    assert activity.hang is None
    clock.sleep(1)
    assert str(activity.hang) == "inspecting a frame has not ended for 31 s"
    activity.does("inspecting a frame", 30)
    assert activity.hang is None, "it has got on"


def test_what_may_take_long_never_is() -> None:
    clock = FakeClock()
    activity = Activity(clock)
    clock.sleep(1e6)
    assert activity.hang is None
    activity.does("storing decisions", None)
    clock.sleep(1e6)
    assert activity.hang is None
