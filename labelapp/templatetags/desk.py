"""What pages show of time and of what waits: `{{ seconds|duration }}`, `{% desk_waiting membership as waiting %}`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from labelapp.accounts.sensitivity import category_label
from labelapp.desk.selectors import DeskCounts, desk_counts
from labelapp.models import Annotator, Membership

register = template.Library()


@register.filter
def duration(seconds: int | None) -> str:
    """Seconds as people say them: 40 s, 12 min, 1 h 05 min. A dash where they were not counted."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return _("%(seconds)d s") % {"seconds": seconds}
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(hours)d h %(minutes)02d min") % {"hours": hours, "minutes": minutes}


@register.filter
def ago(moment: datetime) -> str:
    """How long ago something was: just now, 12 minutes ago."""
    if timezone.now() - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(age)s ago") % {"age": timesince(moment)}


@register.filter
def categories(keys: Sequence[str]) -> str:
    """Categories of sensitive content in words."""
    return ", ".join(category_label(key) for key in keys)


@register.filter
def person(annotator: Annotator | None) -> str:
    """Who it came from. People who look after a project see names, as everywhere in it."""
    if annotator is None:
        return "Nobody: the system noted it"
    return annotator.user.get_full_name() if annotator.user else annotator.name or "Somebody who left"


@register.simple_tag
def desk_waiting(membership: Membership) -> DeskCounts:
    """What waits for this member in their project, asked for once per page."""
    return desk_counts(membership)
