"""Put the events of a shop into PostgreSQL, as its own systems would.

    python load_events.py DATABASE --until DAY [--customers 4000]

The shop is the generated one of the project. The first call makes the table ``events``; later ones
add the events up to another day.
"""

import argparse

import numpy as np
import sqlalchemy
from shop.datasets.shop import generate

TABLE = """
CREATE TABLE IF NOT EXISTS events (
    customer text NOT NULL,
    product text NOT NULL,
    bought_at timestamptz NOT NULL,
    PRIMARY KEY (customer, product)
)
"""
INSERT = """
INSERT INTO events
VALUES (:customer, :product, timestamptz '2025-01-01 00:00Z' + :day * interval '1 day')
"""


def main() -> None:
    """Read the arguments and load the events."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", help="an SQLAlchemy address")
    parser.add_argument("--until", type=float, required=True, metavar="DAY", help="of 360")
    parser.add_argument("--customers", type=int, default=4_000)
    words = parser.parse_args()
    shop = generate(words.customers)
    with sqlalchemy.create_engine(words.database).begin() as connection:
        connection.execute(sqlalchemy.text(TABLE))
        since = connection.execute(sqlalchemy.text("SELECT count(*) FROM events")).scalar_one()
        order = np.argsort(shop.days, kind="stable")
        order = order[since : int((shop.days < words.until).sum())]
        rows = [
            {
                "customer": f"u{shop.users[n]:04d}",
                "product": f"i{shop.items[n]:03d}",
                "day": float(shop.days[n]),
            }
            for n in order
        ]
        if rows:
            connection.execute(sqlalchemy.text(INSERT), rows)
    print(f"{len(rows):,} events were added to the {since:,} that were there.")


if __name__ == "__main__":
    main()
