"""`sdjax bench service` at a tiny size."""

import json

from sdjax import cli


def test_bench_service(command, tmp_path):
    done = command(
        cli.main,
        *("bench", "service", "--hidden", 8, "--texts", 6, "--clients", 3),
        *("--rounds", 2, "--json", tmp_path / "rows.json"),
    )
    assert done.status == 0, done.err
    one, queue = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert one["variant"] == "one request at a time" and one["speed"] is None
    assert queue["variant"] == "the queue" and queue["speed"] > 0
    for row in (one, queue):
        assert row["requests"] == 6 and row["characters"] > 6
        assert 0 < row["median_latency"] <= row["latency_99"] <= 2 * row["seconds"]
