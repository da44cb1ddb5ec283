"""`sdjax bench classify` at a tiny size."""

import json

from sdjax import cli


def test_bench_classify(command, tmp_path):
    done = command(
        cli.main,
        *("bench", "classify", "--hidden", 8, "--texts", 6, "--rounds", 2),
        *("--json", tmp_path / "rows.json"),
    )
    assert done.status == 0, done.err
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    bare, *others = [row["variant"] for row in rows]
    assert bare == "bare encoder" and len(others) == 3
    assert all(row["rows"] == 6 and row["seconds"] > 0 for row in rows)
    assert [row["speed"] is None for row in rows] == [True, False, False, False]
    assert rows[1]["characters"] == rows[0]["characters"] > 6
