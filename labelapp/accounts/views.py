"""Pages about people: home, invitations, members, one's own profile."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts import selectors
from labelapp.accounts.access import membership_for, projects_of
from labelapp.accounts.adapter import SESSION_KEY
from labelapp.accounts.forms import InvitationForm, MemberForm, ProfileForm
from labelapp.accounts.services import (
    annotator_update,
    invitation_accept,
    invitation_create,
    invitation_find,
    invitation_revoke,
    membership_end,
    membership_grant,
)
from labelapp.desk.selectors import home_of
from labelapp.errors import DomainError
from labelapp.labeling.selectors import drafts_of
from labelapp.models import Annotator, Invitation, Membership, Role, User

MEMBERS_PER_PAGE = 50


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Where a person starts: what they can label, and what they look after."""
    desks = home_of(request.user)
    context = {
        "desks": desks,
        "paid_today": sum(desk.paid_today for desk in desks),
        "drafts": drafts_of(request.user)[:10],
    }
    return render(request, "home.html", context)


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """What an invitation link opens. The secret is the access check."""
    found = invitation_find(secret)
    if found is None:
        return render(request, "accounts/invitation_gone.html", status=410)
    held = projects_of(request.user).filter(project=found.project).first()
    # Somebody who gains nothing by it must not use up the link, which was meant for somebody else.
    gains = held is None or Role(held.role).rank < Role(found.role).rank
    if request.user.is_authenticated and request.method == "POST" and gains:
        invitation_accept(secret=secret, user=request.user)
        request.session.pop(SESSION_KEY, None)
        messages.success(request, _("Welcome to %(project)s.") % {"project": found.project.name})
        return redirect("home")
    if not request.user.is_authenticated:
        request.session[SESSION_KEY] = secret
    return render(request, "accounts/invitation.html", {"invitation": found, "held": held, "gains": gains})


@require_GET
def members(request: HttpRequest, slug: str) -> HttpResponse:
    """Who is in the project, and which links are out."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    page = Paginator(selectors.memberships_in(membership.project), MEMBERS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "membership": membership,
        "page_obj": page,
        "members": selectors.members_of(list(page)),
        "invitations": selectors.invitations_open(membership.project),
    }
    return render(request, "accounts/members.html", context)


@require_http_methods(["GET", "POST"])
def member_update(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change a member's role, skills and group."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    member = get_object_or_404(selectors.memberships_in(membership.project), pk=pk)
    annotator = get_object_or_404(Annotator, project=membership.project, user=member.user)
    initial = {"role": member.role, "skills": annotator.skills, "group": annotator.group}
    form = MemberForm(request.POST or None, initial=initial)
    if form.is_valid() and _member_save(form, member, annotator, membership.user):
        messages.success(request, f"Saved: {member.user.get_full_name()}.")
        left = member.user_id == request.user.pk and form.cleaned_data["role"] != Role.ADMIN
        return redirect("home") if left else redirect("members", slug)
    context = {"membership": membership, "member": member, "form": form}
    return render(request, "accounts/member.html", context, status=_status(form))


@require_POST
def member_end(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Close the project to a member."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    member = get_object_or_404(selectors.memberships_in(membership.project), pk=pk)
    membership_end(membership=member, actor=membership.user)
    messages.success(request, f"{member.user.get_full_name()} is no longer a member. What they did stays.")
    return redirect("home") if member.user_id == request.user.pk else redirect("members", slug)


@never_cache
@require_http_methods(["GET", "POST"])
def invitation_new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make an invitation link and show it, this once."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = InvitationForm(request.POST or None)
    if not form.is_valid():
        context = {"membership": membership, "form": form}
        return render(request, "accounts/invitation_form.html", context, status=_status(form))
    made, secret = invitation_create(
        project=membership.project,
        role=Role(form.cleaned_data["role"]),
        note=form.cleaned_data["note"],
        created_by=membership.user,
    )
    link = request.build_absolute_uri(reverse("invitation", args=[secret]))
    context = {"membership": membership, "invitation": made, "link": link}
    return render(request, "accounts/invitation_link.html", context)


@require_POST
def invitation_withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Make an open link worthless."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(Invitation, project=membership.project, pk=pk)
    invitation_revoke(invitation=found, actor=membership.user)
    messages.success(request, "The link no longer works.")
    return redirect("members", slug)


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest, slug: str) -> HttpResponse:
    """What a person reads, and what they are willing to see, in one project."""
    membership = membership_for(request.user, slug)
    annotator = get_object_or_404(Annotator, project=membership.project, user=request.user)
    form = ProfileForm(
        request.POST or None,
        initial={"languages": annotator.languages, "accepts_sensitive": annotator.accepts_sensitive},
        categories=selectors.sensitive_categories(membership.project, annotator),
    )
    accepted_before = set(annotator.accepts_sensitive)
    if form.is_valid():
        annotator_update(annotator=annotator, actor=membership.user, **form.cleaned_data)
        messages.success(request, _saved(accepted_before, annotator))
        return redirect("profile", slug)
    context = {"membership": membership, "form": form, "annotator": annotator}
    return render(request, "accounts/profile.html", context, status=_status(form))


def _saved(accepted_before: set[str], annotator: Annotator) -> str:
    """Who opted out of something is told that it holds at once: what they hold of it goes back to the queue."""
    if accepted_before - set(annotator.accepts_sensitive):
        return _("Saved. From now on you are shown nothing more of what you took away.")
    return _("Saved. It counts from your next task on.")


def _member_save(form: MemberForm, member: Membership, annotator: Annotator, actor: User) -> bool:
    """Save both halves or neither; a refusal becomes an error of the role field."""
    role = Role(form.cleaned_data["role"])
    try:
        with transaction.atomic():
            if role != member.role:
                membership_grant(project=member.project, user=member.user, role=role, actor=actor)
            annotator_update(
                annotator=annotator,
                actor=actor,
                skills=form.cleaned_data["skills"],
                group=Annotator.Group(form.cleaned_data["group"]),
            )
    except DomainError as refusal:
        form.add_error("role", refusal.message)
        return False
    return True


def _status(form: Form) -> int:
    return 422 if form.errors else 200
