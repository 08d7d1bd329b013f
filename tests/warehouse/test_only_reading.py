"""`gtm query` and every other reader: what a statement may be, what it reaches, and that analysts' SQL still runs."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec
import pytest
from warehouse_cases import START, event, land, refresh, settings_for

from gtm_dagster.settings import Settings, WarehouseSettings
from gtm_dagster.warehouse import read_only
from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.quarantined import quarantine_now
from gtm_dagster.warehouse.serving import QueryError, query, reader

SECRET = "do-not-show-this-key"


@dataclass(frozen=True)
class Deployment:
    settings: Settings
    folder: Path

    def files(self) -> dict[str, str]:
        """Every file of the deployment with its digest, so that a statement that wrote one shows."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    settings = settings_for(folder)
    land(settings, [event(f"e{i}", START, anonymous_id=f"a{i}") for i in range(5)], "import-1")
    refresh(settings)
    settings.keys_dir.mkdir(exist_ok=True)
    (settings.keys_dir / "pseudonym.key").write_text(SECRET)
    temporary = settings.serving_path.with_name(settings.serving_path.name + ".tmp")
    temporary.mkdir()
    (temporary / "left.csv").write_text(f"a\n{SECRET}\n")
    return Deployment(settings, folder)


REFUSED = {
    "writes a file": "COPY (SELECT 1) TO 'w.csv'",
    "writes the key": "COPY (SELECT 1) TO '{keys}' (HEADER false)",
    "writes among temporary files": "COPY (SELECT 1) TO '{tmp}/w.csv'",
    "writes a table to a file": "COPY core.sessions TO 'w.parquet'",
    "reads a file into a table": "COPY core.sessions FROM '{keys}'",
    "exports the database": "EXPORT DATABASE '{tmp}/all'",
    "imports a database": "IMPORT DATABASE '{tmp}'",
    "explains by writing": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{tmp}/w.csv'",
    "explains by writing, options": "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{tmp}/w.csv'",
    "explains a SELECT that reads a file": "EXPLAIN ANALYZE SELECT * FROM read_text('{tmp}/left.csv')",
    "explains after a comment": "/* é select */ EXPLAIN /* select 1 */ ANALYZE CREATE TEMP TABLE t AS SELECT 1",
    "text of a file": "SELECT content FROM read_text('{keys}')",
    "bytes of a file": "SELECT content FROM read_blob('{keys}')",
    "text of a temporary file": "SELECT * FROM read_text('{tmp}/left.csv')",
    "above the temporary files": "SELECT * FROM read_text('{tmp}/../keys/pseudonym.key')",
    "CSV": "SELECT * FROM read_csv('{keys}')",
    "CSV, its first reader": "SELECT * FROM read_csv_auto('{tmp}/left.csv')",
    "JSON": "SELECT * FROM read_json('{keys}')",
    "JSON lines": "SELECT * FROM read_ndjson_objects('{keys}')",
    "Parquet": "SELECT * FROM parquet_scan('{landing}/**/*.parquet')",
    "Parquet's metadata": "SELECT * FROM parquet_metadata('{landing}/**/*.parquet')",
    "another database": "SELECT * FROM read_duckdb('{work}')",
    "a file as a table": "FROM '{tmp}/left.csv'",
    "a file as a table, quoted": 'SELECT * FROM "{tmp}/left.csv"',
    "names of files": "SELECT * FROM glob('{state}/**')",
    "names of temporary files": "FROM glob('{tmp}/*')",
    "guesses a CSV": "FROM sniff_csv('{keys}')",
    "network": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "network as a table": "FROM 'https://127.0.0.1:9/x.parquet'",
    "object store": "FROM read_parquet('s3://bucket/x.parquet')",
    "in a CTE": "WITH a AS (SELECT * FROM read_text('{tmp}/left.csv')) SELECT * FROM a",
    "in a nested CTE": "WITH a AS (WITH b AS (FROM glob('{tmp}/*')) SELECT * FROM b) SELECT * FROM a",
    "in a subquery": "SELECT (SELECT content FROM read_text('{tmp}/left.csv'))",
    "in a UNION": "SELECT 'x' UNION ALL SELECT content FROM read_text('{tmp}/left.csv')",
    "in a lateral join": "SELECT * FROM (VALUES ('{tmp}/left.csv')) v(p), LATERAL (SELECT * FROM read_text(p))",
    "in EXISTS": "SELECT 1 WHERE EXISTS (FROM read_text('{tmp}/left.csv'))",
    "in a recursive CTE": "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n FROM a, glob('{tmp}/*')) FROM a",
    "in SUMMARIZE": "SUMMARIZE SELECT * FROM read_text('{tmp}/left.csv')",
    "in DESCRIBE": "DESCRIBE SELECT * FROM read_csv('{tmp}/left.csv')",
    "text that is run": "SELECT * FROM query('SELECT * FROM read_text(''{tmp}/left.csv'')')",
    "a name that is looked up": "SELECT * FROM query_table('{tmp}/left.csv')",
    "a tree that is run": "FROM json_execute_serialized_sql('{{}}')",
    "by another case": "SELECT * FROM ReAd_TeXt('{tmp}/left.csv')",
    "by its schema": "SELECT * FROM system.main.read_text('{tmp}/left.csv')",
    "a comment between": "SELECT * FROM read_text/**/('{tmp}/left.csv')",
    "two statements": "SELECT 1; SELECT 2",
    "a second statement after a comment": "SELECT 1 -- ;\n; COPY (SELECT 1) TO '{keys}'",
    "switches access on": "SET enable_external_access = true",
    "switches access on first": "SET enable_external_access = true; SELECT * FROM read_text('{keys}')",
    "a setting": "SET threads = 1",
    "a setting of the session": "SET SESSION TimeZone = 'Europe/Berlin'",
    "a setting back": "RESET memory_limit",
    "a variable": "SET VARIABLE x = 1",
    "another schema": "USE core",
    "a database in memory": "ATTACH ':memory:' AS m",
    "a database file": "ATTACH '{work}' AS w",
    "a database taken away": "DETACH serving",
    "an extension is installed": "INSTALL httpfs",
    "an extension is loaded": "LOAD httpfs",
    "a file as extension": "LOAD '{tmp}/left.csv'",
    "extensions are renewed": "UPDATE EXTENSIONS",
    "prepared": "PREPARE q AS SELECT 1",
    "a prepared one runs": "EXECUTE q",
    "a macro": "CREATE TEMP MACRO m(p) AS TABLE SELECT * FROM read_text(p)",
    "a secret": "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "a temporary table": "CREATE TEMP TABLE t AS SELECT 1",
    "a table": "CREATE TABLE core.t AS SELECT 1",
    "a view": "CREATE TEMP VIEW v AS FROM read_text('{keys}')",
    "rows in": "INSERT INTO core.sessions SELECT * FROM core.sessions",
    "rows in, in a CTE": "WITH a AS (INSERT INTO core.sessions FROM core.sessions RETURNING 1) FROM a",
    "rows changed": "UPDATE core.sessions SET n_events = 0",
    "rows out": "DELETE FROM core.sessions",
    "rows out at once": "TRUNCATE core.sessions",
    "a table out": "DROP TABLE core.sessions",
    "a column in": "ALTER TABLE core.sessions ADD COLUMN x INTEGER",
    "a comment on a table": "COMMENT ON TABLE core.sessions IS 'x'",
    "a transaction": "BEGIN",
    "a checkpoint": "CHECKPOINT",
    "a checkpoint by a function": "FROM force_checkpoint()",
    "statistics": "ANALYZE",
    "vacuum": "VACUUM",
    "a call": "CALL pragma_version()",
    "logs into a file": "FROM enable_logging(storage = 'file', storage_config = {{'path': '{tmp}/log'}})",
    "a profile into a file": "PRAGMA enable_profiling = 'json'",
    "a profile by a function": "FROM enable_profiling(save_location = '{tmp}/profile.json')",
    "paths by PRAGMA": "PRAGMA database_list",
    "paths by a view": "FROM pragma_database_list",
    "paths by a function": "SELECT path FROM duckdb_databases()",
    "paths by a view of databases": "SELECT path FROM duckdb_databases",
    "settings": "FROM duckdb_settings()",
    "settings by a view": "FROM pg_catalog.pg_settings",
    "one setting": "SELECT current_setting('temp_directory')",
    "secrets": "FROM duckdb_secrets()",
    "which secret": "FROM which_secret('s3://x', 's3')",
    "the environment": "SELECT getenv('HOME')",
    "extensions' files": "FROM duckdb_extensions()",
    "temporary files": "FROM duckdb_temporary_files()",
    "logs": "FROM duckdb_logs()",
    "a line in the log": "SELECT write_log('x')",
    "a variable of this program": "FROM settings",
    "a variable of this program, one frame up": "FROM deployment",
    "nothing": "",
    "a comment alone": "-- nothing",
    "no SQL": "please show me the sessions",
    "half a character": "SELECT '\ud800'",
    "a shell's dot command": ".read x.sql",
    "nested beyond sense": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
}


