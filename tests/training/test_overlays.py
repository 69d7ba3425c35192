"""Several runs in one drawing."""

from labelapp.training.charts import HEIGHT, WIDTH
from labelapp.training.overlays import MARKED_UP_TO, mark, overlay_make


def test_all_lines_share_the_axes() -> None:
    chart = overlay_make("Loss", {1: ("a", [(1, 0.0), (10, 1.0)]), 2: ("b", [(1, 2.0), (20, 0.5)])})
    assert chart is not None
    places = [[tuple(map(float, place.split(","))) for place in series.line.split()] for series in chart.series]
    assert places[0][0] == (chart.left, chart.bottom)
    assert places[1][0] == (chart.left, chart.top)
    assert places[1][1][0] == chart.right
    assert places[0][1] == (364.8, 119.0)  # 9 of 19 steps, half of the height


def test_a_run_without_values_keeps_its_number() -> None:
    chart = overlay_make("Loss", {1: ("a", []), 2: ("b", [(1, 2.0)])})
    assert chart is not None
    assert [(series.number, series.name) for series in chart.series] == [(2, "b")]


def test_nothing_measured_is_no_chart() -> None:
    assert overlay_make("Loss", {1: ("a", []), 2: ("b", [])}) is None


def test_a_long_line_is_smoothed_and_marked_at_its_end() -> None:
    noisy = [(step, float(step % 2)) for step in range(1, 1001)]
    chart = overlay_make("Loss", {1: ("a", noisy)})
    assert chart is not None
    assert len(chart.series[0].marks) == 1
    heights = [float(place.split(",")[1]) for place in chart.series[0].line.split()]
    assert len(heights) == 250


def test_a_short_line_is_marked_everywhere() -> None:
    chart = overlay_make("Loss", {3: ("a", [(step, 1.0 / step) for step in range(1, MARKED_UP_TO + 1)])})
    assert chart is not None
    assert len(chart.series[0].marks) == MARKED_UP_TO


def test_six_runs_have_six_marks() -> None:
    assert len({mark(number, (10.0, 10.0)) for number in range(1, 7)}) == 6


def test_the_summary_names_each_run_with_its_end() -> None:
    chart = overlay_make("Loss", {1: ("a", [(1, 0.7), (1200, 0.25)]), 2: ("b", [(3, 0.5)])})
    assert chart is not None
    assert chart.summary == "At the end: a 0.25 at step 1,200; b 0.5 at step 3."
    assert (chart.width, chart.height) == (WIDTH, HEIGHT)
