"""``inspect`` describes a table, and the configuration that it writes trains unchanged."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import program, train
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.runs import find_run

inspect = program.script("inspect")


NOON = 1_700_000_000  # 2023-11-14 22:13
DAY = 86_400
WRITTEN = ["--config", "configs/my_data.yaml"]
# A small model on one device: these runs show that the data can be trained on.
SMALL = ["--model.name", "mf", "--model.embedding_dim", "8", "--runtime.strategy", "single"]
ONE_STEP = [*WRITTEN, *SMALL, "--train.max_steps", "1", "--tracking.enabled", "false"]


def orders(users: int = 60, events: int = 8) -> list[dict[str, Any]]:
    """Rows of users with so many different items each, a day apart."""
    return [
        {
            "customer_id": f"c{user}",
            "productId": f"p{(7 * user + place) % 40}",
            "Time": NOON + user + place * DAY,
            "stars": 1 + (user + place) % 5,
            "kind": ("view", "cart")[place % 2],
        }
        for place in range(events)
        for user in range(users)
    ]


def write(file: Path, rows: list[dict], delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


def run_inspect(file: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, dict]:
    """Return the printed output and the written ``data`` fields."""
    assert inspect([str(file), "--force", *words]) == 0
    return capsys.readouterr().out, read_written()


def read_written() -> dict[str, Any]:
    return yaml.safe_load(Path("configs/my_data.yaml").read_text(encoding="utf-8"))["data"]


def load_written() -> DatasetSplits:
    """Load the data as training does with the written configuration."""
    return load(load_config(WRITTEN))


# === Facts ===


def test_facts_and_configuration(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(own_folder / "orders.csv", orders(), delimiter=";")
    shown, data = run_inspect(file, capsys)
    assert [line for line in shown.splitlines() if not line.startswith("Page: ")] == [
        "file                480 rows, csv",
        "column customer_id  the users; 60 different values",
        "column productId    the items; 40 different values",
        "column Time         the times; 480 different values",
        "column stars        the ratings; 5 different values",
        "column kind         not used; 2 different values: view 240, cart 240",
        "times               2023-11-14 22:13 to 2023-11-21 22:14, seconds since 1970",
        "users               60",
        "items               40, 0 of them with a single interaction",
        "interactions        480, 20.00% of all pairs",
        "per user            median 8, 95th percentile 8, maximum 8",
        "popularity          the top 1% of the items have 3% of the interactions, the top 10% have "
        "11%",
        "ratings             1 to 5, mostly 1 20%, 2 20%, 3 20%, 4 20%, 5 20%",
        "duplicates          0 with the same user, item and time",
        "repeats             0 (0%) of a user with the same item again; only the first counts",
        "short histories     0 of 60 users have fewer than 3",
        "",
        "Written to configs/my_data.yaml. To train on it:  train --config configs/my_data.yaml",
    ]
    assert data == {
        "source": "csv",
        "path": str(file),
        "user_column": "customer_id",
        "item_column": "productId",
        "timestamp_column": "Time",
        "rating_column": "stars",
    }
    assert train(ONE_STEP) == 0
    notes = find_run("latest").summary["data"]
    assert (notes["users"], notes["items"], notes["interactions"]) == (60, 40, 480)


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_other_tables_and_dates(
    kind: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame(orders())[["Time", "customer_id", "productId"]]
    frame["Time"] = pd.to_datetime(frame["Time"], unit="s")
    file = own_folder / f"orders.{kind}"
    frame.to_parquet(file) if kind == "parquet" else frame.to_csv(file, sep="\t", index=False)
    shown, data = run_inspect(file, capsys)
    assert f"file                480 rows, {kind}\n" in shown
    assert "times               2023-11-14 22:13 to 2023-11-21 22:14, dates\n" in shown
    assert data["source"] == ("parquet" if kind == "parquet" else "csv")
    assert "rating_column" not in data
    assert "warning" not in shown
    assert load_written().notes["interactions"] == 480


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (lambda n: (NOON + n) * 1000, "2023-11-14 22:13 to 2023-11-14 22:21, milliseconds since"),
        (lambda n: n, "0 to 479, numbers\n"),
    ],
)
def test_units_of_times(
    times: Any, line: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"Time": times(n)} for n, row in enumerate(orders())]
    shown, _ = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    assert f"times               {line}" in shown
    assert "warning" not in shown


def test_all_chunks_are_counted(
    own_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.datasets.frames.CHUNK_ROWS", 100)
    shown, _ = run_inspect(write(own_folder / "orders.csv", orders()), capsys)
    assert "file                480 rows, csv\n" in shown
    assert "column customer_id  the users; 60 different values\n" in shown
    assert "columns             counted in the first 100 rows\n" in shown
    assert "interactions        480, 20.00% of all pairs\n" in shown


# === Columns ===


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("user item timestamp", "user item timestamp"),
        ("userId movieId rating timestamp", "userId movieId timestamp rating"),
        ("timestamp visitorid event itemid", "visitorid itemid timestamp"),
        ("t_dat customer_id article_id price", "customer_id article_id t_dat"),
        ("StockCode Quantity InvoiceDate CustomerID", "CustomerID StockCode InvoiceDate Quantity"),
        ("reviewerID asin overall unixReviewTime", "reviewerID asin unixReviewTime overall"),
        ("user_age session_id user_id product_name product_id ts", "user_id product_id ts"),
        ("uid iid created_at weight", "uid iid created_at weight"),
    ],
)
def test_columns_by_name(
    columns: str, expected: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        dict.fromkeys(columns.split(), n % 5 + 0.5)
        | dict(
            zip(
                expected.split(),
                (row["customer_id"], row["productId"], f"2024-01-{1 + n % 28:02}", row["stars"]),
                strict=False,
            )
        )
        for n, row in enumerate(orders())
    ]
    _, data = run_inspect(write(own_folder / "log.csv", rows), capsys)
    assert [data[name] for name in data if name.endswith("_column")] == expected.split()


def test_columns_by_values(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "number": n,
            "wer": row["customer_id"],
            "was": row["productId"],
            "wann": row["Time"],
            "preis": n % 90 + 0.99,
        }
        for n, row in enumerate(orders())
    ]
    shown, data = run_inspect(write(own_folder / "log.csv", rows), capsys)
    assert (data["user_column"], data["item_column"], data["timestamp_column"]) == (
        *("wer", "was", "wann"),
    )
    assert (
        "warning: column 'wer' is taken for the users because of its values; set another with "
        "--data.user_column.\n"
    ) in shown


def test_given_fields_are_not_guessed(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(own_folder / "orders.csv", orders())
    words = ["--data.user_column", "productId", "--data.item_column", "customer_id"]
    words += ["--data.rating_column", "null", "--data.repeats", "keep", "--data.split=time"]
    shown, data = run_inspect(file, capsys, *words)
    assert "column customer_id  the items; 60 different values\n" in shown
    assert data == {
        "source": "csv",
        "path": str(file),
        "user_column": "productId",
        "item_column": "customer_id",
        "timestamp_column": "Time",
        "rating_column": None,
        "split": "time",
        "repeats": "keep",
    }


# === Warnings ===


def test_bots(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def events_of(user: str, times: list[int]) -> list[dict[str, Any]]:
        return [
            {"customer_id": user, "productId": f"p{n % 40}", "Time": time, "stars": 3, "kind": "x"}
            for n, time in enumerate(times)
        ]

    rows = orders(users=200)
    rows += events_of("many", [NOON + 100 * n + n * n % 97 for n in range(1200)])
    rows += events_of("at once", [NOON] * 250)
    rows += events_of("regular", [NOON + 30 * n for n in range(300)])
    rows += events_of("busy", [NOON + 100 * n + n * n % 97 for n in range(900)])
    shown, _ = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    assert (
        "warning: users that may be bots: 'regular' (299 times a gap of 30 seconds), 'at once' "
        "(250 interactions at the same time), 'many' (1200 interactions); training does not "
        "exclude them.\n"
    ) in shown
    assert "'busy'" not in shown


def test_rows_that_cannot_be_used(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = orders()
    for n in range(40):
        rows[n]["customer_id"] = ""
    rows[50]["productId"], rows[51]["Time"] = " ", "yesterday"
    rows[52]["stars"], rows[53]["stars"], rows[54]["stars"] = -1, -1, "good"
    shown, data = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    for line in (
        "column customer_id  the users; 60 different values, 40 empty\n",
        "interactions        435, ",
        "warning: 40 rows cannot be used: customer_id is missing, first in row 1.\n",
        "warning: 1 rows cannot be used: productId is missing, first in row 51.\n",
        "warning: 1 rows cannot be used: Time is not a time, first in row 52.\n",
        "warning: 2 rows cannot be used: stars is negative, first in row 53.\n",
        "warning: 1 rows cannot be used: stars is not a number, first in row 55.\n",
        "warning: 9% of the rows cannot be used; max_unreadable is raised.\n",
    ):
        assert line in shown
    assert data["max_unreadable"] == 0.1
    assert "# 9% of the rows cannot be used" in Path("configs/my_data.yaml").read_text()
    data = load_written()
    assert (len(data.unreadable), data.notes["interactions"]) == (45, 435)
    shown, data = run_inspect(own_folder / "orders.csv", capsys, "--data.max_unreadable", "0.01")
    assert "warning: 9% of the rows cannot be used, more than max_unreadable allows; " in shown
    assert data["max_unreadable"] == 0.01
    with pytest.raises(DataProblem, match="45 of 480 rows cannot be used"):
        load_written()


def test_implausible_times(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = orders()
    for n in range(12):
        rows[n]["Time"] = 4_000_000_000 + n
    rows[20]["Time"] = 0
    shown, _ = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    for line in (
        "times               1970-01-01 00:00 to 2023-11-21 22:14, seconds since 1970\n",
        "interactions        468, ",
        "warning: 12 interactions lie in the future, the last at 2096-10-02 07:06; they are "
        "dropped.\n",
        "warning: 1 interactions lie before 1990, the first at 1970-01-01 00:00; their times may "
        "be missing.\n",
    ):
        assert line in shown
    assert load_written().notes["interactions"] == 468


def test_a_single_time(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"Time": NOON} for row in orders()]
    shown, _ = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    assert (
        "warning: all interactions have the same time; training will refuse this table.\n" in shown
    )
    with pytest.raises(DataProblem, match="all interactions have the same time"):
        load_written()


def test_repeats_and_duplicates(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"productId": f"p{n % 3}"} for n, row in enumerate(orders(events=12))]
    rows += rows[:7]
    shown, data = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    assert "interactions        727, " in shown
    assert "duplicates          7 with the same user, item and time\n" in shown
    assert "repeats             660 (92%) of a user with the same item again; all count\n" in shown
    assert data["repeats"] == "keep"
    assert load_written().notes["interactions"] == 720
    assert train(ONE_STEP) == 0


def test_short_histories_are_split_by_time(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(own_folder / "orders.csv", orders(users=200, events=2))
    shown, data = run_inspect(file, capsys)
    assert "short histories     200 of 200 users have fewer than 3\n" in shown
    assert (
        "warning: the data is very sparse: 2.0 interactions per user and 10.0 per item on average; "
        "--data.min_interactions drops rare ones.\n"
    ) in shown
    assert "warning: no user has three interactions; split is set to time.\n" in shown
    assert data["split"] == "time"
    assert load_written().notes["split"] == "time"
    assert train(ONE_STEP) == 0
    shown, _ = run_inspect(file, capsys, "--data.split", "last")
    assert "warning: training will refuse this table: data.split: 'last' holds out" in shown
    shown, _ = run_inspect(file, capsys, "--data.min_interactions", "100")
    assert (
        "warning: training will refuse this table: data.min_interactions: no interactions are"
        in shown
    )


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("customer_id", "c1", "there is only one user; a model has nothing to learn."),
        ("productId", "p1", "there is only one item; a model has nothing to learn."),
        ("customer_id", "NULL", "user 'NULL' has 8 interactions; it looks like a missing value."),
        ("stars", 0, "75% of 'stars' are 0; such interactions are never a target."),
        ("stars", 5000, "'stars' has median 3 and maximum 5000, and weighs interactions"),
    ],
)
def test_further_warnings(
    column: str, value: Any, line: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = orders()
    for n, row in enumerate(rows):
        if line.startswith("there") or (n % 4 if value == 0 else n % 60 == 1):
            row[column] = value
    shown, _ = run_inspect(write(own_folder / "orders.csv", rows), capsys)
    assert f"warning: {line}" in shown


# === Errors ===


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["missing.csv"], "PATH: 'missing.csv' does not exist.", 3),
        (["notes.txt"], "'notes.txt' is not a file that ends with .csv, .tsv or .parquet.", 3),
        (["folder.csv"], "'folder.csv' is not a file that ends with .csv, .tsv or .parquet.", 3),
        (["header.csv"], "PATH: 'header.csv' has no rows.", 3),
        (["empty.csv"], "empty.csv: the file has no rows.", 3),
        (
            ["orders.csv", "--data.user_column", "who"],
            "data.user_column: there is no column 'who'; found: customer_id, productId, Time, "
            "stars, kind.",
            3,
        ),
        (
            ["untimed.csv"],
            "PATH: no column looks like times, which are numbers or dates such as 2024-01-31 "
            "12:00; found: user ('u0'), item ('i0'), date ('31.01.2024'). Set one with "
            "--data.timestamp_column.",
            3,
        ),
        (
            ["alone.csv"],
            "PATH: no column looks like users; found: event (40 different values), item (4 "
            "different values), time (40 different values). Set one with --data.user_column.",
            3,
        ),
        (
            ["lonely.csv"],
            "PATH: no column looks like items; found: event (40 different values), user (4 "
            "different values), time (40 different values). Set one with --data.item_column.",
            3,
        ),
        (
            ["untimed.csv", "--data.timestamp_column", "date"],
            "PATH: none of the 40 rows can be used: date is not a time.",
            3,
        ),
    ],
)
def test_errors(
    words: list[str],
    message: str,
    code: int,
    own_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (own_folder / "notes.txt").write_text("notes")
    (own_folder / "folder.csv").mkdir()
    (own_folder / "header.csv").write_text("user,item,timestamp\n")
    (own_folder / "empty.csv").touch()
    write(own_folder / "orders.csv", orders())
    numbers = range(40)
    untimed = [{"user": f"u{n % 4}", "item": f"i{n % 5}", "date": "31.01.2024"} for n in numbers]
    write(own_folder / "untimed.csv", untimed)
    for name, column in (("alone", "item"), ("lonely", "user")):
        rows = [{"event": f"e{n}", column: f"x{n % 4}", "time": NOON + n} for n in numbers]
        write(own_folder / f"{name}.csv", rows)
    assert inspect(words) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (own_folder / "configs").exists()
