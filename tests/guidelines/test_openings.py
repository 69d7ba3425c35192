"""The slip by which a page's time is measured."""

from datetime import timedelta

import pytest
from django.core import signing
from django.utils import timezone

from labelapp.errors import DomainError
from labelapp.guidelines.openings import opening_read, opening_sign
from labelapp.models import Annotator, Project, TimeEntry
from tests.factories import labeler_make


def test_a_slip_says_who_opened_what_and_when(annotator: Annotator) -> None:
    before = timezone.now()
    opening = opening_read(opening_sign(annotator, TimeEntry.Kind.PRACTICE), annotator=annotator)
    assert (opening.annotator_id, opening.kind) == (annotator.pk, TimeEntry.Kind.PRACTICE)
    assert before <= opening.opened_at <= timezone.now()


def test_somebody_elses_slip_is_refused(annotator: Annotator, project: Project) -> None:
    theirs = opening_sign(labeler_make(project, "lou"), TimeEntry.Kind.GUIDELINES)
    with pytest.raises(DomainError, match="somebody else"):
        opening_read(theirs, annotator=annotator)


@pytest.mark.parametrize("slip", ["", "x", "a:b:c"])
def test_a_slip_that_is_not_ours_is_refused(annotator: Annotator, slip: str) -> None:
    with pytest.raises(DomainError, match="Reload"):
        opening_read(slip, annotator=annotator)


def test_a_slip_for_something_else_is_refused(annotator: Annotator) -> None:
    with pytest.raises(DomainError):
        opening_read(signing.dumps([annotator.pk, "guidelines", "x"], salt="other"), annotator=annotator)


def test_a_slip_of_yesterday_is_refused(annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
    slip = opening_sign(annotator, TimeEntry.Kind.GUIDELINES)
    monkeypatch.setattr("labelapp.guidelines.openings.LIFETIME", timedelta(seconds=-1))
    with pytest.raises(DomainError, match="too long ago"):
        opening_read(slip, annotator=annotator)
