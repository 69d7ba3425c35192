"""What came in: prompts, their completions and labels. Not for labelers, who judge without knowing who wrote what."""

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from labelapp.accounts.access import membership_for
from labelapp.models import Prompt, Role
from labelapp.prompts import selectors

SEARCH_LENGTH = 200


@require_GET
def prompts(request: HttpRequest, slug: str) -> HttpResponse:
    """Find prompts."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    wanted = _filter_read(request.GET)
    sources, tags = selectors.prompt_suggestions(membership.project)
    context = {
        "membership": membership,
        "wanted": wanted,
        "page": selectors.prompts_page(membership.project, wanted),
        "splits": Prompt.Split.choices,
        "sources": sources,
        "tags": tags,
        "is_filtered": any([wanted.words, wanted.split, wanted.tag, wanted.source]),
    }
    return render(request, "prompts/prompts.html", context)


@require_GET
def prompt(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One prompt with everything known about it."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(Prompt, project=membership.project, pk=pk)
    completions = list(enumerate(selectors.completions_of(found), start=1))
    numbers = {completion.pk: number for number, completion in completions}
    context = {
        "membership": membership,
        "prompt": found,
        "completions": completions,
        "labels": selectors.labels_of(found, numbers),
        "limits": {"completions": selectors.SHOWN_COMPLETIONS, "labels": selectors.SHOWN_LABELS},
    }
    return render(request, "prompts/prompt.html", context)


def _filter_read(fields: QueryDict) -> selectors.PromptFilter:
    def text(name: str, length: int = SEARCH_LENGTH) -> str:
        return fields.get(name, "").replace("\x00", "").strip()[:length]

    def number(name: str) -> int | None:
        raw = fields.get(name, "")
        if not raw:
            return None
        if not raw.isdecimal() or len(raw) > 18:
            raise Http404
        return int(raw)

    split = text("split")
    return selectors.PromptFilter(
        words=text("q"),
        split=split if split in Prompt.Split.values else "",
        tag=text("tag", 50),
        source=text("source"),
        before=number("before"),
        after=number("after"),
    )
