"""Sales of 40 cafés, generated: trend, year, week, holidays and noise.

Half of them live on offices and are nearly empty on holidays, as on Sundays; the others live on
leisure and are full. Which of both a café is can be read from its week, so that a holiday's effect
depends on the history: what no linear model of all series can express.
"""

from datetime import date

import numpy as np

from .calendar_days import find_holidays

FIRST_DAY = date(2023, 1, 1)
DAYS = 3 * 365
CAFES = 40
WEEKS = {  # log of the sales of Monday to Sunday, and of a holiday against such a day
    "office": ((0.1, 0.15, 0.15, 0.15, 0.0, -0.7, -0.9), -1.1),
    "leisure": ((-0.3, -0.3, -0.2, -0.1, 0.1, 0.45, 0.4), 0.6),
}
NOISE = 0.07  # standard deviation of the log of a day's sales
MEMORY = 0.8  # of the slow part of the noise, from day to day


def generate_sales(seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return the names of the cafés and their sales (cafés, days) in whole cups."""
    random = np.random.default_rng(seed)
    day = np.arange(DAYS)
    weekday = (day + FIRST_DAY.weekday()) % 7
    holidays = find_holidays(FIRST_DAY, DAYS)
    names, sales = [], np.zeros((CAFES, DAYS), "float32")
    for number in range(CAFES):
        kind = ("office", "leisure")[number % 2]
        week, holiday = WEEKS[kind]
        own_week = np.array(week) * random.uniform(0.7, 1.2) + random.normal(0, 0.05, 7)
        year = random.normal(0, 0.1) * np.cos(2 * np.pi * (day / 365.25 - random.uniform()))
        slow = np.zeros(DAYS)
        steps = random.normal(0, NOISE / 2, DAYS)
        for today in range(1, DAYS):
            slow[today] = MEMORY * slow[today - 1] + steps[today]
        logs = random.uniform(3.5, 7.0) + random.normal(0, 0.1) * day / 365 + year + slow
        logs += own_week[weekday] + holidays * holiday * random.uniform(0.8, 1.2)
        sales[number] = np.round(np.exp(logs + random.normal(0, NOISE, DAYS)))
        names.append(f"{kind}-{number:02d}")
    return names, sales
