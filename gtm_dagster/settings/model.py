"""The settings as frozen values: what each means, its default, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gtm_dagster.settings.analysis import Attribution, Conversion, Funnel, Refunds, Retention, Sessions
from gtm_dagster.settings.broker import Kafka, LogAddress
from gtm_dagster.settings.choices import ProviderKind, SinkKind
from gtm_dagster.settings.collector_limits import Collector
from gtm_dagster.settings.destinations import Destination, Feed
from gtm_dagster.settings.guard_metrics import GuardMetric, GuardPage, Stake
from gtm_dagster.settings.ramp import Ramp
from gtm_dagster.settings.stage_presets import Stage
from gtm_dagster.settings.values import Count, Name, NotNegative, Positive, PropertyName, Share

ConsentMode = Literal["required", "opt_out", "off"]
Host = Annotated[
    str,
    Meta(
        pattern=r"^(localhost|[^\s/\\:?#@*\[\].]+(\.[^\s/\\:?#@*\[\].]+)+)$", description="a host such as shop.example"
    ),
]


class Stream(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the stream worker serves its metrics, those of guards, outbox and refreshes among them; port 0: nowhere."""

    metrics_host: Name = "127.0.0.1"
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 8378


class Dashboard(Struct, frozen=True, forbid_unknown_fields=True):
    """Address, limits and access of the dashboard.

    `hosts`: names beside localhost by which browsers call it. `token_env`: the variable that holds the token; on an address
    other machines reach it is needed, or `proxy_header`: the header by which a proxy of `proxy_addresses` names the user.
    `statement_seconds`: after which a query is ended. `query_rows`: the most rows a query of a person brings.
    `dagster_url`: where browsers reach Dagster's web UI.
    """

    host: Name = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8380
    hosts: tuple[Name, ...] = ()
    token_env: str | None = None
    proxy_header: str | None = None
    proxy_addresses: tuple[Name, ...] = ()
    statement_seconds: Positive = 2.0
    query_rows: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    dagster_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$", description="an http or https address")] = (
        "http://127.0.0.1:3000"
    )


class Refresh(Struct, frozen=True, forbid_unknown_fields=True):
    """When the pipeline runs, and how long it waits for the one writer. `cron` is read in the report time zone."""

    min_interval_seconds: Count = 60
    lock_timeout_seconds: NotNegative = 120.0
    cron: Name = "0 5 * * *"


class WarehouseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """DuckDB: limits (None: DuckDB's own choice) and the oldest version that can open the files."""

    memory_limit: str | None = None
    threads: Count | None = None
    storage_compatibility_version: Name = "v1.4.0"


class Quarantine(Struct, frozen=True, forbid_unknown_fields=True):
    """`days` a sealed original is kept; the share of rejected rows that warns, and the one that fails a run."""

    days: Annotated[int, Meta(ge=0)] = 30
    warn_rate: Share = 0.05
    max_rate: Share = 0.5


class History(Struct, frozen=True, forbid_unknown_fields=True):
    """`days` that the web UI keeps the run of a refresh; runs that acted on a flag or on people's data stay."""

    days: Count = 3


class Guard(Struct, frozen=True, forbid_unknown_fields=True):
    """A flag whose flow is watched: it is turned off when the treated arm loses more than `threshold` of conversion.

    `threshold`: relative drop, share of 1. `margin`: the share of the threshold that is no harm. `slower_minutes`: how much
    later treated conversions may come; None: as `hold_minutes`. `start_risk`: the probability of a false rollback that
    the start of an epoch and of each ramp step may cost. `budget_hours`: mean time between false rollbacks after that,
    shared, as `start_risk` is, by all guards of the flag. `treated_share`: the planned share of the treated arm where the
    provider does not report it. `write_keys`: names of client keys whose events count too; those of server keys always do.
    `metrics`: what is watched beside the conversion, under the same budget; `conversion_stake`: the conversion's share of it,
    None: an equal part. `page`: a second line that only notifies people.
    `ramp`: the declared way forward; None: nobody raises the share from here.
    """

    flag: Name
    conversion: Name
    conversion_window_minutes: Annotated[float, Meta(ge=1, le=10_080)] = 60.0
    threshold: Annotated[float, Meta(ge=0.02, le=0.9)] = 0.15
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    slower_minutes: Annotated[float, Meta(ge=0, le=10_080)] | None = None
    start_risk: Annotated[float, Meta(ge=0, le=0.2)] = 0.01
    hold_minutes: Annotated[float, Meta(ge=0, le=1440)] = 5.0
    provider: Name = "flagd"
    environment: Name = "production"
    dry_run: bool = False
    budget_hours: Annotated[float, Meta(ge=24, le=1_000_000)] = 8760.0
    treated_share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    write_keys: tuple[Name, ...] = ()
    metrics: tuple[GuardMetric, ...] = ()
    conversion_stake: Stake | None = None
    page: GuardPage | None = None
    ramp: Ramp | None = None

    @property
    def key(self) -> str:
        """The guard's name: flag, conversion and environment."""
        return f"{self.flag}:{self.conversion}:{self.environment}"


DRILL_FLAG = "guard-drill"
DRILL_EVENT = "guard_drill_converted"
DRILL_REASON = "drill"
"""Records suppressed for this reason are synthetic: they are in no table, and the guard counts them."""
DRILL_GUARD = Guard(DRILL_FLAG, DRILL_EVENT, conversion_window_minutes=10.0, slower_minutes=0.0)
"""The canary of `gtm guard drill`, watched without being declared; its visitors convert at one speed in both arms; declare a guard of this flag to give it another provider."""