ALSO_OF_THE_WORKING_FILE = {
    "writes the key",
    "text of a file",
    "rows out",
    "a table out",
    "two statements",
    "a setting",
}
CASES = [
    pytest.param(sql, work, id=f"{name}, {'working file' if work else 'serving copy'}")
    for name, sql in REFUSED.items()
    for work in (False, True)
    if not work or name in ALSO_OF_THE_WORKING_FILE
]


@pytest.mark.parametrize(("sql", "work"), CASES)
def test_what_does_more_than_read_the_tables_is_refused_and_leaves_every_file(deployment, sql, work):
    settings = deployment.settings
    places = {
        "keys": settings.keys_dir / "pseudonym.key",
        "tmp": f"{settings.warehouse_path if work else settings.serving_path}.tmp",
        "landing": settings.landing_dir,
        "work": settings.warehouse_path,
        "state": settings.state_dir,
    }
    before = deployment.files()
    with pytest.raises(QueryError) as refused:
        query(settings, sql.format(**places), work=work)
    assert SECRET not in str(refused.value)
    lock = str(settings.state_dir / "warehouse.lock")
    assert {**deployment.files(), lock: ""} == {**before, lock: ""}
    assert not list(Path.cwd().glob("w.*"))


ANSWERED = {
    "an aggregate": ("SELECT count(*) FROM core.sessions", [(5,)]),
    "FROM first": ("FROM core.sessions SELECT count(*)", [(5,)]),
    "a comment and a semicolon": ("-- how many\nSELECT count(*) FROM core.sessions; -- done", [(5,)]),
    "VALUES": ("VALUES (1), (2)", [(1,), (2,)]),
    "a window": ("SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY person_id) n FROM core.sessions)", [(5,)]),
    "QUALIFY": ("SELECT 1 FROM core.sessions QUALIFY row_number() OVER () = 1", [(1,)]),
    "a recursive CTE": (
        "WITH RECURSIVE a AS (SELECT 1 n UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        [(1,), (2,), (3,)],
    ),
    "JSON": ("""SELECT '{"a": {"b": 7}}'::JSON ->> '$.a.b'""", [("7",)]),
    "JSON as rows": ("SELECT key FROM json_each('{\"a\": 1}')", [("a",)]),
    "a time zone": (
        "SELECT TIMESTAMPTZ '2024-07-01 00:00+00' AT TIME ZONE 'Europe/Berlin' = TIMESTAMP '2024-07-01 02:00'",
        [(True,)],
    ),
    "a collation": ("SELECT 'ä' < 'b' COLLATE de", [(True,)]),
    "a day of a calendar": ("SELECT date_trunc('week', DATE '2024-01-03')::DATE = DATE '2024-01-01'", [(True,)]),
    "a calendar": (
        "SELECT count(*) > 0 FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', INTERVAL 1 HOUR)",
        [(True,)],
    ),
    "unnest": ("SELECT unnest([1, 2])", [(1,), (2,)]),
    "a list": ("SELECT [x * 2 FOR x IN [1, 2]]", [([2, 4],)]),
    "PIVOT of named values": ("SELECT web FROM (PIVOT (SELECT 'web' k, 1 v) ON k IN ('web') USING sum(v))", [(1,)]),
    "a word of a file in a text": (
        "SELECT 'COPY t TO ''read_csv.csv''; SET x'",
        [("COPY t TO 'read_csv.csv'; SET x",)],
    ),
    "ASOF": (
        "SELECT count(*) FROM core.sessions a ASOF JOIN core.sessions b ON a.person_id = b.person_id AND a.session_start >= b.session_start",
        [(5,)],
    ),
    "a sample": ("SELECT count(*) FROM (FROM core.sessions USING SAMPLE 5 ROWS)", [(5,)]),
    "information_schema": ("SELECT count(*) > 5 FROM information_schema.tables", [(True,)]),
    "names of tables": (
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'core' AND table_name = 'sessions'",
        [(1,)],
    ),
}


