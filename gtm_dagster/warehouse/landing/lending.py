"""A landing zone of some batches alone, whose files stay where they are: what a rebuild beside the warehouse reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.warehouse.landing.listing import BATCHES, covered
from gtm_dagster.warehouse.landing.manifests import BATCH_NAME, Manifest, encoded
from gtm_dagster.warehouse.landing.withdrawals import FOLDER, Withdrawn
from gtm_dagster.warehouse.landing.writers import manifest_path, rows_path


def lend(
    source: Path, folder: Path, manifest_of: Callable[[str], Manifest | None], present: Collection[str],
    names: Collection[str], withdrawn: Sequence[Withdrawn], withdrawals: Collection[str],
) -> None:  # fmt: skip
    """Make at `folder` a landing zone of the batches `names` and the withdrawals `withdrawals` of `source`.

    `present`: the names of the batches in place, `withdrawn`: all withdrawals. A batch of `names` that was withdrawn by
    none of `withdrawals` is lent as it was before; of a compacted batch those of its batches that `names` has.
    """
    private_dir(folder / BATCHES)
    private_dir(folder / FOLDER)
    back: dict[str, Withdrawn] = {}
    for batch in withdrawn:
        if batch.id in withdrawals:
            (folder / FOLDER / f"{batch.id}.json").write_bytes(encoded(batch.manifest))
        else:
            back.setdefault(batch.manifest.name, batch)
    compacted = covered({*present, *names})
    parts: dict[str, set[str]] = {}
    for name in names:
        if name in back:
            _link(folder, back[name].manifest, {day: back[name].files[day] for day in back[name].manifest.rows})
        elif manifest := manifest_of(name):
            _link(folder, manifest, {day: rows_path(source, day, name) for day in manifest.rows})
        elif name in compacted:
            parts.setdefault(compacted[name], set()).add(name)
    for name, wanted in parts.items():
        if (manifest := manifest_of(name)) and name not in names:
            _lend_parts(source, folder, manifest, wanted)


def _link(folder: Path, manifest: Manifest, files: dict[str, Path]) -> None:
    for day, path in files.items():
        link = rows_path(folder, day, manifest.name)
        private_dir(link.parent)
        link.symlink_to(path.absolute())
    lent = msgspec.structs.replace(manifest, withdrawn=None)
    manifest_path(folder, manifest.name).write_bytes(encoded(lent))


def _lend_parts(source: Path, folder: Path, manifest: Manifest, wanted: set[str]) -> None:
    """The batches `wanted` of a compacted one: by reference when these are all, else their rows as a file of their own."""
    replaces = {name: rows for name, rows in manifest.replaces.items() if name in wanted}
    if replaces == manifest.replaces:
        _link(folder, manifest, {day: rows_path(source, day, manifest.name) for day in manifest.rows})
        return
    counts: dict[str, int] = {}
    for rows in replaces.values():
        for day, n in rows.items():
            counts[day] = counts.get(day, 0) + n
    names = pa.array(sorted(replaces), pa.string())
    for day in counts:
        table = pq.ParquetFile(rows_path(source, day, manifest.name)).read()
        path = rows_path(folder, day, manifest.name)
        private_dir(path.parent)
        pq.write_table(table.filter(pc.is_in(table.column(BATCH_NAME), value_set=names)), path)
    part = msgspec.structs.replace(manifest, rows=counts, replaces=replaces)
    manifest_path(folder, manifest.name).write_bytes(encoded(part))
