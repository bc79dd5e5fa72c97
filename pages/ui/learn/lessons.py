"""The lessons: short texts whose steps open the app in a state where the thing can be seen."""

from __future__ import annotations

from pages.ui.learn.lesson_parts import Lesson
from pages.ui.learn.lessons_methods import ABOUT_METHODS
from pages.ui.learn.lessons_scans import ABOUT_SCANS

LESSONS: dict[str, Lesson] = ABOUT_SCANS | ABOUT_METHODS
"""In the order in which they build on each other."""
