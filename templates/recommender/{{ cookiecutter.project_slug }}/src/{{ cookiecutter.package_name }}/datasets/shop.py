"""A generated shop: shoppers with planted tastes, and the best that anyone could know of them.

Nothing here is real. Each shopper is of a hidden kind that prefers some categories, and may become
another kind. What comes next is, by turns, of the category of the last item, a companion of the
last item, or of a category that the shopper's kind prefers; within a category some items are much
more popular than others, popularity drifts, and some items appear late. Nobody buys an item twice.

Since the process is known, so is the probability of each next item given all that was seen of a
shopper (a hidden Markov model's forward pass). The rank of what came next in that order is noted
for each event: no model can do better on average.
"""

from dataclasses import dataclass

import numpy as np

ITEMS, CATEGORIES, KINDS, SHOPPERS = 400, 16, 8, 4_000
DAYS = 360
SAME_CATEGORY, COMPANION = 0.35, 0.35  # shares of what comes next; the rest follows the taste
COMPANIONS = 4  # of an item
CHANGE = 0.01  # probability that a shopper becomes another kind, at each event
FEWEST, MEAN, MOST = 3, 30, 120  # events of a shopper
LATE = 0.05  # share of items that appear in the last fifth of the time
MONTH = 30  # days in which popularity stays as it is
REGIONS = ("north", "east", "south", "west")
PRICES = ("low", "middle", "high")


@dataclass(frozen=True)
class Shop:
    """Events in the order of users and time, and what is known of users and items.

    Attributes:
        users: (events,) numbers.
        items: (events,) numbers.
        days: (events,) when, since the beginning.
        best_rank: (events,) rank of the item, 0 the first, in the best order that can be known
            before the event, of the items that the user did not have yet.
        user_features: region of each user, which tells a little of its kind.
        item_features: category and price of each item.
    """

    users: np.ndarray
    items: np.ndarray
    days: np.ndarray
    best_rank: np.ndarray
    user_features: dict[str, np.ndarray]
    item_features: dict[str, np.ndarray]


def generate(shoppers: int = SHOPPERS, seed: int = 0) -> Shop:
    """The same shop for the same seed."""
    random = np.random.default_rng(seed)
    category = np.sort(random.integers(CATEGORIES, size=ITEMS))
    popularity = _popularity(random)  # (months, items)
    # By month, the share of each item in its category: (months, items).
    in_category = np.zeros((CATEGORIES, ITEMS))
    in_category[category, np.arange(ITEMS)] = 1
    share = popularity / np.maximum(popularity @ in_category.T, 1e-12)[:, category]
    taste = random.dirichlet(np.full(CATEGORIES, 0.2), size=KINDS)  # (kinds, categories)
    companions = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        chosen = random.choice(ITEMS, COMPANIONS, replace=False)
        companions[item, chosen] = (0.5, 0.25, 0.15, 0.1)
    kind = random.integers(KINDS, size=shoppers)
    likely = random.dirichlet(np.full(len(REGIONS), 1.0), size=KINDS)
    region = np.array([random.choice(REGIONS, p=likely[k]) for k in kind])

    counts = np.clip(random.geometric(1 / MEAN, shoppers) + FEWEST, FEWEST, MOST)
    began = random.uniform(0, 0.8 * DAYS, shoppers)
    gap = (DAYS - began) / counts
    last = np.full(shoppers, -1)
    seen = np.zeros((shoppers, ITEMS), dtype=bool)
    belief = np.full((shoppers, KINDS), 1 / KINDS)
    events: list[tuple[np.ndarray, ...]] = []
    for step in range(counts.max()):
        active = np.flatnonzero(counts > step)
        days = began[active] + gap[active] * (step + random.uniform(0, 0.9, len(active)))
        month = (days // MONTH).astype(int)
        changed = random.random(len(active)) < CHANGE
        kind[active[changed]] = random.integers(KINDS, size=changed.sum())
        belief[active] = belief[active] * (1 - CHANGE) + CHANGE / KINDS
        # What does not depend on the kind, and what does: (active, items) and by kind.
        before = last[active]
        same = (category[before][:, None] == category) * share[month]
        nearby = SAME_CATEGORY * same + COMPANION * companions[before]
        nearby[before < 0] = 0
        free = ~seen[active] & (popularity[month] > 0)
        weight = np.where(before < 0, 1.0, 1 - SAME_CATEGORY - COMPANION)
        by_category = np.einsum("ac,ci->ai", belief[active] @ taste, in_category)
        known = free * (nearby + weight[:, None] * by_category * share[month])
        true = free * (
            nearby + weight[:, None] * (taste[kind[active]] @ in_category) * share[month]
        )
        item = _drawn(true, random)
        places = np.arange(len(active))
        rank = (known > known[places, item][:, None]).sum(axis=1)
        # How likely each kind made this event: the forward pass.
        of_kind = taste[:, category[item]].T * share[month, item][:, None]  # (active, kinds)
        likelihood = nearby[places, item][:, None] + weight[:, None] * of_kind
        belief[active] *= likelihood
        belief[active] /= belief[active].sum(axis=1, keepdims=True)
        seen[active, item] = True
        last[active] = item
        events.append((active, item, days, rank))
    users, items, days, rank = (np.concatenate(part) for part in zip(*events, strict=True))
    order = np.lexsort((days, users))
    price = np.array(PRICES)[random.integers(len(PRICES), size=ITEMS)]
    return Shop(
        users=users[order],
        items=items[order],
        days=days[order],
        best_rank=rank[order],
        user_features={"region": region},
        item_features={"category": np.char.add("category ", category.astype(str)), "price": price},
    )


def _popularity(random: np.random.Generator) -> np.ndarray:
    """How popular each item is in each month (months, items); 0 before it appears."""
    months = DAYS // MONTH + 1
    start = random.normal(0, 1.2, ITEMS)
    drift = random.normal(0, 0.12, (months, ITEMS)).cumsum(axis=0)
    popularity = np.exp(start + drift)
    late = random.choice(ITEMS, int(LATE * ITEMS), replace=False)
    first = random.integers(int(0.8 * months), months, len(late))
    for item, month in zip(late, first, strict=True):
        popularity[:month, item] = 0
    return popularity


def _drawn(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A column (rows,) for each row of weights (rows, columns)."""
    cumulative = weights.cumsum(axis=1)
    wished = random.random(len(weights)) * cumulative[:, -1]
    return np.minimum((cumulative < wished[:, None]).sum(axis=1), weights.shape[1] - 1)
