"""Where the stations and arrows of a ring lie in its SVG. Numbers are in the units of its view box."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, degrees, radians, sin

from labelapp.rounds.selectors import Arrow

WIDTH, HEIGHT = 580, 540
CENTRE = (290.0, 276.0)
RADIUS = 202.0
"""Of the ring; a station's is STATION."""
STATION = 64.0
GAP = 7.0
"""Degrees between a station's edge and the arrows beside it."""
HEAD = 9.0


@dataclass(frozen=True)
class Station:
    """A station with its place."""

    arrow: Arrow
    x: float
    y: float

    def _below(self, distance: float) -> float:
        return round(self.y + distance, 1)

    @property
    def icon_at(self) -> tuple[float, float]:
        """Upper left corner of the sign of its state, 18 wide and high."""
        return round(self.x - 9, 1), self._below(-45)

    @property
    def title_y(self) -> float:
        """Base line of its title."""
        return self._below(-9)

    @property
    def figure_y(self) -> float:
        """Base line of its count."""
        return self._below(14)

    @property
    def unit_y(self) -> float:
        """Base line of what is counted."""
        return self._below(33)


@dataclass(frozen=True)
class Link:
    """The way to a station: an arc as the data of a path, and the points of its head."""

    to: Arrow
    path: str
    head: str


@dataclass(frozen=True)
class Drawing:
    """A ring, ready to be written down."""

    stations: list[Station]
    links: list[Link]
    station_radius: float = STATION
    centre: tuple[float, float] = CENTRE
    view_box: str = f"0 0 {WIDTH} {HEIGHT}"


def ring_drawing(arrows: Sequence[Arrow]) -> Drawing:
    """The ring of a round: its arrows are the stations but the last, which leads from the last station to the first."""
    *stations, closing = arrows
    angle = 360 / len(stations)
    places = [_at(angle * index) for index in range(len(stations))]
    links = [_link(to, angle * index, angle * (index + 1)) for index, to in enumerate([*stations[1:], closing])]
    return Drawing([Station(arrow, *place) for arrow, place in zip(stations, places, strict=True)], links)


def _at(angle: float, radius: float = RADIUS) -> tuple[float, float]:
    """The point at so many degrees from the top, clockwise."""
    x, y = CENTRE
    return round(x + radius * sin(radians(angle)), 1), round(y - radius * cos(radians(angle)), 1)


def _link(to: Arrow, start: float, end: float) -> Link:
    reach = degrees(2 * asin(STATION / (2 * RADIUS))) + GAP
    tip = end - reach
    neck = tip - degrees(1.6 * HEAD / RADIUS)
    (x1, y1), (x2, y2) = _at(start + reach), _at(neck)
    corners = [_at(tip), _at(neck, RADIUS + HEAD), _at(neck, RADIUS - HEAD)]
    return Link(to, f"M{x1} {y1}A{RADIUS} {RADIUS} 0 0 1 {x2} {y2}", " ".join(f"{x},{y}" for x, y in corners))
