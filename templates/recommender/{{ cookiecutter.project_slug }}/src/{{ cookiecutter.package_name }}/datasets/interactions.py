"""Interactions of users with items, ordered by user and time, and how to split them."""

from dataclasses import dataclass

import numpy as np

from ..engine.errors import DataProblem


@dataclass(frozen=True)
class Interactions:
    """Interactions ordered by user, then time; about 24 bytes each.

    Interactions of a user at the same time keep the order of the source.

    Attributes:
        users, items: (interactions,) int32 indices into ``user_ids`` and ``item_ids``.
        times: (interactions,) float64, seconds or whatever unit the source uses.
        weights: (interactions,) float32 weight in the loss; 0: in the history, but never a target.
        user_ids, item_ids: ids as text.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def user_offsets(self) -> np.ndarray:
        """Return the position of each user's first interaction, and the total (users + 1,)."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1))


def sort_interactions(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    weights: np.ndarray,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
) -> Interactions:
    """Sort interactions by user and time; ties keep their order.

    Args:
        users, items: (interactions,) indices into the ids, in any order.
        times: (interactions,) float64 in any unit.
        weights: (interactions,) see ``Interactions``.
        user_ids, item_ids: (users,) and (items,) ids as text.
    """
    order = np.lexsort((times, users))  # stable
    return Interactions(
        users[order].astype("int32"),
        items[order].astype("int32"),
        times[order],
        weights[order].astype("float32"),
        user_ids,
        item_ids,
    )


def find_first_interactions(interactions: Interactions) -> np.ndarray:
    """Return a mask (interactions,) of each user's first interaction with each item."""
    num_items = max(len(interactions.item_ids), 1)
    pairs = interactions.users.astype("int64") * num_items + interactions.items
    first = np.zeros(len(interactions), dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def find_duplicates(interactions: Interactions) -> np.ndarray:
    """Return a mask (interactions,) of those equal to an earlier one in user, item and time."""
    columns = (interactions.items, interactions.times, interactions.users)
    order = np.lexsort(columns)
    mask = np.zeros(len(interactions), dtype=bool)
    mask[order[1:]] = np.logical_and.reduce(
        [column[order][1:] == column[order][:-1] for column in columns]
    )
    return mask


def select(interactions: Interactions, mask: np.ndarray) -> Interactions:
    """Keep some interactions, and only the ids that still occur.

    Args:
        mask: (interactions,) True for those to keep.
    """
    users, user_indices = np.unique(interactions.users[mask], return_inverse=True)
    items, item_indices = np.unique(interactions.items[mask], return_inverse=True)
    return Interactions(
        user_indices.astype("int32"),
        item_indices.astype("int32"),
        interactions.times[mask],
        interactions.weights[mask],
        interactions.user_ids[users],
        interactions.item_ids[items],
    )


def k_core(interactions: Interactions, k: int) -> Interactions:
    """Drop rare users and items until all that remain have ``k`` interactions with each other.

    Args:
        k: least number of interactions of every user and item; repeats count.

    Raises:
        DataProblem: all interactions would be dropped.
    """
    while len(interactions):
        per_user = np.bincount(interactions.users)[interactions.users]
        per_item = np.bincount(interactions.items)[interactions.items]
        mask = (per_user >= k) & (per_item >= k)
        if mask.all():
            return interactions
        interactions = select(interactions, mask)
    raise DataProblem(
        f"data.min_interactions: no interactions are left when every user and item must have {k}; "
        "choose a lower number."
    )


@dataclass(frozen=True)
class HoldOut:
    """The users of an evaluation split: their histories and the targets that follow.

    Attributes:
        users: (size,) user indices.
        target_starts: (size,) position of the first target; the user's history ends before it.
        ends: (size,) position after the last target.
    """

    users: np.ndarray
    target_starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class SplitPositions:
    """Where interactions are split.

    Attributes:
        train_ends: (users,) position after each user's last training interaction.
    """

    train_ends: np.ndarray
    validation: HoldOut
    test: HoldOut


def split_interactions(
    interactions: Interactions, split: str, validation_fraction: float, test_fraction: float
) -> SplitPositions:
    """Hold out the latest interactions, of each user or of all.

    Args:
        split: ``last``: leave one out, the last interaction of each user with three or more for
            the test, the one before for validation; ``time``: one cut in time for all users.
        validation_fraction, test_fraction: share of the interactions that ``time`` holds out.

    Raises:
        DataProblem: a split would be empty.
    """
    offsets = interactions.user_offsets()
    if split == "last":
        users = np.flatnonzero(np.diff(offsets) >= 3)
        if len(users) == 0:
            raise DataProblem(
                "data.split: 'last' holds out two interactions of users with at least three, and "
                "no user has three; try --data.split time."
            )
        last = offsets[1:][users] - 1
        train_ends = offsets[1:].copy()
        train_ends[users] -= 2
        return SplitPositions(
            train_ends, HoldOut(users, last - 1, last), HoldOut(users, last, last + 1)
        )
    quantiles = [1 - validation_fraction - test_fraction, 1 - test_fraction]
    cuts = np.quantile(interactions.times, quantiles, method="higher")
    # Interactions at the very time of a cut stay together, in the later split.
    validation_starts, test_starts = (_find_cut(interactions, offsets, cut) for cut in cuts)
    positions = SplitPositions(
        validation_starts,
        _hold_out(validation_starts, test_starts),
        _hold_out(test_starts, offsets[1:]),
    )
    for name, size in (
        ("training", int((validation_starts - offsets[:-1]).sum())),
        ("validation", len(positions.validation.users)),
        ("test", len(positions.test.users)),
    ):
        if size == 0:
            raise DataProblem(
                f"data.split: the {name} period is empty; most interactions have the same time, or "
                "data.validation_fraction and data.test_fraction are too small."
            )
    return positions


def _find_cut(interactions: Interactions, offsets: np.ndarray, cut: float) -> np.ndarray:
    """Find the position (users,) of each user's first interaction at time ``cut`` or later."""
    earlier = np.concatenate([[0], np.cumsum(interactions.times < cut)])  # before each position
    return offsets[:-1] + earlier[offsets[1:]] - earlier[offsets[:-1]]


def _hold_out(target_starts: np.ndarray, ends: np.ndarray) -> HoldOut:
    users = np.flatnonzero(ends > target_starts)
    return HoldOut(users, target_starts[users], ends[users])
