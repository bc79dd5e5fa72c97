"""View of a lesson on Learn, and of its current step in the sidebar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import streamlit as st

from pages.ui.learn.lesson_parts import Step
from pages.ui.learn.lessons import LESSONS
from pages.ui.session import engine, routes, state
from tomopatch.runs.measured_scan import MeasuredScan

CHALLENGE, CONTRAST = "challenge", "contrast"
CHALLENGES = {CHALLENGE: "Challenge: find the lesion", CONTRAST: "Challenge: keep the contrast"}
_NEXT = {"sidebar": "lesson.next", "page": "lesson.next.page"}
"""Keys of the button for the next step by place."""


def choose() -> str:
    """Let the user choose a lesson or a challenge; the last one is preselected."""
    names = [*LESSONS, *CHALLENGES]
    known = state.lesson() if state.lesson() in names else names[0]
    state.fill({"lesson": known}, overwrite=state.value("lesson") not in names)
    name = st.radio(
        "Lesson",
        names,
        key=state.field("lesson"),
        format_func=_label,
        captions=[f"{lesson.minutes} minutes" for lesson in LESSONS.values()]
        + ["with the least dose"] * len(CHALLENGES),
        help="Each lesson builds on the ones before, but you can also read it alone.",
    )
    state.set_lesson(name)
    state.set_step(None)  # the user has left the step
    return name


def _label(name: str) -> str:
    """Return a lesson's title, with a mark once it is done."""
    if name in CHALLENGES:
        return CHALLENGES[name]
    return f"{LESSONS[name].title}{' ✓' if name in state.done_lessons() else ''}"


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
                help="Replaces the current scan; runs of other scans are kept."
                if step.scan is not None
                else "Works with your measured scan.",
            ):
                go(step, k + 1)
    st.markdown("**Things to try**\n" + _list(chosen.tries))
    st.markdown(f"**A question.** {chosen.question}")
    with st.expander("Answer"):
        st.markdown(chosen.answer)
    _next_lesson(name, "learn")


def _next_lesson(name: str, place: str) -> None:
    """Show the button that opens the following lesson, or the challenge after the last one."""
    names = [*LESSONS, CHALLENGE]
    following = names[names.index(name) + 1]
    pressed = st.button(
        "Next lesson" if following != CHALLENGE else "To the challenge",
        key=f"lesson.following.{place}",
        icon=":material/arrow_forward:",
        help=_label(following).removesuffix(" ✓") + ".",
        on_click=_choose if place == "learn" else None,  # on Learn the form is drawn before this button
        args=(following,),
    )
    if pressed and place != "learn":
        _choose(following)
        state.set_step(None)
        st.switch_page(routes.LEARN)


def _choose(name: str) -> None:
    state.set_lesson(name)
    state.fill({"lesson": name}, overwrite=True)


def go(step: Step, number: int) -> None:
    """Set the state of the step and open its page."""
    state.set_plane(step.plane)
    state.set_step(number)
    lesson = LESSONS.get(state.lesson() or "")
    if lesson is not None and number == len(lesson.steps):
        state.add_done_lesson(state.lesson() or "")
    if step.scan is None:
        _open_measured(step.page)
    state.set_scan(step.scan)
    if step.view:
        state.set_opened_view(step.view)
    if step.sweep:
        state.set_sweep(step.sweep)
    queued = [engine.queue().submit(run) for run in step.runs]
    if step.page == routes.COMPARE:
        state.set_compared(queued)
    if queued:
        state.set_run(queued[0])
    st.switch_page(step.page)


def _open_measured(page: str) -> NoReturn:
    """Open the page with the user's measured scan, or Acquire to choose one."""
    if page == routes.ACQUIRE or not isinstance(state.scan(), MeasuredScan):
        page = routes.ACQUIRE
        state.fill({"kind": "measured"}, overwrite=True)
    st.switch_page(page)


def step_text(number: int, place: str) -> None:
    """Show the text of the current step, a link back to the lesson, and a button for what follows.

    After the last step the question of the lesson follows. `place` distinguishes the elements of the sidebar
    from those above the page, which only phones show.
    """
    st.page_link(routes.LEARN, label="Back to the lesson", icon=":material/school:")
    name = state.lesson() or ""
    lesson = LESSONS.get(name)
    if lesson is None or number > len(lesson.steps):
        return
    st.markdown(f":small[**{lesson.title}**, step {number} of {len(lesson.steps)}]")
    st.caption(lesson.steps[number - 1].text)
    with st.expander("Things to try"):
        st.caption(_list(lesson.tries))
    following = lesson.steps[number:]
    if not following:
        st.caption(f"**A question.** {lesson.question}")
        with st.expander("Answer"):
            st.caption(lesson.answer)
        _next_lesson(name, place)
    elif st.button(
        "Next step",
        key=_NEXT[place],
        width="stretch",
        help=f"{following[0].label}. "
        + ("Replaces the current scan; runs are kept." if following[0].scan is not None else ""),
    ):
        go(following[0], number + 1)


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
