"""All lessons: short texts whose steps open the right page with a prepared scan."""

from __future__ import annotations

from pages.ui.learn.lesson_parts import Lesson
from pages.ui.learn.lessons_effects import ABOUT_EFFECTS
from pages.ui.learn.lessons_measured import ABOUT_MEASURED
from pages.ui.learn.lessons_methods import ABOUT_METHODS
from pages.ui.learn.lessons_scans import ABOUT_SCANS

LESSONS: dict[str, Lesson] = ABOUT_SCANS | ABOUT_METHODS | ABOUT_EFFECTS | ABOUT_MEASURED
"""Lessons by name; each builds on the ones before."""
