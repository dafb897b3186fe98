"""A synthetic shop: shoppers with hidden tastes, and the best ranking that anyone could know.

Each shopper has a hidden kind that prefers some categories, and sometimes changes to another kind.
The next item is, by turns, of the category of the last item, a companion of the last item, or of a
category that the kind prefers. Within a category some items are much more popular than others,
popularity drifts, and some items appear late. Nobody buys an item twice.

As the process is known, so is the probability of each next item given a shopper's history (the
forward pass of a hidden Markov model). The rank of the item bought by that probability is stored
for each purchase: no model can do better on average.
"""

from dataclasses import dataclass

import numpy as np

ITEMS, CATEGORIES, KINDS, SHOPPERS = 400, 16, 8, 4_000
DAYS = 360
SAME_CATEGORY, COMPANION = 0.35, 0.35  # shares of next items; the rest follow the taste
COMPANIONS = 4  # of an item
CHANGE = 0.01  # probability that a shopper changes to another kind, at each purchase
FEWEST, MEAN, MOST = 3, 30, 120  # purchases of a shopper
LATE = 0.05  # share of items that appear in the last fifth of the time
MONTH = 30  # days between changes of popularity
REGIONS = ("north", "east", "south", "west")
PRICES = ("low", "middle", "high")


@dataclass(frozen=True)
class Shop:
    """Purchases ordered by user and time, and features of users and items.

    Attributes:
        users: (purchases,) user numbers.
        items: (purchases,) item numbers.
        days: (purchases,) time in days since the beginning.
        best_rank: (purchases,) rank of the item, 0 the first, among the items that the user did
            not have yet, ordered by their true probability given the history.
        user_features: region of each user, weakly related to the kind.
        item_features: category and price of each item.
    """

    users: np.ndarray
    items: np.ndarray
    days: np.ndarray
    best_rank: np.ndarray
    user_features: dict[str, np.ndarray]
    item_features: dict[str, np.ndarray]


def generate(shoppers: int = SHOPPERS, seed: int = 0) -> Shop:
    """Generate a shop, always the same for the same arguments.

    Args:
        shoppers: number of users.
    """
    random = np.random.default_rng(seed)
    category = np.sort(random.integers(CATEGORIES, size=ITEMS))
    popularity = _popularity(random)  # (months, items)
    # The share of each item in its category, by month: (months, items).
    in_category = np.zeros((CATEGORIES, ITEMS))
    in_category[category, np.arange(ITEMS)] = 1
    share = popularity / np.maximum(popularity @ in_category.T, 1e-12)[:, category]
    taste = random.dirichlet(np.full(CATEGORIES, 0.2), size=KINDS)  # (kinds, categories)
    companions = np.zeros((ITEMS, ITEMS))
    for row in companions:
        others = random.choice(ITEMS, COMPANIONS, replace=False)
        row[others] = (0.5, 0.25, 0.15, 0.1)
    kind = random.integers(KINDS, size=shoppers)
    region_shares = random.dirichlet(np.full(len(REGIONS), 1.0), size=KINDS)
    region = np.array([random.choice(REGIONS, p=region_shares[k]) for k in kind])

    counts = np.clip(random.geometric(1 / MEAN, shoppers) + FEWEST, FEWEST, MOST)
    first_day = random.uniform(0, 0.8 * DAYS, shoppers)
    gap = (DAYS - first_day) / counts
    last = np.full(shoppers, -1)
    seen = np.zeros((shoppers, ITEMS), dtype=bool)
    belief = np.full((shoppers, KINDS), 1 / KINDS)
    purchases: list[tuple[np.ndarray, ...]] = []
    for step in range(counts.max()):
        active = np.flatnonzero(counts > step)
        days = first_day[active] + gap[active] * (step + random.uniform(0, 0.9, len(active)))
        month = (days // MONTH).astype(int)
        changed = random.random(len(active)) < CHANGE
        kind[active[changed]] = random.integers(KINDS, size=changed.sum())
        belief[active] = belief[active] * (1 - CHANGE) + CHANGE / KINDS
        # The part of the probabilities that is the same for all kinds: (active, items).
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
        item = _sample_columns(true, random)
        rows = np.arange(len(active))
        rank = (known > known[rows, item][:, None]).sum(axis=1)
        # The forward pass: how likely each kind would have bought this item.
        of_kind = taste[:, category[item]].T * share[month, item][:, None]  # (active, kinds)
        likelihood = nearby[rows, item][:, None] + weight[:, None] * of_kind
        belief[active] *= likelihood
        belief[active] /= belief[active].sum(axis=1, keepdims=True)
        seen[active, item] = True
        last[active] = item
        purchases.append((active, item, days, rank))
    users, items, days, rank = (np.concatenate(part) for part in zip(*purchases, strict=True))
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
    """Generate the popularity of each item by month (months, items); 0 before it appears."""
    months = DAYS // MONTH + 1
    start = random.normal(0, 1.2, ITEMS)
    drift = random.normal(0, 0.12, (months, ITEMS)).cumsum(axis=0)
    popularity = np.exp(start + drift)
    late = random.choice(ITEMS, int(LATE * ITEMS), replace=False)
    first = random.integers(int(0.8 * months), months, len(late))
    for item, month in zip(late, first, strict=True):
        popularity[:month, item] = 0
    return popularity


def _sample_columns(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sample a column (rows,) for each row of weights (rows, columns), in proportion to them."""
    cumulative = weights.cumsum(axis=1)
    threshold = random.random(len(weights)) * cumulative[:, -1]
    return np.minimum((cumulative < threshold[:, None]).sum(axis=1), weights.shape[1] - 1)
