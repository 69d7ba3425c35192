"""Who may touch a task: its project's people, and from the page also those who were signed out meanwhile."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from labelapp.models import Annotator, Batch, ComparisonTask, Project, User
from labelapp.statements import columns, instances, prepared

MEMBER = f"""
SELECT {columns(Annotator, "annotator")}, {columns(ComparisonTask, "task")}, {columns(Batch, "batch")},
       {columns(Project, "project")}
FROM labelapp_comparisontask task
JOIN labelapp_batch batch ON batch.id = task.batch_id
JOIN labelapp_project project ON project.id = batch.project_id
JOIN labelapp_annotator annotator ON annotator.project_id = batch.project_id
JOIN labelapp_membership membership
    ON membership.project_id = batch.project_id AND membership.user_id = annotator.user_id
WHERE task.id = %s AND annotator.user_id = %s AND membership.ended_at IS NULL
"""  # noqa: S608 (words of our own)


def annotator_for_task(user: User | AnonymousUser, task_id: int) -> tuple[Annotator, ComparisonTask]:
    """The user as annotator of the task's project, when they are a member in force. Raises Http404 otherwise.

    The task comes with its batch and project; one query.
    """
    with prepared() as cursor:
        cursor.execute(MEMBER, [task_id, user.pk or 0])
        row = cursor.fetchone()
    if row is None:
        raise Http404
    annotator, task, batch, project = instances(iter(row), [Annotator, ComparisonTask, Batch, Project])
    task.batch, batch.project, annotator.project = batch, project, project
    if isinstance(user, User):
        annotator.user = user
    return annotator, task


def sent_by_script(request: HttpRequest) -> bool:
    """Whether the labeling page's script asks, and not the browser itself."""
    return request.headers.get("X-Requested-With") == "fetch"


def sent_by_the_page(view: Callable[[HttpRequest, int], HttpResponse]) -> Callable[[HttpRequest, int], HttpResponse]:
    """For what the labeling page sends. Whoever was signed out meanwhile comes back to the task, not to its address.

    The page's script is answered 401 then, which unlike a redirect it can see; it keeps the form and tries again.
    """

    @login_not_required
    @wraps(view)
    def answered(request: HttpRequest, pk: int) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, pk)
        if sent_by_script(request):
            told = _("You were signed out. Sign in again in another tab; your answer is kept here.")
            return JsonResponse({"problem": told}, status=401)
        return redirect_to_login(reverse("task", kwargs={"pk": pk}))

    return answered
