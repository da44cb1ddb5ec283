"""What is whole is skipped, what is damaged is done again, shares leave nothing out."""

import pytest

from sdjax.errors import InputError
from sdjax.study.stages import SETTINGS, Share, begin, left, stage


def test_a_stage_is_carried_out_once_and_again_where_its_file_is_damaged(tmp_path):
    calls, path = [], tmp_path / "run" / "loss.json"

    def work():
        calls.append(None)
        return {"bits": [1.5, len(calls)]}

    assert left(path) is None
    assert stage(path, work) == stage(path, work) == left(path) == {"bits": [1.5, 1]}
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1.6"))
    assert left(path) is None
    assert stage(path, work) == {"bits": [1.5, 2]}
    path.write_bytes(path.read_bytes()[:-9])
    assert stage(path, work) == {"bits": [1.5, 3]}


def test_a_stage_that_fails_leaves_nothing(tmp_path):
    def fails():
        raise InputError("no")

    with pytest.raises(InputError):
        stage(tmp_path / "x.json", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_settings_or_of_something_else_is_refused(tmp_path):
    begin(tmp_path / "a", {"characters": 5, "shards": (1, 1, 1)})
    begin(tmp_path / "a", {"characters": 5, "shards": (1, 1, 1)})
    with pytest.raises(
        InputError, match="characters is 5 there and 6 here; give anoth"
    ):
        begin(tmp_path / "a", {"characters": 6, "shards": (1, 1, 1)})
    with pytest.raises(InputError, match="is no study"):
        begin(tmp_path, {})
    (tmp_path / "a" / SETTINGS).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        begin(tmp_path / "a", {})


def test_the_shares_together_are_all_and_keep_groups_together():
    groups = [[f"{i}{part}" for part in "ab"] for i in range(5)]
    shares = [Share.parse(f"{n}/3").of_groups(groups) for n in (1, 2, 3)]
    assert sorted(sum(shares, [])) == sorted(sum(groups, []))
    assert shares[1] == ["1a", "1b", "4a", "4b"]
    assert Share().of_groups(groups) == sum(groups, [])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/x", "-1/2", "1/0", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match="write the first of two shares as 1/2"):
        Share.parse(text)
