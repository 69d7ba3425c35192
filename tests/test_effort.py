"""The measure of effort tells work that grows with a length from work that grows with its square."""

import sys

from tests.effort import effort


def test_it_counts_the_calls_and_gives_the_result() -> None:
    assert effort(lambda: [len("a") for _ in range(10)]) == ([1] * 10, effort(lambda: None)[1] + 11)


def test_twice_the_length_is_twice_the_effort_or_four_times() -> None:
    def calls(length: int, power: int) -> int:
        return effort(lambda: [abs(n) for n in range(length**power)])[1]

    assert calls(200, 1) / calls(100, 1) < 2.1
    assert calls(200, 2) / calls(100, 2) > 3.9


def test_what_was_counting_before_counts_on() -> None:
    seen: list[str] = []

    def watch(_frame: object, event: str, _argument: object) -> None:
        seen.append(event)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        effort(lambda: None)
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(before)
