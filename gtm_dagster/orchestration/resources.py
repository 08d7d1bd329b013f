"""The warehouse as a Dagster resource: one writer for the length of a run, every connection closed at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import PrivateAttr

from gtm_dagster.channels.window_channels import check_window_channels
from gtm_dagster.orchestration.run_labels import run_tags
from gtm_dagster.settings import Origin, Settings
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.settings_for_plan import Deployment, deployment_of
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import connect
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.writer_lock import WarehouseLock


class WarehouseResource(DuckDBResource):
    """Keeps the writer's lock from the first asset of a run to its end, and one connection for the assets of a process.

    A run whose settings differ from those the warehouse was built with fails unless `allow_rebuild`; `full` rebuilds
    everything from the landing files. Both are run config, which Dagster stores and shows; the settings are not, since
    they hold secrets: `warehouse_of` makes the resource over a deployment's settings.
    """

    database: str = ""
    allow_rebuild: bool = False
    full: bool = False
    _deployment: Deployment | None = PrivateAttr(default=None)
    _open: duckdb.DuckDBPyConnection | None = PrivateAttr(default=None)
    _has_tables: bool = PrivateAttr(default=False)
    _began: float = PrivateAttr(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        """The deployment's settings."""
        raise TypeError("this warehouse has no settings: make it by warehouse_of(settings)")

    @property
    def _origin(self) -> Origin | None:
        return None

    @property
    def seconds(self) -> float:
        """Since the run had the writer's lock."""
        return time.monotonic() - self._began

    @property
    def context(self) -> BuildContext:
        """What the library's build steps take. Raises PlanError, and SettingsError for a name that plan or channels lack."""
        if self._deployment is None:
            settings = self.settings
            check_window_channels(settings, self._origin)
            self._deployment = deployment_of(settings, load_plan(settings.plan_file), self._origin)
        return BuildContext(self._deployment.settings, self._deployment.plan, self.full)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[WarehouseResource]:
        """Take the lock for the run. Raises LockHeldError, which names the holder, when the wait is over."""
        run_id = context.run.run_id if context.run else "none"
        if context.run and context.instance:
            # This process carries out the run; the daemon or a sensor asked for it. Tagged before the wait for the lock:
            # a run killed while it waits would otherwise look alive.
            context.instance.add_run_tags(run_id, run_tags(run_id, context.run.tags))
        with self._writers_lock(f"run {run_id}"):
            self._began = time.monotonic()
            try:
                yield self
            finally:
                self._close()

    def _writers_lock(self, owner: str) -> AbstractContextManager[None]:
        return WarehouseLock(self.settings.state_dir).hold(owner, self.settings.refresh.lock_timeout_seconds)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The read-write connection to the working file, one for all assets: what one reads the next finds in memory.

        It is closed when the run ends, and at once when the body raises.
        """
        if self._open is None:
            private_dir(self.settings.state_dir)
            self._open = connect(self.settings.warehouse_path, self.settings)
        try:
            yield self._open
        except BaseException:
            self._close()
            raise

    @contextmanager
    def writing_tables(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The same, every declared table made; whether they are there is looked for once."""
        with self.writing() as con:
            if not self._has_tables:
                create(con)
                self._has_tables = True
            yield con

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
            self._has_tables = False

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The name dagster-duckdb users know; the same as `writing`."""
        with self.writing() as con:
            yield con


def warehouse_of(
    settings: Settings,
    origin: Origin | None = None,
    *,
    has_lock: bool = False,
    allow_rebuild: bool = False,
    full: bool = False,
) -> WarehouseResource:
    """The resource over frozen settings.

    `origin`: where each setting stands, for messages. `has_lock`: the process that starts the run has taken the writer's
    lock, so the run takes none. Dagster makes a copy of a resource for each run, from its class and its public fields,
    and stores those fields with the run: so the class knows the settings, and no field does.
    """

    class DeploymentWarehouse(WarehouseResource):
        @property
        def settings(self) -> Settings:
            return settings

        @property
        def _origin(self) -> Origin | None:
            return origin

        def _writers_lock(self, owner: str) -> AbstractContextManager[None]:
            return nullcontext() if has_lock else super()._writers_lock(owner)

    DeploymentWarehouse.__doc__ = WarehouseResource.__doc__
    return DeploymentWarehouse(allow_rebuild=allow_rebuild, full=full)
