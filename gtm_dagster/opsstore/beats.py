"""Signs of life of a deployment's parts, and the alarms that were raised about them. Times are microseconds UTC."""

from __future__ import annotations

from sqlalchemy import delete, select

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store

_BEAT, _ALARM = "beat/", "alarm/"
_meta = ops_tables.meta


class Beats(Store):
    """By the name of a part."""

    def beat(self, part: str, at_us: int) -> None:
        """The part was alive at `at_us`."""
        with self.transaction() as con:
            self._put(con, _meta, key=_BEAT + part, value=str(at_us))

    def last_beat(self, part: str) -> int | None:
        """When the part last gave a sign; None when it never did, or was ended on purpose."""
        with self.reading() as con:
            value = con.execute(select(_meta.c.value).where(_meta.c.key == _BEAT + part)).scalar()
        return None if value is None else int(value)

    def forget_beat(self, part: str) -> None:
        """The part was ended on purpose: its silence means nothing."""
        with self.transaction() as con:
            con.execute(delete(_meta).where(_meta.c.key == _BEAT + part))

    def raise_alarm(self, part: str, since_us: int) -> bool:
        """The part is silent since `since_us`; False when an alarm stands already."""
        with self.transaction() as con:
            return self._insert_new(con, _meta, key=_ALARM + part, value=str(since_us))

    def end_alarm(self, part: str) -> int | None:
        """The part is back; returns since when it was silent, None when no alarm stood."""
        with self.transaction() as con:
            ended = con.execute(delete(_meta).where(_meta.c.key == _ALARM + part).returning(_meta.c.value)).scalar()
        return None if ended is None else int(ended)

    def alarms(self) -> dict[str, int]:
        """Parts whose alarm stands, and since when they are silent."""
        with self.reading() as con:
            rows = con.execute(select(_meta.c.key, _meta.c.value).where(_meta.c.key.startswith(_ALARM)))
            return {key.removeprefix(_ALARM): int(value) for key, value in rows}
