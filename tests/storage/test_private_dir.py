import os
import stat

import pytest

from gtm_dagster.storage.private_dir import private_dir


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def ordinary_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_folder_and_its_missing_parents_are_made_for_their_owner_alone(tmp_path):
    folder = tmp_path / "state" / "landing" / "days"
    assert private_dir(folder) == folder
    assert [_mode(path) for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3


def test_a_folder_that_a_user_made_keeps_its_mode(tmp_path):
    state = tmp_path / "shared"
    state.mkdir(mode=0o750)
    private_dir(state / "landing")
    private_dir(state)
    assert (_mode(state), _mode(state / "landing")) == (0o750, 0o700)


@pytest.mark.parametrize("name", ["file", "file/below"], ids=["a file has the name", "a file has a parent's name"])
def test_what_is_no_folder_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        private_dir(tmp_path / name)


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    private_dir(tmp_path / "link" / "state")
    assert (tmp_path / "elsewhere" / "state").is_dir()