@pytest.mark.parametrize(("sql", "rows"), ANSWERED.values(), ids=ANSWERED.keys())
def test_what_analysts_write_is_answered(deployment, sql, rows):
    assert query(deployment.settings, sql)[1] == rows


@pytest.mark.parametrize(
    "sql", ["DESCRIBE core.sessions", "SHOW ALL TABLES", "SHOW TABLES FROM core", "SUMMARIZE core.sessions"]
)
def test_what_shows_the_tables_is_answered(deployment, sql):
    assert query(deployment.settings, sql)[1]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT 1",
        "EXPLAIN (SELECT 1)",
        "explain analyze /* é */ FROM core.sessions",
        "EXPLAIN (FORMAT json) SELECT 1",
    ],
)
def test_a_plan_is_explained(deployment, sql):
    assert query(deployment.settings, sql)[1]


def test_parameters_and_a_limit_of_rows(deployment):
    settings = deployment.settings
    assert query(settings, "SELECT $day::DATE = DATE '2024-01-02'", {"day": "2024-01-02"})[1] == [(True,)]
    assert query(settings, "SELECT ?, ?", ["it's", 2])[1] == [("it's", 2)]
    assert query(settings, "SELECT * FROM range(10)", limit=3) == (["range"], [(0,), (1,), (2,)])
    with pytest.raises(QueryError, match="arameter"):
        query(settings, "SELECT $1")


