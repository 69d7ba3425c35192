"""Reads about runs and models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, F, FloatField, Max, OuterRef, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from labelapp.jobs.selectors import job_version
from labelapp.models import Completion, CompletionScore, Job, ModelVersion, Project, Run, RunEvent
from labelapp.training.charts import POINTS, Chart, Point, chart_make

LINEAGE_LIMIT = 50
Pair = tuple[int | str, str]
MEASURES = ("loss", "accuracy")
LAST = 10


@dataclass(frozen=True)
class RunView:
    """What the page of a run shows that changes."""

    run: Run
    charts: list[Chart]
    last: list[Pair]
    held_out: list[Pair]
    metrics: list[Pair]
    time_left: str


def runs_of(project: Project) -> QuerySet[Run]:
    """The project's runs, newest first, with what a list of them shows."""
    related = ("job", "snapshot", "start", "result", "created_by")
    return Run.objects.filter(project=project).select_related(*related).order_by("-pk")


def models_of(project: Project) -> QuerySet[ModelVersion]:
    """The project's models and other writers, newest first, with the number of their completions."""
    models = ModelVersion.objects.filter(project=project).select_related("parent", "made_by")
    written = Completion.objects.filter(model_version=OuterRef("pk")).order_by().values("model_version")
    # A query for each model that is shown: a join would count those of all models first.
    count = Subquery(written.annotate(written=Count("pk")).values("written"))
    return models.annotate(completion_count=Coalesce(count, 0)).order_by("-pk")


def run_version(run: Run) -> str:
    """A short text that changes whenever something changes that the page of a run shows. Reads `run.job`."""
    return f"{job_version(run.job)}-{run.events_offset}-{run.job_id}"


def run_view(run: Run) -> RunView:
    """Charts, last values and time left of a run whose job is loaded."""
    held_out = list(RunEvent.objects.filter(run=run, kind="eval").order_by("step"))
    trained = RunEvent.objects.filter(run=run, kind="train")
    points = _points(trained)
    charts = [
        chart_make(name.capitalize(), points[name], [(e.step, e.values[name]) for e in held_out if name in e.values])
        for name in MEASURES
    ]
    return RunView(
        run=run,
        charts=[chart for chart in charts if chart],
        last=[_event(event) for event in trained.order_by("-step")[:LAST]],
        held_out=[_event(event) for event in held_out[::-1][:LAST]],
        metrics=flat(dict(sorted(run.report.get("metrics", {}).items()))),
        time_left=time_words(seconds_left(run.job)),
    )


def seconds_left(job: Job) -> int | None:
    """How long a running training still takes at the speed of this attempt; None where that is not known yet."""
    began: float | None = job.cursor.get("at")
    if job.state != Job.State.RUNNING or began is None or job.total is None or job.heartbeat_at is None:
        return None
    steps: int = job.done - job.cursor["step"]
    seconds = job.heartbeat_at.timestamp() - began
    if steps <= 0 or seconds <= 0:
        return None
    return round((job.total - job.done) * seconds / steps)


def time_words(seconds: int | None) -> str:
    """A duration as people say it; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute left"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min left" if hours else f"about {minutes} min left"


def flat(values: Mapping[str, Any], prefix: str = "") -> list[Pair]:
    """Nested values as pairs of a name and a text, in their order."""
    pairs: list[Pair] = []
    for name, value in values.items():
        words = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            pairs += flat(value, f"{words}, ")
        else:
            pairs.append((words, figure(value)))
    return pairs


def figure(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " to ".join(map(figure, value)) if len(value) == 2 else ", ".join(map(figure, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def lineage_of(model: ModelVersion) -> list[ModelVersion]:
    """The models that a model was made from, its parent first."""
    ancestors: list[ModelVersion] = []
    while model.parent and len(ancestors) < LINEAGE_LIMIT:
        model = model.parent
        ancestors.append(model)
    return ancestors


def scores_of(model: ModelVersion) -> dict[str, Any]:
    """How many completions a reward model scored, and their mean."""
    return CompletionScore.objects.filter(model_version=model).aggregate(count=Count("pk"), mean=Avg("score"))


def _event(event: RunEvent) -> Pair:
    return event.step, ", ".join(f"{name} {value}" for name, value in flat(event.values))


def _points(events: QuerySet[RunEvent]) -> dict[str, list[Point]]:
    """Each measure over the steps, as means over at most so many equal stretches."""
    steps = events.aggregate(last=Max("step"))["last"] or 0
    values = {name: Cast(KeyTextTransform(name, "values"), FloatField()) for name in MEASURES}
    rows = (
        events.annotate(stretch=(F("step") - 1) / max(1, -(-steps // POINTS)), **values)
        .values("stretch")
        .annotate(at=Max("step"), **{f"mean_{name}": Avg(name) for name in MEASURES})
        .order_by("stretch")
    )
    found: list[dict[str, Any]] = [dict(row) for row in rows]
    return {
        name: [(row["at"], row[f"mean_{name}"]) for row in found if row[f"mean_{name}"] is not None]
        for name in MEASURES
    }
