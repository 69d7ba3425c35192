"""Reads about people that join."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Exists, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Greatest
from django.utils import timezone

from labelapp.accounts.languages import language_name
from labelapp.accounts.sensitivity import CATEGORIES, category_label
from labelapp.models import Annotation, Annotator, Draft, Invitation, Membership, Pool, Project, Role


@dataclass(frozen=True)
class Member:
    """A membership in force with what is known about the person's labeling."""

    membership: Membership
    annotator: Annotator
    last_active: datetime | None

    @property
    def languages(self) -> list[str]:
        """Names of the languages the person reads."""
        return [language_name(code) for code in self.annotator.languages]


def memberships_in(project: Project) -> QuerySet[Membership]:
    """The project's memberships in force with their people, admins first, reviewers next, then by name."""
    rank = Case(*(When(role=role, then=role.rank) for role in Role))
    return (
        Membership.objects.select_related("user", "project")
        .filter(project=project, ended_at__isnull=True)
        .order_by(rank.desc(), "user__name", "pk")
    )


def members_of(memberships: Sequence[Membership]) -> list[Member]:
    """Add annotator and last activity to memberships of one project, in one query for any number of them."""
    last_label = Annotation.objects.filter(annotator=OuterRef("pk")).order_by("-created_at").values("created_at")[:1]
    last_draft = Draft.objects.filter(annotator=OuterRef("pk")).order_by("-saved_at").values("saved_at")[:1]
    annotators = {
        annotator.user_id: annotator
        for annotator in Annotator.objects.filter(
            project__in={membership.project_id for membership in memberships},
            user__in=[membership.user_id for membership in memberships],
        ).annotate(last_active=Greatest(Subquery(last_label), Subquery(last_draft)))
    }
    return [
        Member(membership, annotator, annotator.last_active)
        for membership in memberships
        if (annotator := annotators.get(membership.user_id))
    ]


def invitations_valid() -> QuerySet[Invitation]:
    """Links that somebody could still join by. A link is worth what its maker is: an admin in force, or nothing."""
    makers = Membership.objects.filter(
        project=OuterRef("project"),
        user=OuterRef("created_by"),
        user__is_active=True,
        role=Role.ADMIN,
        ended_at__isnull=True,
    )
    return Invitation.objects.filter(
        Exists(makers), accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=timezone.now()
    )


def invitations_open(project: Project) -> QuerySet[Invitation]:
    """The project's links that somebody could still join by, newest first."""
    return invitations_valid().select_related("created_by").filter(project=project).order_by("-created_at", "-pk")


def sensitive_categories(project: Project, annotator: Annotator) -> dict[str, str]:
    """Categories a person can accept, by key: ours, those of the project's work, and those accepted before."""
    pools = Pool.objects.filter(batch__project=project).exclude(sensitivity=[]).values_list("sensitivity", flat=True)
    found = {key for keys in pools.distinct() for key in keys} | set(annotator.accepts_sensitive)
    return {key: category_label(key) for key in [*CATEGORIES, *sorted(found - CATEGORIES.keys())]}
