"""Attribution of one file of paths by one library: `python benchmarks/attribution_peers.py LIBRARY FILE REPEATS`.

It imports nothing but what that library needs, so it runs in an environment of its own
(`scripts/install-attribution-peers`). The file is read and given to the library before the clock starts; each piece of
work is repeated, and the middle time counts. Prints one line of JSON: `steps` (name, seconds of wall and CPU, peak_mb, credit by channel
as a share of all) and `base_mb`, the peak memory before any of them.

Columns of the file: path (` > `), total_conversions (0 or 1), total_null (the other), ages.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[], dict[str, float]]
HEURISTICS = ("first_touch", "last_touch", "linear", "position_based", "time_decay")


def ours(file: str) -> Iterator[tuple[str, Work]]:
    """This project."""
    from gtm_dagster.attribution import attribute, read_paths

    frame = read_paths(file, text_columns=("path", "ages"))

    def credit(model: str, **options: Any) -> dict[str, float]:
        table = attribute(frame, model, value_column=None, **options)
        return dict(zip(table["channel"], table["conversions"], strict=True))

    for model in HEURISTICS[:-1]:
        yield model, lambda model=model: credit(model)  # type: ignore[misc]
    yield "time_decay", lambda: credit("time_decay", ages_column="ages")
    yield "first, last, linear", lambda: credit(["first_touch", "last_touch", "linear"])  # type: ignore[arg-type]
    yield "all five", lambda: credit(HEURISTICS, ages_column="ages")  # type: ignore[arg-type]
    yield "all five, 200 replicates", lambda: credit(HEURISTICS, ages_column="ages", intervals=200)  # type: ignore[arg-type]
    for order in (1, 2, 3):
        yield f"markov {order}", lambda order=order: credit("markov", order=order)  # type: ignore[misc]
    yield "shapley", lambda: credit("shapley")


def channel_attribution(file: str) -> Iterator[tuple[str, Work]]:
    """ChannelAttribution: heuristics in one call, Markov chains by simulation."""
    import ChannelAttribution as library
    import pandas as pd

    frame = pd.read_csv(file)
    columns = {"var_path": "path", "var_conv": "total_conversions"}

    def heuristics() -> dict[str, float]:
        table = library.heuristic_models(frame, **columns, flg_pro=False)
        return dict(zip(table.iloc[:, 0], table["linear_touch"], strict=True))

    def markov(order: int) -> dict[str, float]:
        table = library.markov_model(frame, **columns, var_null="total_null", order=order, verbose=False, flg_pro=False)
        return dict(zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))

    yield "first, last, linear", heuristics
    for order in (1, 2, 3):
        yield f"markov {order}", lambda order=order: markov(order)  # type: ignore[misc]


def marketing_attribution_models(file: str) -> Iterator[tuple[str, Work]]:
    """marketing-attribution-models 2: what it makes of the file once is not counted either."""
    import polars as pl
    from mam import MAM

    frame = pl.read_csv(file).with_row_index("id")
    journeys = MAM(
        frame, format_type="journey", channels_colname="path", journey_with_conv_colname="total_conversions",
        user_id_colname="id", time_till_conv_colname="ages",
    )  # fmt: skip

    def credit(work: Callable[[], Any]) -> dict[str, float]:
        table = work().to_pandas()
        return dict(zip(table.iloc[:, 0].astype(str), table.iloc[:, 1].astype(float), strict=True))

    for model, work in (
        ("first_touch", journeys.run_first_click), ("last_touch", journeys.run_last_click), ("linear", journeys.run_linear),
        ("position_based", journeys.run_position_based), ("time_decay", journeys.run_time_decay),
        ("markov 1", journeys.run_markov), ("shapley", journeys.run_shapley),
    ):  # fmt: skip
        yield model, lambda work=work: credit(work)  # type: ignore[misc]


def do_attribution(file: str) -> Iterator[tuple[str, Work]]:
    """do-attribution: exact Markov chains and Shapley values."""
    import pandas as pd
    from do_attribution import MarkovAttribution, ShapleyAttribution

    frame = pd.read_csv(file)
    paths, conversions = frame["path"], frame["total_conversions"]
    for order in (1, 2):
        yield f"markov {order}", lambda order=order: MarkovAttribution(order=order).fit(paths, conversions)["attribution"] or {}  # type: ignore[misc]  # fmt: skip
    yield "shapley", lambda: ShapleyAttribution().fit(paths, conversions)["attribution"] or {}


LIBRARIES = {
    "ours": ours,
    "ChannelAttribution": channel_attribution,
    "marketing-attribution-models": marketing_attribution_models,
    "do-attribution": do_attribution,
}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(name: str, file: str, repeats: int) -> None:
    """Run one library; a work that takes more than ten seconds is done once."""
    steps: list[dict[str, Any]] = []
    base = 0.0
    for title, work in LIBRARIES[name](file):
        base = base or _peak_mb()
        seconds: list[float] = []
        cpu: list[float] = []
        while len(seconds) < repeats and sum(seconds) < 10:
            started, used = time.perf_counter(), time.process_time()
            try:
                credit = work()
            except Exception as error:  # noqa: BLE001 - what a library cannot do is part of the answer
                credit = {}
                title = f"{title}: {type(error).__name__}: {error}"[:200]
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
        total = sum(credit.values()) or 1.0
        shares = {channel: amount / total for channel, amount in credit.items()}
        steps.append(
            {"name": title, "seconds": statistics.median(seconds), "cpu": statistics.median(cpu), "peak_mb": _peak_mb(), "shares": shares, "total": sum(credit.values())}
        )  # fmt: skip
    print("\n" + json.dumps({"library": name, "base_mb": base, "steps": steps}))


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
