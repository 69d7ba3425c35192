from datetime import date

import pytest

from labelapp.labeling.forms import BatchForm
from labelapp.labeling.services.batches import BatchPlan, PromptChoice
from labelapp.models import Batch, Project, Protocol
from tests.factories import model_make, protocol_make


def form_of(project: Project, chosen: Protocol, **fields: object) -> BatchForm:
    usual = {
        **{"name": "First", "protocol": chosen.pk, "work": "comparison", "k": 4, "overlap": 1},
        **{"shared_percent": 15, "shared_overlap": 3, "priority": 0},
    }
    return BatchForm({**usual, **fields}, project=project)


def test_the_defaults_are_the_houses(project: Project) -> None:
    initial = {name: field.initial for name, field in BatchForm(project=project).fields.items()}
    assert (initial["k"], initial["overlap"]) == (4, 1)
    assert (initial["shared_percent"], initial["shared_overlap"]) == (15, 3)


def test_a_form_becomes_a_plan_and_a_choice(project: Project, protocol: Protocol) -> None:
    model = model_make(project)
    form = form_of(
        project,
        protocol,
        languages="English, pt-br",
        skills="Law, medicine",
        tags="Code, code",
        source="forum",
        split="train",
        deadline="2030-01-31",
        quota="50",
        limit="200",
        model_versions=[model.pk],
    )
    assert form.is_valid(), form.errors
    assert form.plan() == BatchPlan(
        name="First",
        k=4,
        overlap=1,
        shared_share=0.15,
        shared_overlap=3,
        priority=0,
        deadline=date(2030, 1, 31),
        quota=50,
        languages=["en", "pt-BR"],
        skills=["law", "medicine"],
    )
    assert form.choice() == PromptChoice(
        split="train", source="forum", tags=["Code", "code"], model_versions=[model.pk], limit=200
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"k": 0}, "k"),
        ({"k": 10}, "k"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": 4}, "shared_overlap"),
        ({"shared_percent": 101}, "shared_percent"),
        ({"limit": 0}, "limit"),
        ({"quota": 0}, "quota"),
        ({"work": ""}, "work"),
        ({"work": "poetry"}, "work"),
        ({"languages": "Klingonish!"}, "languages"),
        ({"deadline": "soon"}, "deadline"),
        ({"name": ""}, "name"),
        ({"protocol": 0}, "protocol"),
        ({"model_versions": [0]}, "model_versions"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    project: Project, protocol: Protocol, fields: dict[str, object], problem: str
) -> None:
    assert list(form_of(project, protocol, **fields).errors) == [problem]


def test_one_completion_needs_a_rating(project: Project) -> None:
    unrated = protocol_make(project, likert_points=0)
    assert "no rating" in str(form_of(project, unrated, k=1).errors["k"])
    assert form_of(project, unrated, k=2).is_valid()
    assert form_of(project, protocol_make(project, name="Rated"), k=1).is_valid()


def test_answers_can_be_asked_for_under_any_protocol(project: Project) -> None:
    unrated = protocol_make(project, likert_points=0)
    form = form_of(project, unrated, k=1, work="demonstration")
    assert form.is_valid(), form.errors
    assert form.plan().work == Batch.Work.DEMONSTRATION


def test_another_projects_protocol_is_no_choice(project: Project) -> None:
    other = protocol_make(Project.objects.create(name="Other", slug="other"))
    assert "protocol" in form_of(project, other).errors


def test_a_taken_name_is_said(project: Project, protocol: Protocol) -> None:
    Batch.objects.create(project=project, protocol=protocol, name="First")
    assert "already a batch" in str(form_of(project, protocol).errors["name"])


def test_every_field_stands_once_on_the_page(project: Project) -> None:
    form = BatchForm(project=project)
    shown = [field.name for section in form.sections for row in section.rows for field in row]
    assert sorted([*shown, "name", "protocol", "open_when_made"]) == sorted(form.fields)
