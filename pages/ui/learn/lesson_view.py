"""A lesson on the page: its steps, what else to try, a question."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.learn.lesson_parts import Step
from pages.ui.learn.lessons import LESSONS
from pages.ui.session import engine, routes, state

CHALLENGE = "challenge"


def choose() -> str:
    """The lesson, or the challenge; the one that was read last at first."""
    names = [*LESSONS, CHALLENGE]
    known = state.lesson() if state.lesson() in names else names[0]
    state.fill({"lesson": known}, overwrite=state.value("lesson") not in names)
    name = st.radio(
        "Lesson",
        names,
        key=state.field("lesson"),
        format_func=lambda n: "Challenge: find the lesion" if n == CHALLENGE else LESSONS[n].title,
        captions=[f"{lesson.minutes} minutes" for lesson in LESSONS.values()] + ["with the least dose"],
        help="In the order in which they build on each other; any can be read alone.",
    )
    state.set_lesson(name)
    state.set_step(None)  # whoever is here has come back
    return name


def lesson(name: str) -> None:
    chosen = LESSONS[name]
    st.subheader(chosen.title, anchor=False)
    st.markdown(chosen.lead)
    for k, step in enumerate(chosen.steps):
        with st.container(border=True):
            st.markdown(f"**{k + 1}.** {step.text}")
            if st.button(
                step.label,
                key=f"step.{name}.{k}",
                type="primary" if k == 0 else "secondary",
                icon=":material/arrow_forward:",
                help="The current scan is replaced by this one; runs of other scans are kept.",
            ):
                go(step, k + 1)
    st.markdown("**Things to try**\n" + _list(chosen.tries))
    st.markdown(f"**A question.** {chosen.question}")
    with st.expander("Answer"):
        st.markdown(chosen.answer)


def go(step: Step, number: int) -> None:
    """Put the app in the step's state and open its page."""
    state.set_scan(step.scan)
    state.set_plane(step.plane)
    state.set_step(number)
    if step.sweep:
        state.set_sweep(step.sweep)
    queued = [engine.queue().submit(run) for run in step.runs]
    if step.page == routes.COMPARE:
        state.set_compared(queued)
    if queued:
        state.set_run(queued[0])
    st.switch_page(step.page)


def beside(number: int) -> None:
    """The way back to the lesson and on to its next step, and what its step says of the page that it opened."""
    st.page_link(routes.LEARN, label="Back to the lesson", icon=":material/school:")
    lesson = LESSONS.get(state.lesson() or "")
    if lesson is not None and number <= len(lesson.steps):
        st.markdown(f":small[**{lesson.title}**, step {number} of {len(lesson.steps)}]")
        st.caption(lesson.steps[number - 1].text)
        with st.expander("Things to try"):
            st.caption(_list(lesson.tries))
        following = lesson.steps[number:]
        if following and st.button(
            "Next step",
            key="lesson.next",
            width="stretch",
            help=f"{following[0].label}. The current scan is replaced; runs are kept.",
        ):
            go(following[0], number + 1)


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