class FlagProvider(Struct, frozen=True, forbid_unknown_fields=True):
    """Where flags live. `token_env` names the variable that holds the secret; a secret never stands in the file.

    `file`: the flag file of flagd or of a GO Feature Flag retriever, `refresh_url`: the relay's address for the latter.
    """

    name: Name
    kind: ProviderKind
    url: str | None = None
    project: Name = "default"
    token_env: str | None = None
    file: Path | None = None
    refresh_url: str | None = None


class Notify(Struct, frozen=True, forbid_unknown_fields=True):
    """A sink of messages: an address, or the variable that holds it. `secret_env`: the variable of what signs them."""

    kind: SinkKind = "webhook"
    url: str | None = None
    url_env: str | None = None
    secret_env: str | None = None


class Privacy(Struct, frozen=True, forbid_unknown_fields=True):
    """`pseudonym_key`: None creates a 0600 file in the state directory. Set it where several machines write.

    `consent`: whether an event of basis consent is kept only with consent (required), unless refused (opt_out) or in any
    case (off); a table says so by region, such as {default = "required", US = "opt_out", "US-CA" = "required"}.
    `undeclared_text`: which texts of properties land that the plan does not declare: those of one word (token), none
    (drop), or all without e-mail, IP address, phone and card number (keep).
    """

    pseudonym_key: str | None = None
    consent: ConsentMode | dict[str, ConsentMode] = "required"
    undeclared_text: Literal["token", "drop", "keep"] = "token"

    def __repr__(self) -> str:
        key = "***" if self.pseudonym_key else None
        return f"Privacy(pseudonym_key={key}, consent={self.consent!r}, undeclared_text={self.undeclared_text!r})"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration of a deployment. Paths are absolute.

    `stage`: the preset below what the deployment sets itself; None is none.
    `triggers_file`: the rules of `gtm trigger`; None: there are none.
    `event_log`: the topic that is the event log; None: events.db in the state directory.
    `trigger_shards`: brokers and the prefix of the topics of `gtm trigger run`; None: `gtm stream` runs the rules.
    `own_hosts`: the deployment's own sites; a referrer of one, or of what lies below it, brings nobody.
    `account_property`: the property that names the account an event's person belongs to; None: there are no accounts.
    """

    stage: Stage | None = None
    state_dir: Path = Path(".gtm")
    plan_file: Path | None = None
    triggers_file: Path | None = None
    event_log: LogAddress | None = None
    trigger_shards: LogAddress | None = None
    report_timezone: Name = "UTC"
    dedup_days: Count = 32
    own_hosts: tuple[Host, ...] = ()
    sessions: Sessions = Sessions()
    conversions: tuple[Conversion, ...] = (
        Conversion("payment_completed", "amount", "currency", unique="payment_id", refunds=Refunds("payment_refunded")),
        Conversion("signup_completed"),
    )
    attribution: Attribution = Attribution()
    funnel: Funnel = Funnel()
    retention: Retention = Retention()
    account_property: PropertyName | None = "account_id"
    collector: Collector = Collector()
    kafka: Kafka = Kafka()
    stream: Stream = Stream()
    dashboard: Dashboard = Dashboard()
    refresh: Refresh = Refresh()
    warehouse: WarehouseSettings = WarehouseSettings()
    quarantine: Quarantine = Quarantine()
    history: History = History()
    privacy: Privacy = Privacy()
    guards: tuple[Guard, ...] = ()
    providers: tuple[FlagProvider, ...] = ()
    notify: tuple[Notify, ...] = ()
    destinations: tuple[Destination, ...] = ()
    feed: Feed = Feed()
    ops_url: str | None = None
    guard_errors: tuple[str, ...] = ()

    @property
    def ops_address(self) -> str:
        """SQLAlchemy address of the ops store: `ops_url`, else ops.db in the state directory."""
        return self.ops_url or f"sqlite:///{self.state_dir / 'ops.db'}"

    @property
    def flags_path(self) -> Path:
        """The flag file of the embedded provider (flagd's format)."""
        return self.state_dir / "flags.json"

    @property
    def kill_list_path(self) -> Path:
        """Flags that gates answer with the old flow whatever their provider says."""
        return self.state_dir / "killed.json"

    @property
    def watched(self) -> tuple[Guard, ...]:
        """The declared guards and the drill's canary."""
        declared = any(guard.flag == DRILL_FLAG for guard in self.guards)
        return self.guards if declared else (*self.guards, DRILL_GUARD)

    def provider_of(self, guard: Guard) -> FlagProvider:
        """The provider a guard names; the name flagd is the embedded file unless declared otherwise."""
        for provider in self.providers:
            if provider.name == guard.provider:
                return provider
        return FlagProvider("flagd", "flagd", file=self.flags_path)

    @property
    def sinks(self) -> dict[str, Notify]:
        """The declared sinks by the name the outbox keeps: kind and place in gtm.toml, never the address."""
        return {f"{sink.kind}[{index}]": sink for index, sink in enumerate(self.notify)}

    @property
    def log_path(self) -> Path:
        """The SQLite event log; not used with `event_log`."""
        return self.state_dir / "events.db"

    @property
    def landing_dir(self) -> Path:
        """Folder of the landed Parquet files."""
        return self.state_dir / "landing"

    @property
    def warehouse_path(self) -> Path:
        """The working DuckDB file; one writer, no readers beside it."""
        return self.state_dir / "warehouse.duckdb"

    @property
    def serving_path(self) -> Path:
        """The published copy that readers open."""
        return self.state_dir / "serving.duckdb"

    @property
    def keys_dir(self) -> Path:
        """Folder (0700) of keys: pseudonyms, sealing, write keys."""
        return self.state_dir / "keys"

    @property
    def dagster_home(self) -> Path:
        """The Dagster instance's folder."""
        return self.state_dir / "dagster_home"
