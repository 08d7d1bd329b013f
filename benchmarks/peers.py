"""The same narrow job by other means: read landed events, dedup, sessions, touches within the window, five models.

`python benchmarks/peers.py NAME LANDING_DIR` runs one peer and prints its cost and its result. It imports nothing but
what that peer needs, so it runs in an environment of its own (`scripts/install-peers` for polars). Every peer answers
with the number of sessions and the credit of each source by model; the caller compares the answers.

The job: a copy is another row of (write_key, event_id), the first received wins; a person is user_id, else anonymous_id;
a session ends after more than 30 minutes without an event; its source is the first one an event names; conversions are
payment_completed and signup_completed; a touch is a session at most 720 h before the conversion.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

TIMEOUT_US = 30 * 60_000_000
WINDOW_US = 720 * 3_600_000_000
HALF_LIFE_US = 168 * 3_600_000_000.0
CONVERSIONS = ("payment_completed", "signup_completed")
MODELS = ("first_touch", "last_touch", "linear", "position_based", "time_decay")
COLUMNS = ["write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "source", "device_type", "verdict"]  # fmt: skip
BROWSING = "device_type IS DISTINCT FROM 'api' AND event_name <> 'flag_exposed'"
Answer = dict[str, Any]


def duckdb_ours(folder: str) -> Answer:
    """The statements of this project: hash candidates, persons as numbers, sparse marks, one order of the touches."""
    from gtm_dagster.settings import load_settings
    from gtm_dagster.warehouse.marts.window_rules import lookbacks, rules_of
    from gtm_dagster.warehouse.statements import statement

    con = _duckdb(folder)
    con.execute(
        """CREATE TABLE events AS
        WITH twice AS (SELECT hash(write_key, event_id) AS h FROM landed GROUP BY 1 HAVING count(*) > 1)
        SELECT * FROM landed WHERE hash(write_key, event_id) NOT IN (SELECT h FROM twice)
        UNION ALL SELECT * FROM landed WHERE hash(write_key, event_id) IN (SELECT h FROM twice)
        QUALIFY row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us) = 1"""
    )
    con.execute("CREATE TABLE persons AS SELECT person, row_number() OVER (ORDER BY person) AS no FROM (SELECT DISTINCT person FROM events)")  # fmt: skip
    con.execute("CREATE TABLE names AS SELECT source, CAST(row_number() OVER (ORDER BY source) AS INTEGER) AS key FROM (SELECT DISTINCT source FROM events WHERE source IS NOT NULL)")  # fmt: skip
    con.execute(
        f"""CREATE VIEW browsing_events AS SELECT p.no AS person_id, e.event_us, e.event_id, e.write_key, n.key AS source_key, CASE WHEN n.key IS NOT NULL THEN 1 END AS touch_rank
        FROM events e JOIN persons p USING (person) LEFT JOIN names n USING (source) WHERE {BROWSING}"""
    )
    con.execute(f"CREATE TABLE sessions AS SELECT *, person_id || ':' || start_us AS session_key FROM ({statement('sessions_unsplit', timeout_us=TIMEOUT_US)})")  # fmt: skip
    con.execute("CREATE VIEW touches AS SELECT *, start_us AS touch_us FROM sessions")
    con.execute(
        f"""CREATE TABLE conversion_moments AS SELECT e.write_key || ':' || e.event_id AS conversion_id, p.no AS person_id, e.event_us AS conversion_us
        FROM events e JOIN persons p USING (person) WHERE e.event_name IN {CONVERSIONS}"""
    )
    windows = json.dumps([{"model": model, "lookback_hours": 720} for model in MODELS])
    settings = load_settings(None, {"GTM_ATTRIBUTION__WINDOWS": windows})
    rules = rules_of(settings, {(model, 720.0) for model in MODELS})
    for relation in (lookbacks(settings), *rules.relations):
        con.execute(f"CREATE TABLE {relation.name} AS {relation.query}")
    con.execute(f"CREATE TABLE conversion_touches AS SELECT * RENAME (touch_key AS source_key), 0 AS channel_no, 0 AS is_direct, 0 AS is_paid FROM ({statement('touchpoints', max_touches=1000)})")  # fmt: skip
    con.execute(f"CREATE TABLE path_touches AS {statement('path_touches')}")
    rows = con.execute(
        f"""SELECT c.model, coalesce(n.source, 'direct'), sum(c.credit) FROM ({statement("credits")}) c
        LEFT JOIN names n ON n.key = c.source_key WHERE c.session_key IS NOT NULL GROUP BY 1, 2"""
    ).fetchall()
    return _answer(con.execute("SELECT count(*) FROM sessions").fetchall()[0][0], rows)


def duckdb_nested(folder: str) -> Answer:
    """What is usually written: QUALIFY to dedup, nested windows over text keys, windows by model over expanded pairs."""
    con = _duckdb(folder)
    rows = con.execute(
        f"""CREATE TABLE events AS SELECT * FROM landed QUALIFY row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us) = 1;
        CREATE TABLE sessions AS
        WITH gaps AS (SELECT *, CASE WHEN event_us - lag(event_us) OVER (PARTITION BY person ORDER BY event_us, event_id) <= {TIMEOUT_US} THEN 0 ELSE 1 END AS opens
          FROM events WHERE {BROWSING}),
        numbered AS (SELECT *, sum(opens) OVER (PARTITION BY person ORDER BY event_us, event_id ROWS UNBOUNDED PRECEDING) AS session_no FROM gaps),
        sourced AS (SELECT *, first_value(source IGNORE NULLS) OVER (PARTITION BY person, session_no ORDER BY event_us, event_id, write_key
          ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS named FROM numbered)
        SELECT person, session_no, min(event_us) AS start_us, coalesce(max(named), 'direct') AS source FROM sourced GROUP BY 1, 2;
        WITH conversions AS (SELECT write_key || ':' || event_id AS id, person, event_us AS at_us FROM events WHERE event_name IN {CONVERSIONS}),
        pairs AS (SELECT c.id, s.start_us, s.source, c.at_us - s.start_us AS age FROM conversions c JOIN sessions s
          ON s.person = c.person AND s.start_us <= c.at_us AND s.start_us >= c.at_us - {WINDOW_US}),
        each_model AS (SELECT p.*, m.model FROM pairs p CROSS JOIN (VALUES ('first_touch'), ('last_touch'), ('linear'), ('position_based'), ('time_decay')) m(model)),
        ranked AS (SELECT *, row_number() OVER (PARTITION BY model, id ORDER BY start_us) AS n, count(*) OVER (PARTITION BY model, id) AS k, min(age) OVER (PARTITION BY model, id) AS youngest FROM each_model),
        weighted AS (SELECT *, CASE model WHEN 'first_touch' THEN CASE WHEN n = 1 THEN 1.0 ELSE 0 END WHEN 'last_touch' THEN CASE WHEN n = k THEN 1.0 ELSE 0 END
          WHEN 'linear' THEN 1.0 WHEN 'position_based' THEN CASE WHEN k <= 2 THEN 1.0 WHEN n IN (1, k) THEN 0.4 ELSE 0.2::DOUBLE / (k - 2) END
          ELSE pow(2, (youngest - age) / {HALF_LIFE_US}) END::DOUBLE AS w FROM ranked),
        shared AS (SELECT *, w / sum(w) OVER (PARTITION BY model, id) AS credit FROM weighted)
        SELECT model, source, sum(credit) FROM shared GROUP BY 1, 2"""
    ).fetchall()
    return _answer(con.execute("SELECT count(*) FROM sessions").fetchall()[0][0], rows)


def pandas_vectorised(folder: str) -> Answer:
    """pandas without a Python loop: integer codes, one sort, differences and cumulative sums, a merge for the pairs."""
    import numpy as np
    import pandas as pd

    events = _pandas_events(folder)
    events["person"] = pd.factorize(events["person"])[0]
    browsing = events[(events["device_type"] != "api") & (events["event_name"] != "flag_exposed")]
    browsing = browsing.sort_values(["person", "event_us", "event_id"])
    person, moment = browsing["person"].to_numpy(), browsing["event_us"].to_numpy()
    opens = np.ones(len(browsing), dtype=bool)
    opens[1:] = (person[1:] != person[:-1]) | (moment[1:] - moment[:-1] > TIMEOUT_US)
    number = np.cumsum(opens)
    named = browsing["source"].groupby(number).first().fillna("direct")
    sessions = pd.DataFrame({"person": person[opens], "start_us": moment[opens], "source": named.to_numpy()})
    conversions = events.loc[events["event_name"].isin(CONVERSIONS), ["person", "event_us"]].reset_index(drop=True)
    conversions["id"] = conversions.index
    pairs = conversions.merge(sessions, on="person")
    pairs["age"] = pairs["event_us"] - pairs["start_us"]
    pairs = pairs[(pairs["age"] >= 0) & (pairs["age"] <= WINDOW_US)].sort_values(["id", "start_us"])
    by = pairs.groupby("id", sort=False)
    n, k = by.cumcount() + 1, by["age"].transform("size")
    decayed = np.exp2((by["age"].transform("min") - pairs["age"]) / HALF_LIFE_US)
    inner = np.where((n == 1) | (n == k), 0.4, 0.2 / np.maximum(k - 2, 1))
    weights = {
        "first_touch": (n == 1).astype(float), "last_touch": (n == k).astype(float), "linear": 1.0 / k,
        "position_based": pd.Series(np.where(k <= 2, 1.0 / k, inner), index=pairs.index),
        "time_decay": decayed / decayed.groupby(pairs["id"]).transform("sum"),
    }  # fmt: skip
    rows = [(m, s, c) for m, w in weights.items() for s, c in w.groupby(pairs["source"]).sum().items()]
    return _answer(len(sessions), rows)


def pandas_naive(folder: str) -> Answer:
    """A loop over persons, their events and their conversions."""
    sessions_found, credits = 0, defaultdict(float)
    for _, own in _pandas_events(folder).groupby("person"):
        sessions: list[list[Any]] = []
        last = None
        own = own.sort_values(["event_us", "event_id"])
        for row in own.itertuples(index=False):
            if row.device_type == "api" or row.event_name == "flag_exposed":
                continue
            if last is None or row.event_us - last > TIMEOUT_US:
                sessions.append([row.event_us, None])
            if sessions[-1][1] is None and isinstance(row.source, str):
                sessions[-1][1] = row.source
            last = row.event_us
        sessions_found += len(sessions)
        for at in own.loc[own["event_name"].isin(CONVERSIONS), "event_us"]:
            touches = [(at - start, source or "direct") for start, source in sessions if 0 <= at - start <= WINDOW_US]
            if not touches:
                continue
            k = len(touches)
            decayed = [2 ** ((touches[-1][0] - age) / HALF_LIFE_US) for age, _ in touches]
            for n, (_, source) in enumerate(touches, start=1):
                edge = n in (1, k)
                credits["first_touch", source] += float(n == 1)
                credits["last_touch", source] += float(n == k)
                credits["linear", source] += 1 / k
                credits["position_based", source] += 1 / k if k <= 2 else 0.4 if edge else 0.2 / (k - 2)
                credits["time_decay", source] += decayed[n - 1] / sum(decayed)
    return _answer(sessions_found, [(model, source, credit) for (model, source), credit in credits.items()])


def polars_streaming(folder: str) -> Answer:
    """polars, lazily, with its streaming engine."""
    import polars as pl

    landed = pl.scan_parquet(f"{folder}/*/*.parquet", hive_partitioning=False).select(COLUMNS)
    events = (
        landed.filter(pl.col("verdict") == "accepted")
        .sort("received_us", "event_us")
        .unique(["write_key", "event_id"], keep="first", maintain_order=False)
        .with_columns(person=pl.coalesce("user_id", "anonymous_id").hash())
        .collect(engine="streaming")
        .lazy()
    )
    gap = (pl.col("event_us") - pl.col("event_us").shift(1) > TIMEOUT_US) | (
        pl.col("person") != pl.col("person").shift(1)
    )
    sessions = (
        events.filter(pl.col("device_type").ne_missing("api") & (pl.col("event_name") != "flag_exposed"))
        .sort("person", "event_us", "event_id")
        .with_columns(session=gap.fill_null(True).cum_sum())
        .group_by("session")
        .agg(pl.col("person").first(), start_us=pl.col("event_us").min(), source=pl.col("source").drop_nulls().first().fill_null("direct"))
        .collect(engine="streaming")
    )  # fmt: skip
    conversions = (
        events.filter(pl.col("event_name").is_in(CONVERSIONS)).select("person", "event_us").with_row_index("id")
    )
    n, k = pl.col("start_us").rank("ordinal").over("id"), pl.len().over("id")
    decayed = (2.0 ** ((pl.col("age").min().over("id") - pl.col("age")) / HALF_LIFE_US)).alias("decayed")
    pairs = (
        conversions.join(sessions.lazy(), on="person")
        .with_columns(age=pl.col("event_us") - pl.col("start_us"))
        .filter(pl.col("age").is_between(0, WINDOW_US))
        .with_columns(n=n, k=k, decayed=decayed)
        .with_columns(
            first_touch=(pl.col("n") == 1).cast(pl.Float64), last_touch=(pl.col("n") == pl.col("k")).cast(pl.Float64), linear=1.0 / pl.col("k"),
            position_based=pl.when(pl.col("k") <= 2).then(1.0 / pl.col("k")).when((pl.col("n") == 1) | (pl.col("n") == pl.col("k"))).then(0.4).otherwise(0.2 / (pl.col("k") - 2)),
            time_decay=pl.col("decayed") / pl.col("decayed").sum().over("id"),
        )
        .group_by("source").agg(pl.col(model).sum() for model in MODELS)
        .collect(engine="streaming")
    )  # fmt: skip
    rows = [(model, row["source"], row[model]) for row in pairs.to_dicts() for model in MODELS]
    return _answer(sessions.height, rows)


PEERS = {one.__name__: one for one in (duckdb_ours, duckdb_nested, pandas_vectorised, pandas_naive, polars_streaming)}


def _duckdb(folder: str) -> Any:
    import duckdb

    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = false")
    listed = ", ".join(name for name in COLUMNS if name not in ("user_id", "anonymous_id", "verdict"))
    con.execute(
        f"""CREATE VIEW landed AS SELECT {listed}, coalesce(user_id, anonymous_id) AS person
        FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = false) WHERE verdict = 'accepted'"""
    )
    return con


def _pandas_events(folder: str) -> Any:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(Path(folder).glob("*/*.parquet"))
    events = pa.concat_tables(pq.ParquetFile(file).read(columns=COLUMNS) for file in files).to_pandas()
    events = events[events["verdict"] == "accepted"].sort_values(["received_us", "event_us"])
    events = events.drop_duplicates(["write_key", "event_id"])
    return events.assign(person=events["user_id"].where(events["user_id"].notna(), events["anonymous_id"])).pipe(
        pd.DataFrame
    )


def _answer(sessions: int, rows: list[tuple[str, str, float]]) -> Answer:
    return {"sessions": int(sessions), "credits": {f"{m}/{s}": float(c) for m, s, c in rows if c > 1e-9}}


def main(name: str, folder: str) -> None:
    """Run one peer; the last lines are its cost and its answer."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    answer = PEERS[name](folder)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    title = f"peer: {name.replace('_', ' ')}"
    cost = {"title": title, "wall": wall, "cpu": cpu, "peak_gb": after.ru_maxrss / 1e6, "rows": 0, "told": json.dumps(answer)}  # fmt: skip
    print("measured: " + json.dumps(cost))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
