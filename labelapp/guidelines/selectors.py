"""Reads about guidelines: which there are, what a person saw of them, and what is new to that person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import Http404
from django.utils.safestring import SafeString

from labelapp.guidelines.blocks import Change, Piece, Section, compare, sections_of
from labelapp.guidelines.hits import hits_mark
from labelapp.models import Annotator, Batch, GuidelineExample, GuidelineVisit, PracticeExample, Project, Protocol
from labelapp.projects.selectors import protocol_versions, protocols_newest
from labelapp.prompts.rendering import render_markdown

EXAMPLES_SHOWN = 200
"""Most examples that stand with the guidelines; the newest come first, and more than these nobody reads."""


@dataclass(frozen=True)
class TextShown:
    """A piece of the guidelines as HTML."""

    body: SafeString
    change: Change
    before: SafeString | None


@dataclass(frozen=True)
class SectionShown:
    """A section as the page shows it."""

    section: Section
    texts: list[TextShown]

    @property
    def is_changed(self) -> bool:
        """Whether something in it is marked."""
        return bool(self.section.change) or any(text.change for text in self.texts)


@dataclass(frozen=True)
class ExampleShown:
    """An example as the page shows it."""

    example: GuidelineExample
    body: SafeString
    is_new: bool


@dataclass(frozen=True)
class Reading:
    """The guidelines of a protocol in one version, as one person is shown them."""

    protocol: Protocol
    versions: list[Protocol]
    since: Protocol | None
    last_seen_at: datetime | None
    sections: list[SectionShown]
    examples: list[ExampleShown]
    query: str
    hits: int

    @property
    def changes(self) -> int:
        """How many pieces and headings are marked."""
        texts = [text for shown in self.sections for text in shown.texts if text.change]
        return len(texts) + sum(1 for shown in self.sections if shown.section.change)

    @property
    def examples_new(self) -> int:
        """How many examples came since the last visit."""
        return sum(1 for example in self.examples if example.is_new)


def protocols_at_work(project: Project) -> list[Protocol]:
    """The newest version of each protocol that an open batch uses, the most urgent batch first."""
    batches = Batch.objects.filter(project=project, state=Batch.State.OPEN).order_by("-priority", "pk")
    names = dict.fromkeys(batches.values_list("protocol__name", flat=True))
    newest = {protocol.name: protocol for protocol in protocols_newest(project)} if names else {}
    return [newest[name] for name in names]


def protocol_shown(project: Project, pk: str | None, at_work: Sequence[Protocol]) -> Protocol | None:
    """The version asked for, else the first at work, else the one written last; None where there is no protocol.

    Raises Http404 for a version that the project does not have.
    """
    if pk is None:
        return (
            at_work[0] if at_work else Protocol.objects.filter(project=project).order_by("-created_at", "-pk").first()
        )
    found = Protocol.objects.filter(project=project, pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None
    if found is None:
        raise Http404
    return found


def reading_of(*, annotator: Annotator, protocol: Protocol, compared: str | None = None, query: str = "") -> Reading:
    """The guidelines with what changed since the person's last visit, or since a version given by its pk.

    A version that is older than the one last seen has no changes to show.
    """
    versions = list(protocol_versions(protocol).select_related("created_by"))
    visit = visit_of(annotator, protocol)
    since = _since(protocol, versions, visit, compared)
    sections, hits = _sections(compare(since.guidelines if since else None, protocol.guidelines), query)
    examples, more = _examples(protocol, visit, query)
    return Reading(
        protocol=protocol,
        versions=versions,
        since=since,
        last_seen_at=visit.seen_at if visit else None,
        sections=sections,
        examples=examples,
        query=query,
        hits=hits + more,
    )


def visit_of(annotator: Annotator, protocol: Protocol) -> GuidelineVisit | None:
    """When the person last saw these guidelines, in any version."""
    visits = GuidelineVisit.objects.select_related("protocol")
    return visits.filter(annotator=annotator, protocol_name=protocol.name).first()


def examples_of(protocol: Protocol) -> list[GuidelineExample]:
    """The examples that stand with the guidelines of a protocol, newest first."""
    shown = GuidelineExample.objects.filter(
        project=protocol.project_id, protocol_name=protocol.name, withdrawn_at__isnull=True
    )
    return list(shown.order_by("-created_at", "-pk")[:EXAMPLES_SHOWN])


def has_practice(protocol: Protocol) -> bool:
    """Whether there are worked examples to practise this protocol on."""
    return PracticeExample.objects.filter(project=protocol.project_id, protocol_name=protocol.name).exists()


def _since(
    protocol: Protocol, versions: Sequence[Protocol], visit: GuidelineVisit | None, compared: str | None
) -> Protocol | None:
    if compared is not None:
        older = next((version for version in versions if str(version.pk) == compared), None)
        if older is None:
            raise Http404
        return older
    if visit is None or visit.protocol.version >= protocol.version:
        return None
    return visit.protocol if visit.protocol.guidelines != protocol.guidelines else None


def _sections(pieces: Sequence[Piece], query: str) -> tuple[list[SectionShown], int]:
    sections, hits = [], 0
    for section in sections_of(pieces):
        texts = []
        for piece in section.pieces:
            body, count = hits_mark(render_markdown(piece.block.text), query)
            hits += count if piece.change != Change.REMOVED else 0
            texts.append(TextShown(body, piece.change, render_markdown(piece.before) if piece.before else None))
        sections.append(SectionShown(section, texts))
    return sections, hits


def _examples(protocol: Protocol, visit: GuidelineVisit | None, query: str) -> tuple[list[ExampleShown], int]:
    examples, hits = [], 0
    for example in examples_of(protocol):
        body, count = hits_mark(render_markdown(example.text), query)
        hits += count
        examples.append(ExampleShown(example, body, is_new=visit is not None and example.created_at > visit.seen_at))
    return examples, hits
