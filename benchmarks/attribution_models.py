"""`python -m benchmarks.attribution_models [--paths 1000000] [--core 0] [--repeats 5]`: attribution of a file of paths.

Ours beside ChannelAttribution, marketing-attribution-models and do-attribution, each in an environment of its own
(`scripts/install-attribution-peers`), pinned to one core, after the file is read. Prints a Markdown table: seconds (those of CPU hold on a busy machine too), peak
memory, and how far the shares of the channels are from ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.attribution_peers import LIBRARIES
from benchmarks.measuring import machine

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".cache" / "attribution-peers"
CHANNELS = 12
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_NUM_THREADS")


def paths(rows: int, seed: int = 7) -> pd.DataFrame:
    """Paths of a mean of 4.3 touches and 12 channels, a few common and many rare ones: some 80,000 distinct in a million.

    Ages fall by a day a touch. A path in five converted.
    """
    random = np.random.default_rng(seed)
    chances = 1 / np.arange(1, CHANNELS + 1)
    lengths = random.geometric(1 / 4.3, rows).clip(max=40)
    # A channel tends to be the one before: paths repeat as those of people do.
    fresh = random.choice(CHANNELS, int(lengths.sum()), p=chances / chances.sum())
    stays = random.random(len(fresh)) < 0.7
    stays[lengths.cumsum() - lengths] = False
    channel = fresh[np.maximum.accumulate(np.where(stays, 0, np.arange(len(fresh))))]
    names = np.array([f"channel {number}" for number in range(CHANNELS)], dtype=object)[channel]
    ends = lengths.cumsum()
    texts = [" > ".join(names[end - n : end]) for end, n in zip(ends, lengths, strict=True)]
    ages = {n: " > ".join(str(24.0 * age) for age in reversed(range(n))) for n in range(1, 41)}
    conversions = (random.random(rows) < 0.2).astype(int)
    return pd.DataFrame(
        {"path": texts, "ages": [ages[n] for n in lengths], "total_conversions": conversions, "total_null": 1 - conversions}
    )  # fmt: skip


def measured(library: str, file: Path, core: int, repeats: int) -> dict[str, Any] | None:
    """What `attribution_peers.py` prints for a library; None where its environment is not installed."""
    python = sys.executable if library == "ours" else str(PEERS / library / "bin" / "python")
    if not Path(python).exists():
        return None
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(ROOT) if library == "ours" else ""}
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / "attribution_peers.py"), library, str(file), str(repeats)],
        capture_output=True, text=True, env=environment, check=False, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{library} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def apart(mine: dict[str, float], other: dict[str, float]) -> str:
    """The greatest difference of a channel's share, in points of a hundred."""
    if not mine or not other:
        return ""
    return f"{100 * max(abs(mine.get(name, 0.0) - other.get(name, 0.0)) for name in {*mine, *other}):.3g}"


def main() -> None:
    """Measure every library that is installed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    options.add_argument("--paths", type=int, default=1_000_000)
    options.add_argument("--core", type=int, default=0)
    options.add_argument("--repeats", type=int, default=5)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        frame = paths(arguments.paths)
        file = Path(folder) / "paths.csv"
        frame.to_csv(file, index=False)
        touches = frame["path"].str.count(" > ").mean() + 1
        print(machine(["pandas", "numpy", "pyarrow"]))
        print(
            f"{len(frame):,} paths, {frame['path'].nunique():,} distinct, {touches:.2f} touches each, core {arguments.core}\n"
        )
        print(
            "| library | model | s | CPU s | peak MB | of them before | share apart from ours, points |\n|---|---|---:|---:|---:|---:|---:|"
        )
        mine: dict[str, dict[str, float]] = {}
        for library in LIBRARIES:
            found = measured(library, file, arguments.core, arguments.repeats)
            if found is None:
                print(f"| {library} | not installed: scripts/install-attribution-peers | | | | | |")
                continue
            for step in found["steps"]:
                shares = step["shares"]
                if library == "ours":
                    mine[step["name"]] = shares
                beside = mine.get("linear" if step["name"] == "first, last, linear" else step["name"], {})
                points = "" if library == "ours" else apart(beside, shares)
                print(f"| {library} | {step['name']} | {step['seconds']:.2f} | {step['cpu']:.2f} | {step['peak_mb']:.0f} | {found['base_mb']:.0f} | {points} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
