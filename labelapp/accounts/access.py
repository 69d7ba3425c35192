"""The one place that says who may do what. Line one of every view; it returns the object or raises."""

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext as _

from labelapp.errors import DeniedError
from labelapp.models import Job, Membership, Role, User


def membership_for(user: User | AnonymousUser, slug: str, *, at_least: Role = Role.LABELER) -> Membership:
    """Return the user's membership of the project, with its project loaded.

    Raises Http404 for strangers, who must not learn that the project exists, and DeniedError for members whose role is
    too small.
    """
    memberships = Membership.objects.select_related("project")
    return _checked(memberships.filter(project__slug=slug), user, at_least)


def job_for(user: User | AnonymousUser, pk: int, *, at_least: Role = Role.ADMIN) -> Job:
    """Return a job of a project that the user administers. Raises as `membership_for` does."""
    job = Job.objects.select_related("project").filter(pk=pk).first()
    if job is None:
        raise Http404
    _checked(Membership.objects.filter(project=job.project_id), user, at_least)
    return job


def projects_of(user: User | AnonymousUser) -> QuerySet[Membership]:
    """The user's memberships that are in force, with projects, by project name."""
    return (
        Membership.objects.select_related("project")
        .filter(user_id=user.pk or 0, ended_at__isnull=True)
        .order_by("project__name")
    )


def site_admin_require(user: User | AnonymousUser) -> User:
    """Return the user when they may create projects. Raises DeniedError otherwise."""
    if isinstance(user, User) and user.is_active and user.is_staff:
        return user
    raise DeniedError(
        _("Only site administrators create projects. Ask one of them, or ask to be invited to a project.")
    )


def _checked(memberships: QuerySet[Membership], user: User | AnonymousUser, at_least: Role) -> Membership:
    membership = memberships.filter(user_id=user.pk or 0, ended_at__isnull=True).first()
    if membership is None:
        raise Http404
    if isinstance(user, User):
        membership.user = user  # known already: no query for who asks
    if Role(membership.role).rank < at_least.rank:
        raise DeniedError(
            _("This needs the role “%(needed)s”; yours here is “%(held)s”.")
            % {"needed": _(at_least.label), "held": _(Role(membership.role).label)}
        )
    return membership
