"""Reads about runs and models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import (
    Avg,
    Case,
    Count,
    F,
    FloatField,
    IntegerField,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    When,
    prefetch_related_objects,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from labelapp.artifacts.services import artifact_localise
from labelapp.errors import DomainError
from labelapp.jobs.selectors import job_version
from labelapp.models import Completion, CompletionScore, Job, ModelVersion, Project, Run, RunEvent, RunKind, RunMember
from labelapp.training.charts import POINTS, Chart, Point, chart_make, path_make, smoothed
from trainer.config import option_fields
from trainer.reports.card import CARD

LINEAGE_LIMIT = 50
Pair = tuple[int | str, str]
MEASURES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "margin": "Margin",
    "reward": "Reward",
    "chosen_reward": "Reward of preferred completions",
    "rejected_reward": "Reward of other completions",
    "kl": "KL from the reference",
    "chosen_length": "Tokens of preferred completions",
    "rejected_length": "Tokens of other completions",
    "nll": "Likelihood term of the loss",
    "learning_rate": "Learning rate",
    "grad_norm": "Norm of the gradient",
}
"""What is drawn over the steps, by the name that events have for it."""
FURTHER = ("chosen_reward", "rejected_reward", "rejected_length", "nll", "learning_rate", "grad_norm")
"""Of these, what few people ask for."""
LAST = 10
LEAST_PAIRS = 3
"""Fewer make no line."""


@dataclass(frozen=True)
class RunView:
    """What the page of a run shows that changes."""

    run: Run
    charts: list[Chart]
    further: list[Chart]
    last: list[Pair]
    held_out: list[Pair]
    time_left: str

    @property
    def unit(self) -> str:
        """What its job counts."""
        return "Completions" if self.run.kind == RunKind.COMBINE else "Steps"


def runs_of(project: Project) -> QuerySet[Run]:
    """The project's runs, newest first, with what a list of them shows."""
    related = ("job", "snapshot", "start", "result__weights", "created_by")
    return Run.objects.filter(project=project).select_related(*related).order_by("-pk")


def members_with(rows: str = "members") -> "Prefetch[str, QuerySet[RunMember], str]":
    """Brings the models that runs combine, in their order, in one query for many runs; `rows` leads to them."""
    return Prefetch(rows, RunMember.objects.select_related("model_version__weights"))


def members_of(run: Run) -> list[ModelVersion]:
    """The models that a run combines, in their order; none for other runs, for which the database is not asked."""
    if run.kind != RunKind.COMBINE:
        return []
    prefetch_related_objects([run], members_with())
    return [member.model_version for member in run.members.all()]


def models_of(project: Project) -> QuerySet[ModelVersion]:
    """The project's models and other writers, newest first, with the number of their completions."""
    models = ModelVersion.objects.filter(project=project).select_related("parent", "made_by")
    written = Completion.objects.filter(model_version=OuterRef("pk")).order_by().values("model_version")
    # A query for each model that is shown: a join would count those of all models first.
    count = Subquery(written.annotate(written=Count("pk")).values("written"))
    return models.annotate(completion_count=Coalesce(count, 0)).order_by("-pk")


def models_made_from(model: ModelVersion) -> QuerySet[ModelVersion]:
    """What started from a model, or has it for a member, oldest first."""
    made = Q(parent=model) | Q(made_by__members__model_version=model)
    return ModelVersion.objects.filter(made).order_by("pk")


def run_version(run: Run) -> str:
    """A short text that changes whenever something changes that the page of a run shows. Reads `run.job`."""
    return f"{job_version(run.job)}-{run.events_offset}-{run.job_id}"


def run_view(run: Run) -> RunView:
    """Charts, last values and time left of a run whose job is loaded."""
    held_out = list(RunEvent.objects.filter(run=run, kind="eval").order_by("step"))
    points = points_of([run.pk])[run.pk]
    charts = {
        name: chart_make(label, points[name], [(e.step, e.values[name]) for e in held_out if name in e.values])
        for name, label in MEASURES.items()
    }
    found = {name: chart for name, chart in charts.items() if chart}
    against = [chart] if (chart := _reward_chart(held_out, points)) else []
    last = RunEvent.objects.filter(run=run, kind="train").order_by("-step")[:LAST]
    return RunView(
        run=run,
        charts=[*(chart for name, chart in found.items() if name not in FURTHER), *against],
        further=[chart for name, chart in found.items() if name in FURTHER],
        last=[_event(event) for event in last],
        held_out=[_event(event) for event in held_out[::-1][:LAST]],
        time_left=time_words(seconds_left(run.job)),
    )


