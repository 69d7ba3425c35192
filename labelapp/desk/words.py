"""What labelers read of states and kinds, in their language. The models' own labels stay plain English."""

from django.utils.translation import gettext_lazy as _

from labelapp.models import Report, TaskSkip, TimeDispute, TimeEntry

REPORT_KINDS = {
    Report.Kind.PERSONAL_DATA: _("It contains personal data"),
    Report.Kind.NEEDS_EXPERT: _("It needs an expert"),
    Report.Kind.SENSITIVE: _("It is sensitive, and not marked so"),
    Report.Kind.BROKEN: _("Something on the page is broken"),
    Report.Kind.OTHER: _("Something else"),
    Report.Kind.SKIPS: _("Three people skipped it"),
}
REPORT_STATES = {
    Report.State.OPEN: _("Waits for a reviewer"),
    Report.State.RELEASED: _("Looked at: the task goes on"),
    Report.State.REMOVED: _("Looked at: the task stays away"),
}
SKIP_REASONS = {
    TaskSkip.Reason.UNCLEAR: _("The prompt is too unclear to judge"),
    TaskSkip.Reason.EXPERTISE: _("It needs knowledge I do not have"),
    TaskSkip.Reason.LANGUAGE: _("It is in a language I do not read well"),
    TaskSkip.Reason.DISTRESSING: _("The content is distressing"),
    TaskSkip.Reason.BROKEN: _("Something on the page is broken"),
    TaskSkip.Reason.REPORTED: _("I reported it"),
    TaskSkip.Reason.OTHER: _("Another reason"),
}
TIME_KINDS = {
    TimeEntry.Kind.GUIDELINES: _("Reading the guidelines"),
    TimeEntry.Kind.PRACTICE: _("Practice"),
    TimeEntry.Kind.BREAK: _("Breaks"),
    TimeEntry.Kind.SKIPPED: _("Tasks skipped or reported"),
    TimeEntry.Kind.PROMPTS: _("Writing prompts"),
    TimeEntry.Kind.GRANTED: _("Granted after a dispute"),
}
DISPUTE_STATES = {
    TimeDispute.State.OPEN: _("Waits for an admin"),
    TimeDispute.State.GRANTED: _("Granted"),
    TimeDispute.State.DECLINED: _("Declined"),
}