def test_a_query_larger_than_its_memory_spills(deployment):
    small = msgspec.structs.replace(deployment.settings, warehouse=WarehouseSettings(memory_limit="60MB", threads=2))
    sorted_rows = (
        "SELECT r::VARCHAR || repeat('x', 90) t, row_number() OVER (ORDER BY hash(r)) n FROM range(1000000) s(r)"
    )
    assert query(small, f"SELECT count(DISTINCT n), max(t[1]) FROM ({sorted_rows})")[1] == [(1_000_000, "9")]
    with reader(small) as con:
        limits = con.execute("SELECT current_setting('threads'), current_setting('memory_limit')").fetchall()
    assert limits == [(2, "57.2 MiB")]


def test_readers_of_one_process_do_not_disturb_each_other(deployment):
    answers = []

    def ask() -> None:
        answers.extend(query(deployment.settings, "SELECT count(*) FROM core.sessions")[1] for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[(5,)]] * 20


def test_the_quarantine_is_shown_by_a_connection_that_reaches_nothing_else(deployment):
    key = deployment.settings.keys_dir / "pseudonym.key"
    with quarantine_now(deployment.settings) as con:
        with pytest.raises(duckdb.PermissionException):
            con.execute(f"SELECT * FROM read_text('{key}')")
        with pytest.raises(duckdb.InvalidInputException, match="locked"):
            con.execute("SET enable_external_access = true")


def test_each_plain_function_that_may_reach_outside_is_looked_at():
    """A name that a newer DuckDB brings shows here before a query can call it."""
    with in_memory() as con:
        found = con.execute(
            """SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('scalar', 'macro', 'aggregate')
            AND regexp_matches(function_name, 'read|write|file|env|setting|secret|log_|_log|http|exec|sleep|nextval|setval|load|path|glob')"""
        ).fetchall()
    harmless = {
        "in_search_path",
        "json_extract_path",
        "json_extract_path_text",
        "parse_dirpath",
        "parse_duckdb_log_message",
        "parse_filename",
        "parse_path",
        "path_join",
        "pg_conf_load_time",
    }
    assert {name for (name,) in found} - read_only._FUNCTIONS == harmless
