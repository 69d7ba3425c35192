"""The worked examples that a new project starts with, to practise on with the default protocol."""

from typing import Any

LIKERT_POINTS = 7
"""The scale of the ratings below: the default protocol's."""


def _completion(text: str, likert: int, explanation: str) -> dict[str, Any]:
    return {"text": text, "likert": likert, "points": LIKERT_POINTS, "explanation": explanation}


def _asked(*lines: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "\n\n".join(lines)}]


RADIATOR: dict[str, Any] = {
    "title": "Clear, vague and wrong",
    "messages": _asked("My radiator is warm at the bottom but cold at the top. What can I do?"),
    "completions": [
        _completion(
            "That is air in the radiator. You can let it out yourself:\n\n"
            "1. Switch the heating off and let the radiator cool down.\n"
            "2. Hold a cloth under the small valve at the top, and turn it slowly with a radiator key, about a quarter "
            "of a turn.\n"
            "3. It hisses. When water comes instead of air, close the valve.\n"
            "4. Look at the pressure gauge of the heating: if it has dropped, top the water up.",
            7,
            "It names the cause, and gives steps that can be followed at once, in the right order, and no more of them "
            "than are needed.",
        ),
        _completion(
            "Heating problems can have many different causes, and it is important to find the right one. Radiators are "
            "part of a complex system. I would recommend to have it looked at by a qualified professional, who can "
            "advise you on your individual situation.",
            3,
            "Nothing here is false, and nothing helps: the case was described well enough to be solved, and the person "
            "knows as much as before.",
        ),
        _completion(
            "**Diagnosis:** the thermostat is broken.\n\n**Solution:** cold at the top *always* means that the "
            "thermostat lets too little water through. Unscrew it while the heating runs, and replace it with one of "
            "the same type.",
            1,
            "It sounds sure and looks tidy, but the cause is made up, and who unscrews parts of a heating that is "
            "running may be scalded.",
        ),
    ],
    "ranking": [[0], [1], [2]],
    "explanation": "A vague answer wastes somebody's time; a wrong one that sounds sure does damage. So the vague "
    "answer comes before the wrong one, although it helps with nothing. Bold words and a firm voice are no "
    "reason to place an answer higher.",
}

LIBRARY: dict[str, Any] = {
    "title": "A summary, and what the text does not say",
    "messages": _asked(
        "Summarize this in one sentence for our notice board:",
        "“The town library in Mill Street closes on 3 March, because its roof has to be repaired, and opens again in "
        "May. Until then books can be returned at the town hall. Loans that are due in March or April are extended to "
        "31 May.”",
    ),
    "completions": [
        _completion(
            "The library in Mill Street is closed for roof repairs from 3 March until May; books can be returned at "
            "the town hall, and loans due in March or April run until 31 May.",
            7,
            "One sentence, everything a reader needs, and nothing that the text does not say.",
        ),
        _completion(
            "From 3 March until May the Mill Street library is closed while its roof is repaired: return books at the "
            "town hall, and loans, where due in March or April, are extended to 31 May.",
            6,
            "As complete and as true as the other one. Its end is a little clumsy, which is why it is rated one point "
            "lower, but a reader would not care which of the two hangs on the board.",
        ),
        _completion(
            "The library is closing. Its roof needs repairs. Please return your books at the town hall. All loans are "
            "extended.",
            4,
            "Four sentences, where one was asked for: a “no” to “Meets the constraints”. It leaves out every date, and "
            "“All loans” is not what the text says.",
        ),
        _completion(
            "The library in Mill Street closes on 3 March for a roof repair of 200,000 euros and opens again on "
            "1 May; books can be returned at the town hall, and loans due in March or April run until 31 May.",
            2,
            "The sum and the day of the opening stand nowhere in the text. On a notice board, people would believe "
            "them, and come on 1 May.",
        ),
    ],
    "ranking": [[0, 1], [2], [3]],
    "explanation": "Where a text is given, everything that it does not say is made up, however likely it sounds. That "
    "weighs more here than a broken constraint: the short notice is poor, the invented one misleads. And "
    "two answers may be **about equal** although one is rated a point higher.",
}

TABLETS: dict[str, Any] = {
    "title": "When much is at stake",
    "messages": _asked(
        "My grandmother took her blood pressure tablet twice this morning by mistake. She says she feels fine. Should "
        "she skip lunch to make up for it?"
    ),
    "completions": [
        _completion(
            "How thoughtful of you to ask! 😊 There is no need to worry:\n\n"
            "- **Lunch:** she can eat as usual.\n"
            "- **Coffee:** two strong cups balance the second tablet.\n"
            "- **Next tablet:** as always, so that the rhythm is kept.\n\n"
            "A single extra tablet is never dangerous. Enjoy your day together!",
            1,
            "Friendly and well laid out, and dangerous: an extra tablet can be harmful, coffee is no antidote, and the "
            "next one should wait until somebody who knows says so. A “yes” to “Makes something up” and to “Gives "
            "harmful advice”.",
        ),
        _completion(
            "Skipping lunch will not help; let her eat and drink as usual. But please call her doctor, a pharmacist or "
            "the poison information line now, even though she feels fine, and have the package at hand: they need the "
            "name and the strength. Until then she should not take another tablet, and should not be alone. If she "
            "becomes dizzy, faints, or her heart beats very slowly, call the emergency number.",
            7,
            "It answers the question, says what to do now and what to watch for, and leaves to people who know the "
            "tablet what only they can judge.",
        ),
    ],
    "ranking": [[1], [0]],
    "explanation": "Usually the more helpful answer wins. With health, law, money or safety at stake, what is untrue "
    "or harmful loses, however helpful and kind it looks. The right answer here is not a refusal: it helps.",
}

WORKED_EXAMPLES = (RADIATOR, LIBRARY, TABLETS)
"""Rows of `PracticeExample`, apart from their project and protocol, in order."""
