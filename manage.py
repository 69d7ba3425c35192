#!/usr/bin/env python
"""Prefloop's command line: `up` starts everything, `import` brings data in."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
    execute_from_command_line(sys.argv)
