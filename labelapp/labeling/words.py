"""What the scripts of the labeling page say, in the language of the page: a JSON block beside the form.

Names in braces, like {time}, are filled in by the scripts.
"""

from django.utils.translation import gettext as _


def words() -> dict[str, str]:
    """Every sentence of the labeling page's scripts, by name."""
    return {**_keeping(), **_submitting(), **_time(), **_ranking(), **_reading()}


def _keeping() -> dict[str, str]:
    """Drafts, the seat and signing in."""
    return {
        "saved": _("Saved {time}"),
        "unsaved": _("Not saved yet"),
        "restored": _("Draft restored"),
        "restored_here": _("Restored what this browser had kept"),
        "trying": _("Not saved yet, trying again…"),
        "offline": _("You are offline. What you enter is kept in this browser and sent when you are back."),
        "refused": _("This draft cannot be saved. Reload the page; what you entered is kept in this browser."),
        "unkept": _("Not saved yet, and this browser keeps nothing. Leave this page open."),
        "elsewhere": _("This task was changed in another tab or on another device."),
        "reload": _("Reload"),
        "newer": _("A newer draft from another tab or device is shown. Something you entered here is not in it."),
        "use_mine": _("Put back what I entered here"),
        "drop_mine": _("Leave it out"),
        "signed_out": _("You were signed out. Your answer is kept here."),
        "sign_in": _("Sign in again in another tab"),
        "signed_in": _("You are signed in again."),
        "given_away": _("The task was given to somebody else; you may still submit."),
    }


def _submitting() -> dict[str, str]:
    """Submit, skip, report and ask, and the next task."""
    return {
        "sending": _("Sending…"),
        "sending_again": _("Not sent yet: the server does not answer. Your answer is kept here and sent again…"),
        "not_submitted": _("Not submitted"),
        "not_submitted_yet": _("Not submitted yet. Your answer is still here."),
        "next_task": _("Next task"),
        "next_step": _("Next step of this task"),
        "to_next": _("Go to the next task"),
        "sent": _("Sent. Thank you."),
        "dismiss": _("Dismiss this message"),
    }


def _time() -> dict[str, str]:
    """Working time, breaks, and whether anybody is there."""
    return {
        "clock": _("At work {active} · paid {paid}"),
        "clock_about": _(
            "This task: time at work is only used to look at quality. Paid time runs from opening to submitting, other"
            " tabs included; after ten minutes without input it pauses."
        ),
        "minutes": _("{count} min"),
        "still_there": _("Still there? Your place is kept until {time}; paid time pauses meanwhile."),
        "still_there_late": _("Still there? Your place may be given to somebody else; what you entered is kept."),
        "here": _("I am here"),
        "break_offer": _("You have worked for {minutes} minutes. A break of up to ten minutes is paid."),
        "break_take": _("Take a break"),
        "break_later": _("Not now"),
        "break_now": _("You are on a break. It is paid until {time}."),
        "break_over": _("Your break was ten minutes long. Come back when you like; paid time goes on when you do."),
        "break_end": _("Back to work"),
    }


def _ranking() -> dict[str, str]:
    """The board, the scale, flags and marks."""
    return {
        "places": _("1st 2nd 3rd 4th 5th 6th 7th 8th 9th"),
        "unranked": _("Not ranked"),
        "rank": _("Rank"),
        "rank_next": _("Rank {letter} next"),
        "rank_put": _("{letter} comes next"),
        "rank_higher": _("Rank {letter} higher"),
        "rank_lower": _("Rank {letter} lower"),
        "rank_tie": _("{letter} is about equal to the one above"),
        "rank_remove": _("Take {letter} out of the ranking"),
        "rank_strange": _("{strange} is not among the completions {first} to {last}."),
        "ranking_whole": _("Ranking complete. {order}"),
        "ranking_part": _("{order}. Still to place: {left}"),
        "flag_set": _("{letter}: {question}"),
        "flag_cleared": _("{letter}: {question}, taken back"),
        "none_set": _("{count} questions answered with no for {letters}"),
        "mark_rating": _("{above} is ranked above {below} but rated {count} lower"),
        "mark_thumbs": _("{above} is ranked above {below} but has thumbs down where {below} has thumbs up"),
        "mark_flag": _("{above} has a severe flag but is ranked above {below}, which has none"),
        "mark_more": _("and {count} more like this"),
    }


def _reading() -> dict[str, str]:
    """Folding long texts, the panel beside the task, and the text to improve."""
    return {
        "fold": _("Fold"),
        "unfold": _("Show all"),
        "panel_guidelines": _("Guidelines"),
        "panel_diff": _("Differences word by word"),
        "panel_loading": _("Loading…"),
        "panel_failed": _("This could not be loaded. Your answer is not affected; try again in a moment."),
        "diff_from": _("From completion"),
        "diff_to": _("To completion"),
        "edit_again": _("Replace what you have written by the completion's own text?"),
    }
