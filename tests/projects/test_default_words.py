"""The questions of the default protocol are asked in the reader's language; other people's stay as they wrote them."""

from django.utils import translation

from labelapp.labeling.choices import question_fields
from labelapp.models import Project, Question
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.services import protocol_create


def test_default_questions_are_asked_in_chinese(project: Project) -> None:
    protocol = protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None)
    Question.objects.create(protocol=protocol, key="poem", text="Rhymes 100%", position=99)
    questions = list(protocol.questions.all())
    with translation.override("zh-hans"):
        fields = {field.key: field for field in question_fields(questions, "answer-", {}, {})}
    assert fields["poem"].legend == "Rhymes 100%"
    assert (fields["poem"].help, fields["sexual"].help) == ("", "")
    english = {question.key: question for question in DEFAULT_PROTOCOL.questions}
    still = [key for key, field in fields.items() if key in english and field.legend == english[key].text]
    unexplained = [key for key, field in fields.items() if key in english and field.help == english[key].help != ""]
    assert (still, unexplained) == ([], [])
