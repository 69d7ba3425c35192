"""Places in a drawing."""

from hypothesis import given
from hypothesis import strategies as st

from labelapp.training.charts import HEIGHT, POINTS, WIDTH, chart_make, path_make, smoothed, thinned

finite = st.floats(-1e6, 1e6, allow_nan=False)


def falling(count: int) -> list[tuple[float, float]]:
    return [(step, 1 / step) for step in range(1, count + 1)]


def test_a_few_points_are_one_line() -> None:
    chart = chart_make("Loss", falling(5))
    assert chart is not None
    places = [tuple(map(float, place.split(","))) for place in chart.line.split()]
    assert places[0] == (chart.left, chart.top)
    assert places[-1] == (chart.right, chart.bottom)
    assert chart.smooth == ""


def test_many_points_are_thinned_and_smoothed() -> None:
    chart = chart_make("Loss", falling(10_000))
    assert chart is not None
    assert len(chart.line.split()) <= POINTS
    assert len(chart.smooth.split()) == len(chart.line.split())


def test_thinning_keeps_the_mean_and_the_last_step() -> None:
    points = [(step, float(step)) for step in range(1, 601)]
    thin = thinned(points)
    assert len(thin) == 300
    assert thin[0] == (2, 1.5)
    assert thin[-1][0] == 600


def test_smoothing_begins_at_the_first_value_and_lags() -> None:
    smooth = smoothed([(1, 1.0), (2, 0.0), (3, 0.0)], weight=0.5)
    assert [round(value, 4) for _, value in smooth] == [1.0, 0.3333, 0.1429]


def test_nothing_measured_is_no_chart() -> None:
    assert chart_make("Loss", []) is None


def test_held_out_values_are_dots() -> None:
    chart = chart_make("Accuracy", [], [(0, 0.5), (10, 0.8)])
    assert chart is not None
    assert len(chart.dots) == 2
    assert chart.line == ""
    assert chart.summary == "On held-out prompts 0.8 at step 10."


def test_the_summary_says_where_it_goes() -> None:
    chart = chart_make("Loss", [(1, 0.7), (1200, 0.35)])
    assert chart is not None
    assert chart.summary == "Loss from 0.7 at step 1 to 0.35 at step 1,200."


def test_marks_stand_at_round_numbers() -> None:
    chart = chart_make("Loss", [(1, 0.31), (98, 0.69)])
    assert chart is not None
    assert [tick.label for tick in chart.y_ticks] == ["0.4", "0.5", "0.6"]
    assert [tick.label for tick in chart.x_ticks] == ["20", "40", "60", "80"]


def test_one_thing_against_another_keeps_the_order_of_the_steps() -> None:
    chart = path_make("Reward against KL", "KL", [(0.0, 0.0), (2.0, 1.0), (1.0, 2.0)])
    assert chart is not None
    places = [tuple(map(float, place.split(","))) for place in chart.line.split()]
    assert [x for x, _ in places] == [chart.left, chart.right, (chart.left + chart.right) / 2]
    assert path_make("Reward against KL", "KL", [(0.0, 0.0)]) is None


@given(st.lists(finite, min_size=1, max_size=700))
def test_everything_is_inside_the_drawing(values: list[float]) -> None:
    chart = chart_make("Loss", list(enumerate(values)))
    assert chart is not None
    places = [tuple(map(float, place.split(","))) for place in f"{chart.line} {chart.smooth}".split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert len(chart.x_ticks) < 20
    assert len(chart.y_ticks) < 20
