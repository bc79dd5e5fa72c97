"""Selection of the views for a reconstruction, and of the held-out views for its validation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Views for the reconstruction, and views for its validation.

    Attributes
    ----------
    used, held_out : tuple of int
        Views that the reconstruction uses, and views that it predicts.
    """

    used: tuple[int, ...]
    held_out: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        num_views: int,
        *,
        every: int = 1,
        hold_out: int | None = None,
        number: int | None = None,
        among: Collection[int] | None = None,
    ) -> Selection:
        """Hold out every `hold_out`-th view, and use every `every`-th of the others, or `number` of them.

        The held-out views do not depend on the used ones, so that their errors can be compared between
        subsets.

        Parameters
        ----------
        number : int or None
            Number of used views, spread evenly; None = all.
        among : collection of int or None
            Views that may be used; None = all.

        Raises
        ------
        ValueError
            If a number is out of range, or no view remains.
        """
        if every < 1:
            raise ValueError(f"every must be a whole number of at least 1, got {every}.")
        if hold_out is not None and not 2 <= hold_out <= num_views:
            raise ValueError(f"hold_out must lie between 2 and the {num_views} views, got {hold_out}.")
        held = () if hold_out is None else tuple(range(hold_out // 2, num_views, hold_out))
        out = set(held)
        others = [i for i in range(num_views) if i not in out and (among is None or i in among)][::every]
        if not others:
            raise ValueError("no view remains for the reconstruction; choose a larger angle range.")
        if number is not None:
            if not 1 <= number <= len(others):
                raise ValueError(
                    f"the reconstruction can use 1 to {len(others)} views, got {number}; choose fewer views."
                )
            others = [others[k * len(others) // number] for k in range(number)]
        return cls(tuple(others), held)
