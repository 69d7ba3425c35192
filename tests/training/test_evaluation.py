"""A report in the order and the words in which people read it."""

from labelapp.training.evaluation import METRICS, breakdown_tables, figures_by_group, headline, left_out, report_of
from tests.training.reports import BREAKDOWN, report_make


def test_the_headline_stands_beside_what_needs_no_learning() -> None:
    figures = [(figure.label, figure.value, figure.interval) for figure in headline(report_make())]
    assert figures == [
        ("This model", "71.2 %", "68.4 to 73.8 %"),
        ("A coin", "50.0 %", ""),
        ("The longer one wins", "55.0 %", "52.0 to 58.0 %"),
        ("The one listed first wins", "49.0 %", "46.0 to 52.0 %"),
    ]


def test_intervals_are_drawn_between_0_and_100() -> None:
    figure = headline(report_make())[0]
    assert (figure.place, figure.low_place, figure.high_place) == (73.2, 70.4, 75.8)


def test_other_figures_stand_in_groups() -> None:
    groups = {
        name: {f.label: (f.value, f.interval) for f in found} for name, _, found in figures_by_group(report_make())
    }
    assert list(groups) == ["Agreement with people", "The best of K", "Length", "Calibration", "Training"]
    assert groups["The best of K"] == {
        "Best of K is ranked first": ("41.0 %", "36.0 to 46.0 %"),
        "A random pick is": ("25.0 %", ""),
    }
    assert groups["Length"] == {"Above “the longer one wins”": ("+16.2 points", "+13.0 to +19.0 points")}
    assert groups["Calibration"] == {"Expected calibration error": ("3.1 %", ""), "Log loss": ("0.57", "")}
    assert groups["Agreement with people"]["Comparisons"] == ("2,400", "")
    assert groups["Agreement with people"]["Kendall’s τ"] == ("0.424", "0.39 to 0.46")


def test_a_figure_that_nobody_knows_is_shown_all_the_same() -> None:
    training = {name: found for name, _, found in figures_by_group(report_make())}["Training"]
    assert ("of another time", "3") in [(figure.label, figure.value) for figure in training]


def test_scales_stand_model_by_model() -> None:
    report = {"metrics": {"deviation_1": 0.5, "deviation_2": 2.0, "mean_1": -1.0, "mean_2": 3.0, "mean_10": 4.0}}
    ((name, _, figures),) = figures_by_group(report)
    assert name == "Scale of scores"
    assert [(figure.label, figure.value) for figure in figures] == [
        *(("Mean 1", "-1"), ("Standard deviation 1", "0.5"), ("Mean 2", "3"), ("Standard deviation 2", "2")),
        ("Mean 10", "4"),
    ]


def test_no_figure_is_shown_twice() -> None:
    shown = [figure.name for _, _, found in figures_by_group(report_make()) for figure in found]
    assert len(shown) == len(set(shown))
    assert not {"accuracy", "random", "longer_wins", "accuracy_low"} & set(shown)


def test_the_breakdown_has_a_table_for_each_part_that_has_rows() -> None:
    tables = {table.caption: table for table in breakdown_tables(report_make())}
    assert list(tables) == [
        "By strength of the preference",
        "By group of annotators",
        "By difference in length",
        "Calibration",
    ]
    labels = [figure.label for figure, _, _ in tables["By difference in length"].rows]
    assert labels == ["0", "1 to 7", "128 and more"]
    assert tables["By group of annotators"].rows[0][0].label == "held out"
    assert tables["Calibration"].rows[0][0].label == "62.0 %"
    figure, comparisons, prompts = tables["By strength of the preference"].rows[0]
    assert (figure.value, figure.interval, comparisons, prompts) == ("80.0 %", "70.0 to 90.0 %", 1200, 130)


def test_a_breakdown_under_evaluation_is_found_too() -> None:
    assert len(breakdown_tables({"evaluation": {"breakdown": BREAKDOWN}})) == 4


def test_what_was_left_out_has_its_causes() -> None:
    train, held_out = left_out(report_make())
    assert train.words == "32 of 40 comparisons of the train split"
    assert train.causes == [("fewer than two", 2), ("too long", 6), ("groups that are all ties", 2)]
    assert train.shortened == 3
    assert (held_out.split, held_out.causes) == ("Held out", [])


def test_an_empty_report_shows_nothing() -> None:
    assert not report_of({})
    assert not report_of({"metrics": {}, "counts": {"prompts": 7}})
    assert report_of({"metrics": {"loss": 1.0}})


def test_a_figure_that_may_be_called_best_is_better_when_greater() -> None:
    assert {name for name, metric in METRICS.items() if metric.ranked} == {
        *("accuracy", "kendall_tau", "best_of_k", "over_longer_wins", "length_matched")
    }
