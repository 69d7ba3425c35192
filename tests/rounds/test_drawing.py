"""The ring as a drawing: everything inside its box, and nothing over anything else."""

from itertools import combinations
from math import dist

import pytest

from labelapp.rounds.drawing import HEIGHT, RADIUS, STATION, WIDTH, Drawing, ring_drawing
from labelapp.rounds.selectors import STEPS, Arrow, ArrowState


@pytest.fixture
def drawing() -> Drawing:
    return ring_drawing([Arrow(name, name.title(), ArrowState.WAITING) for name in STEPS])


def test_five_stations_stand_in_a_circle_the_first_on_top(drawing: Drawing) -> None:
    assert [station.arrow.name for station in drawing.stations] == list(STEPS[:5])
    for station in drawing.stations:
        assert dist((station.x, station.y), drawing.centre) == pytest.approx(RADIUS, abs=0.1)
    assert min(drawing.stations, key=lambda station: station.y) is drawing.stations[0]


def test_all_of_it_lies_in_the_box(drawing: Drawing) -> None:
    for station in drawing.stations:
        assert STATION < station.x < WIDTH - STATION
        assert STATION < station.y < HEIGHT - STATION


def test_no_two_stations_touch(drawing: Drawing) -> None:
    for one, other in combinations(drawing.stations, 2):
        assert dist((one.x, one.y), (other.x, other.y)) > 2 * STATION + 20


def test_each_link_ends_before_the_station_it_leads_to(drawing: Drawing) -> None:
    assert [link.to.name for link in drawing.links] == [*STEPS[1:5], "next"]
    ends = [*drawing.stations[1:], drawing.stations[0]]
    for link, station in zip(drawing.links, ends, strict=True):
        tip = tuple(map(float, link.head.split()[0].split(",")))
        assert STATION < dist(tip, (station.x, station.y)) < STATION + 40
        assert all(dist(tip, (other.x, other.y)) > STATION + 40 for other in drawing.stations if other is not station)
