"""Plots as SVG: well-formed, static, with round ticks, and every value in its place."""

import re
from xml.etree import ElementTree

import pytest

from trainer.reports.drawing import BASELINE, COLOURS, Plot, Series, axis, label, smoothed, summary, svg, thinned

SPACE = "{http://www.w3.org/2000/svg}"


def plot(*series: Series, **changes: object) -> Plot:
    values: dict[str, object] = {"name": "loss", "title": "Loss", "x_name": "step", "y_name": "loss"}
    return Plot(**(values | changes), series=series)  # type: ignore[arg-type]


def drawn(given: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(svg(given))


def texts(root: ElementTree.Element, kind: str) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SPACE}text") if each.get("class") == kind]


def places(root: ElementTree.Element, tag: str, kind: str) -> list[list[tuple[float, float]]]:
    """The points of all lines of a class."""
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in (each.get("points") or "").split())]
        for each in root.iter(f"{SPACE}{tag}")
        if each.get("class") == kind
    ]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.31, 0.69], ["0.3", "0.4", "0.5", "0.6", "0.7"]),
        ([-3.0, 12.0], ["-5", "0", "5", "10", "15"]),
        ([0.0, 1e-5], ["0", "2e-6", "4e-6", "6e-6", "8e-6", "1.0e-5"]),
        ([1000.0, 6000.0], ["1,000", "2,000", "3,000", "4,000", "5,000", "6,000"]),
        ([0.0, 5e6], ["0", "1e6", "2e6", "3e6", "4e6", "5e6"]),
        ([2.0, 2.0], ["1.90", "1.95", "2.00", "2.05", "2.10"]),
        ([0.0, 0.0], ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]),
    ],
)
def test_ticks_are_round_numbers_told_apart(values: list[float], ticks: list[str]) -> None:
    found = axis(values, 0, 100, outward=True)
    assert [label(tick, found.ticks) for tick in found.ticks] == ticks
    assert found.low <= min(values) <= max(values) <= found.high


def test_steps_have_whole_ticks() -> None:
    assert axis([1, 3], 0, 100, whole=True).ticks == [1, 2, 3]
    assert axis([0, 700], 0, 100, whole=True, wanted=7).ticks == [0, 100, 200, 300, 400, 500, 600, 700]


def test_values_stand_at_their_places() -> None:
    """Steps 0 to 10 from 76 to 696, loss 0 to 1 from 344 up to 72."""
    root = drawn(plot(Series("training", [(0, 1.0), (5, 0.5), (10, 0.0)])))
    assert places(root, "polyline", "plot-line") == [[(76, 72), (386, 208), (696, 344)]]
    assert texts(root, "plot-tick")[:6] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_a_drawing_is_static_and_needs_no_style() -> None:
    series = [Series("a", [(0, 1), (1, 2)]), Series("b", [(0, 2)], "dotted"), Series("c", [(0, 1), (1, 1)], "dashed")]
    for given in (plot(*series), plot(Series("d", [(0, 0.5)], "dots", [(0, 0.4, 0.6)]), labels=["x"])):
        text = svg(given)
        tags = {each.tag.removeprefix(SPACE) for each in drawn(given).iter()}
        assert tags <= {"svg", "title", "desc", "rect", "text", "line", "circle", "polyline", "polygon", "path"}
        assert not re.search(r"\son\w+=|\sstyle=|href|url\(|<style|<script|@import", text)
        assert "nan" not in text
        assert svg(given) == text


def test_names_are_text_and_never_markup() -> None:
    root = drawn(plot(Series("<script>1</script>", [(0, 1), (1, 2)]), Series("&", [(0, 1)], "dots"), title='"<b>"'))
    assert root.findtext(f"{SPACE}title") == '"<b>"'
    assert texts(root, "plot-legend") == ["<script>1</script>", "&"]


def test_those_who_do_not_see_it_are_told() -> None:
    given = plot(
        Series("training", [(1, 0.7), (2, 0.61), (200, 0.4)]),
        Series("held out", [(200, 0.5)], "dotted"),
        Series("a coin", [(0, 0.69), (200, 0.69)], "dashed"),
    )
    said = "training: from 0.7 at step 1 to 0.4 at 200. held out: 0.5 at step 200. a coin: 0.69."
    assert summary(given) == said
    root = drawn(given)
    assert root.get("role") == "img"
    names = (root.get("aria-labelledby") or "").split()
    assert [root.findtext(f"{SPACE}*[@id='{name}']") for name in names] == ["Loss", said]