def options_ordered(run: Run) -> dict[str, Any]:
    """A run's options in the trainer's order, which the database does not keep; what it no longer has stands last."""
    order = {option.name: place for place, option in enumerate(option_fields(run.kind))}
    return dict(sorted(run.options.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


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
        is_interval = len(value) == 2 and not any(isinstance(end, str) for end in value)
        return (" to " if is_interval else ", ").join(map(figure, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def lineage_of(model: ModelVersion) -> list[ModelVersion]:
    """The models that a model was made from, its parent first."""
    ancestors: list[ModelVersion] = []
    while model.parent and len(ancestors) < LINEAGE_LIMIT:
        model = model.parent
        ancestors.append(model)
    return ancestors


def card_of(model: ModelVersion) -> str:
    """The model card beside the weights of a model that was made here; empty where it has none."""
    if model.weights is None:
        return ""
    try:
        return (artifact_localise(model.weights) / CARD).read_text(errors="replace")
    except (OSError, DomainError):
        return ""


def scores_of(model: ModelVersion) -> dict[str, Any]:
    """How many completions a reward model scored, their mean, and how much its members disagree on average."""
    scores = CompletionScore.objects.filter(model_version=model)
    return scores.aggregate(count=Count("pk"), mean=Avg("score"), disagreement=Avg("disagreement"))


def _event(event: RunEvent) -> Pair:
    values = {name: value for name, value in event.values.items() if not name.endswith(("_low", "_high"))}
    return event.step, ", ".join(f"{name} {value}" for name, value in flat(values))


def points_of(runs: Sequence[int]) -> dict[int, dict[str, list[Point]]]:
    """Each measure over the training steps of each run, as means over at most so many equal stretches."""
    events = RunEvent.objects.filter(run__in=runs, kind="train").order_by()
    ends = {row["run"]: row["last"] for row in events.values("run").annotate(last=Max("step"))}
    points: dict[int, dict[str, list[Point]]] = {run: {name: [] for name in MEASURES} for run in runs}
    if not ends:
        return points
    sizes = [When(run=run, then=max(1, -(-last // POINTS))) for run, last in ends.items()]
    values = {name: Cast(KeyTextTransform(name, "values"), FloatField()) for name in MEASURES}
    rows = (
        events.annotate(stretch=(F("step") - 1) / Case(*sizes, output_field=IntegerField()), **values)
        .values("run", "stretch")
        .annotate(at=Max("step"), **{f"mean_{name}": Avg(name) for name in MEASURES})
        .order_by("run", "stretch")
    )
    for row in rows:
        found: dict[str, Any] = dict(row)
        for name in MEASURES:
            if found[f"mean_{name}"] is not None:
                points[found["run"]][name].append((found["at"], found[f"mean_{name}"]))
    return points


def _reward_chart(held_out: Sequence[RunEvent], points: Mapping[str, list[Point]]) -> Chart | None:
    """What the distance from the reference buys: the reward (the margin, where there is none) against KL.

    On held-out prompts where these were measured often enough to make a line, else in training, smoothed.
    """
    for name in ("reward", "margin"):
        pairs = [(e.values["kl"], e.values[name]) for e in held_out if "kl" in e.values and name in e.values]
        where = "on held-out prompts"
        if len(pairs) < LEAST_PAIRS:
            calm = (smoothed(points["kl"]), smoothed(points[name]))
            pairs, where = [(kl, value) for (_, kl), (_, value) in zip(*calm, strict=False)], "in training, smoothed"
        if chart := path_make(f"{MEASURES[name]} against KL", f"KL from the reference, in nats, {where}", pairs):
            return chart
    return None
