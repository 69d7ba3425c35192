"""`manage.py panel`: bring simulated annotators into a project, on purpose and nowhere else."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labelapp.demo.panel import PANEL
from labelapp.demo.panel_work import panel_add
from labelapp.models import Project


class Command(BaseCommand):
    """Thin: who the panel is stands in `labelapp/demo/panel.py`."""

    help = "Bring the demo's simulated annotators into a project. They label only when asked to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare `add` and --project."""
        parser.add_argument("verb", choices=["add"], help="what to do")
        parser.add_argument("--project", required=True, metavar="SLUG", help="short name of the project")

    def handle(self, *args: Any, **options: Any) -> None:
        """Bring them in; exit with 1 when there is no such project."""
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project with the short name “{options['project']}”.")
        panel_add(project=project, actor=None)
        names = ", ".join(panelist.name for panelist in PANEL)
        self.stdout.write(f"The panel of {project.name}: {names}.")
        self.stdout.write("They are counted as simulated, never as people.")