def test_bins_have_words_below_them() -> None:
    given = plot(Series("held out", [(0, 0.5), (1, 0.75)], "dots"), labels=["short", "long"], y_ends=(0, 1))
    root = drawn(given)
    assert texts(root, "plot-tick")[-2:] == ["short", "long"]
    circles = [(each.get("cx"), each.get("cy")) for each in root.iter(f"{SPACE}circle") if each.get("class")]
    assert circles == [("231", "208"), ("541", "140")]
    assert summary(given) == "held out: short 0.5, long 0.75."


def test_words_below_many_bins_do_not_run_into_each_other() -> None:
    """620 pixels for ten bins are eight letters each; the description has the whole words."""
    words = [f"annotators {number}" for number in range(10)]
    given = plot(Series("held out", [(number, 0.5) for number in range(10)], "dots"), labels=words)
    assert set(texts(drawn(given), "plot-tick")[-10:]) == {"annotat…"}
    assert "annotators 7 0.5" in summary(given)


def test_intervals_are_bands_around_lines_and_whiskers_on_dots() -> None:
    around = [(0.0, 0.4, 0.6), (1.0, 0.5, 1.0)]
    points = [(0.0, 0.5), (1.0, 0.8)]
    band = places(drawn(plot(Series("a", points, "dotted", around), y_ends=(0, 1))), "polygon", "plot-band")
    assert band == [[(76, 180.8), (696, 72), (696, 208), (76, 235.2)]]
    whiskers = [
        each.get("d") for each in drawn(plot(Series("a", points, "dots", around), y_ends=(0, 1))).iter(f"{SPACE}path")
    ]
    assert whiskers == ["M71 235.2h10M71 180.8h10M76 235.2V180.8", "M691 208h10M691 72h10M696 208V72"]


def test_long_lines_are_thinned_to_means_of_neighbours() -> None:
    points = [(float(step), float(step % 2)) for step in range(1, 1001)]
    shown = thinned(points, 250)
    assert len(shown) == 250
    assert shown[0] == (4, 0.5)
    assert shown[-1] == (1000, 0.5)
    lines = places(drawn(plot(Series("a", points))), "polyline", "plot-line")
    assert [len(line) for line in lines] == [250]


def test_only_noisy_long_lines_are_smoothed() -> None:
    points = [(float(step), float(step)) for step in range(60)]
    assert len(places(drawn(plot(Series("a", points))), "polyline", "plot-line plot-smoothed")) == 1
    assert not places(drawn(plot(Series("a", points, noisy=False))), "polyline", "plot-line plot-smoothed")
    assert not places(drawn(plot(Series("a", points[:40]))), "polyline", "plot-line plot-smoothed")


def test_the_smoothed_line_is_a_mean_in_which_the_first_points_count() -> None:
    """With weight ½: 1, and then (¼·1 + ½·4) / ¾ = 3."""
    assert [y for _, y in smoothed([(1, 1.0), (2, 4.0)], 0.5)] == pytest.approx([1.0, 3.0])
    assert smoothed([(step, 7.0) for step in range(5)])[-1][1] == pytest.approx(7.0)


def test_what_to_compare_with_is_grey_and_takes_no_colour() -> None:
    series = [Series("a", [(0, 1), (1, 2)]), Series("b", [(0, 1), (1, 1)], "dashed"), Series("c", [(0, 2), (1, 3)])]
    root = drawn(plot(*series))
    colours = [each.get("stroke") for each in root.iter(f"{SPACE}polyline")]
    assert colours == [COLOURS[0], BASELINE, COLOURS[1]]


def luminance(colour: str) -> float:
    """WCAG 2: relative luminance of #rrggbb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_everything_stands_out_from_its_ground() -> None:
    """On its own white ground, whatever is around it."""
    root = drawn(plot(Series("a", [(0, 1), (1, 2)])))
    ground = root.find(f"{SPACE}rect")
    assert ground is not None
    assert ground.get("fill") == "#ffffff"
    for colour in (*COLOURS, BASELINE, root.get("fill") or ""):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5
