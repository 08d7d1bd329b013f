"""Pseudonyms, their key file, and sealing."""

import hashlib
import hmac
import pickle
from concurrent.futures import ProcessPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.privacy.pseudonyms import KEY_FILE, Pseudonymizer, PseudonymKeyError, existing_key, load_or_create_key
from gtm_dagster.privacy.sealing import Sealer, SealError

KEY = b"k" * 32


def test_pseudonym_is_the_first_half_of_hmac_sha256():
    assert Pseudonymizer(KEY)("u1") == hmac.new(KEY, b"u1", hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize("size", [16, 63, 64, 65, 200], ids=lambda size: f"a key of {size} bytes")
@pytest.mark.parametrize("value", ["", "u1", "ü" * 1000, "\ud800"], ids=["empty", "short", "long", "no text"])
def test_pseudonym_is_that_of_the_standard_library_for_every_key(size, value):
    key = bytes(range(size))
    expected = hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
    pseudonym = Pseudonymizer(key)
    assert (pseudonym(value), pseudonym(value), pickle.loads(pickle.dumps(pseudonym))(value)) == (expected,) * 3


def test_many_keeps_order_and_nulls_and_agrees_with_one():
    pseudonym = Pseudonymizer(KEY)
    assert pseudonym.many(["a", None, "b", "a"]) == [pseudonym("a"), None, pseudonym("b"), pseudonym("a")]


def test_key_file_is_made_once_for_the_owner_alone(tmp_path):
    key = load_or_create_key(tmp_path / "keys")
    path = tmp_path / "keys" / KEY_FILE
    assert (len(key), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (32, 0o600, 0o700)
    assert load_or_create_key(tmp_path / "keys") == key
    assert [entry.name for entry in path.parent.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_share_one_key(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        keys = set(pool.map(load_or_create_key, [tmp_path / "keys"] * 16))
    assert len(keys) == 1


def test_setting_wins_over_the_file_and_makes_none(tmp_path):
    assert load_or_create_key(tmp_path / "keys", "correct horse battery") == b"correct horse battery"
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("text", ["", "zz", "ab" * 16])
def test_damaged_key_file_is_refused_by_name(tmp_path, text):
    (tmp_path / KEY_FILE).write_text(text)
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(PseudonymKeyError, match=KEY_FILE):
        load_or_create_key(tmp_path)


def test_key_file_others_can_read_is_refused(tmp_path):
    load_or_create_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(PseudonymKeyError, match="chmod 600"):
        load_or_create_key(tmp_path)


def test_short_setting_is_refused(tmp_path):
    with pytest.raises(PseudonymKeyError, match="at least 16"):
        load_or_create_key(tmp_path, "short")


@pytest.mark.parametrize("plain", [b"", b"x", b'{"email":"ann@example.org"}' * 100])
def test_sealed_bytes_open_again_and_hide_the_original(plain):
    sealed = Sealer(KEY).seal(plain)
    assert Sealer(KEY).open(sealed) == plain
    assert len(sealed) == len(plain) + 29 and b"ann@" not in sealed
    assert Sealer(KEY).seal(plain) != sealed


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[:-1] + bytes([b[-1] ^ 1]),
        lambda b: b"\x02" + b[1:],
        lambda _: b"",
        lambda b: b[:13],
    ],
)
def test_damaged_seal_is_refused(damage):
    with pytest.raises(SealError):
        Sealer(KEY).open(damage(Sealer(KEY).seal(b"secret")))


def test_another_key_does_not_open():
    with pytest.raises(SealError, match="another key"):
        Sealer(b"z" * 32).open(Sealer(KEY).seal(b"secret"))


@pytest.mark.parametrize("column", ["user_id", "anonymous_id"])
def test_a_key_that_is_gone_is_not_made_anew_where_pseudonyms_have_landed(tmp_path, column):
    keys, day = tmp_path / "keys", tmp_path / "landing" / "2026-01-01"
    assert existing_key(keys) is None
    day.mkdir(parents=True)
    pq.write_table(
        pa.table({column: [None, Pseudonymizer(KEY)("ada")], "event_id": ["a", "b"]}), day / "import-1.parquet"
    )
    with pytest.raises(PseudonymKeyError, match="is missing, and events have landed"):
        load_or_create_key(keys)
    assert load_or_create_key(keys, "correct horse battery") == b"correct horse battery"
    assert not keys.exists()


@pytest.mark.parametrize(
    "table",
    [
        pytest.param({"user_id": ["ada", None]}, id="ids that are no pseudonyms"),
        pytest.param({"cost": [1.0, 2.0]}, id="no persons, as spend"),
        pytest.param({"user_id": []}, id="no rows"),
        pytest.param(None, id="a file that is no Parquet"),
    ],
)
def test_a_first_key_is_made_where_no_pseudonym_has_landed(tmp_path, table):
    (tmp_path / "landing").mkdir()
    file = tmp_path / "landing" / "import-1.parquet"
    if table is None:
        file.touch()
    else:
        pq.write_table(pa.table(table), file)
    assert load_or_create_key(tmp_path / "keys") == existing_key(tmp_path / "keys")
