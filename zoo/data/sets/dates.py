"""Dates as people write them, and as ISO 8601 has them: pairs whose order differs, made here.

`Saturday, May 9, 2018` is `2018-05-09`. Days of 1950 to 2049 are drawn without repetition and
written in one of seven forms. Splits are of days: no day of the test split is in training.
"""

from __future__ import annotations

import datetime

import numpy as np

from zoo.data.dataset import DataSet
from zoo.data.texts import pairs
from zoo.data.texts.pairs import Pair

SEED = 2015
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
COUNT = 12_000
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FORMS = (
    "{weekday}, {month} {day}, {year}",
    "{month} {day}, {year}",
    "{day} {month} {year}",
    "{day} {short} {year}",
    "{short} {day} {year}",
    "{weekday} {day} {month} {year}",
    "{day}.{number}.{year}",
)


def load() -> DataSet:
    """Makes the pairs: `source`, a date letter by letter, and `tokens`, the same in ISO 8601."""
    random = np.random.RandomState(SEED)
    days = random.permutation((LAST - FIRST).days + 1)[:COUNT]
    made = []
    for day in days:
        date = FIRST + datetime.timedelta(days=int(day))
        month = MONTHS[date.month - 1]
        made.append(
            Pair(
                FORMS[random.randint(len(FORMS))].format(
                    weekday=DAYS[date.weekday()], month=month, short=month[:3], day=date.day,
                    number=date.month, year=date.year,
                ),
                date.isoformat(),
            )
        )  # fmt: skip
    source = f"days of {FIRST.year} to {LAST.year}, drawn with seed {SEED}"
    return pairs.paired("dates", pairs.split(made), source=source, units=("character", "character"))
