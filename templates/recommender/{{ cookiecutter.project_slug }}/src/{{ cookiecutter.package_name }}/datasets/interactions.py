"""The log of what users did, by user and time, and what is held out of it."""

from dataclasses import dataclass

import numpy as np

from ..engine.errors import DataProblem


@dataclass(frozen=True)
class Log:
    """Events in the order of users and time; about 24 bytes each.

    Events of a user at the same time stay in the order in which the source gives them.

    Attributes:
        users, items: (events,) int32, places in ``user_ids`` and ``item_ids``.
        times: (events,) float64, seconds or whatever the source counts.
        weights: (events,) float32, how much an event says; 0: it is known, but nothing to learn.
        user_ids, item_ids: names, as text.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def starts(self) -> np.ndarray:
        """(users + 1,) where the events of each user begin."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1))


def in_order(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    weights: np.ndarray,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
) -> Log:
    """A log of events in any order."""
    order = np.lexsort((times, users))
    return Log(
        users[order].astype("int32"),
        items[order].astype("int32"),
        times[order],
        weights[order].astype("float32"),
        user_ids,
        item_ids,
    )


def first_of_each(log: Log) -> np.ndarray:
    """(events,) whether an event is the user's first with its item."""
    pairs = log.users.astype("int64") * max(len(log.item_ids), 1) + log.items
    first = np.zeros(len(log), dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def twice(log: Log) -> np.ndarray:
    """(events,) whether the same event, of a user with an item at a time, stands there before."""
    columns = (log.items, log.times, log.users)
    order = np.lexsort(columns)
    found = np.zeros(len(log), dtype=bool)
    found[order[1:]] = np.logical_and.reduce(
        [part[order][1:] == part[order][:-1] for part in columns]
    )
    return found


def kept(log: Log, mask: np.ndarray) -> Log:
    """The events of the mask, and the users and items that they name."""
    users, user_of = np.unique(log.users[mask], return_inverse=True)
    items, item_of = np.unique(log.items[mask], return_inverse=True)
    return Log(
        user_of.astype("int32"),
        item_of.astype("int32"),
        log.times[mask],
        log.weights[mask],
        log.user_ids[users],
        log.item_ids[items],
    )


def k_core(log: Log, least: int) -> Log:
    """What is left when users and items with fewer events are left out, again and again."""
    while len(log):
        of_user = np.bincount(log.users)[log.users]
        of_item = np.bincount(log.items)[log.items]
        mask = (of_user >= least) & (of_item >= least)
        if mask.all():
            return log
        log = kept(log, mask)
    raise DataProblem(
        f"data.least_events: no event is left when all users and items have at least {least}."
    )


@dataclass(frozen=True)
class HeldOut:
    """Of each user that is asked about: what is known, and what comes next.

    Attributes:
        users: (asked,) numbers.
        known: (asked,) events of the log before this place are known, from the user's first on.
        ends: (asked,) the events from there to here are what came next.
    """

    users: np.ndarray
    known: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Parts:
    """A log in three parts; ``train`` is the place (users,) up to which events are trained on."""

    train: np.ndarray
    validation: HeldOut
    test: HeldOut


def divided(log: Log, split: str, validation: float, test: float) -> Parts:
    """Hold out what came last, of each user or of all.

    Args:
        split: ``last``: of each user with three events and more the last one and the one before;
            ``time``: the events after a moment, which are this share of all.

    Raises:
        DataProblem: nothing is left for one of them.
    """
    starts = log.starts()
    if split == "last":
        users = np.flatnonzero(np.diff(starts) >= 3)
        if len(users) == 0:
            raise DataProblem(
                "data.split: no user has three events, which 'last' needs to hold out two; "
                "--data.split time may do."
            )
        last = starts[1:][users] - 1
        train = starts[1:].copy()
        train[users] -= 2
        return Parts(train, HeldOut(users, last - 1, last), HeldOut(users, last, last + 1))
    moments = np.quantile(log.times, [1 - validation - test, 1 - test], method="higher")
    # Events of the same moment stay together; the later part has them.
    first, second = (_before(log, starts, moment) for moment in moments)
    end = starts[1:]
    parts = Parts(first, _asked(starts, first, second), _asked(starts, second, end))
    for name, size in (
        ("training", int((first - starts[:-1]).sum())),
        ("validation", len(parts.validation.users)),
        ("test", len(parts.test.users)),
    ):
        if size == 0:
            raise DataProblem(
                f"data.split: the {name} period has no events; most have the same time, or "
                "data.validation_fraction and data.test_fraction are too small."
            )
    return parts


def _before(log: Log, starts: np.ndarray, moment: float) -> np.ndarray:
    """(users,) the place of each user's first event at the moment or later."""
    early = np.concatenate([[0], np.cumsum(log.times < moment)])
    return starts[:-1] + early[starts[1:]] - early[starts[:-1]]


def _asked(starts: np.ndarray, known: np.ndarray, ends: np.ndarray) -> HeldOut:
    users = np.flatnonzero(ends > known)
    return HeldOut(users, known[users], ends[users])
