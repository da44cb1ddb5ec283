"""`sdjax download`: what it prints, its check of the weights, and what it refuses."""

import pytest
from fixtures_run import assert_refused
from local_server import Server, openai_checks, weights_of, write_openai

from sdjax.checkpoints import names, registry
from sdjax.inference.check import LARGEST

UNIT = 5
PUBLISHED = registry.KNOWN["openai"].checks
CHECKS = openai_checks(UNIT)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a small model as openai; return a function that changes its entry."""
    monkeypatch.setenv(names.CACHE, str(tmp_path / "cache"))
    server = Server(write_openai(tmp_path / "published"))

    def point(**changes):
        weights = weights_of(server.folder, server.address, checks=CHECKS)
        weights = weights._replace(**changes)
        monkeypatch.setitem(registry.KNOWN, "openai", weights)
        return server

    point()
    yield point
    server.close()


def test_it_is_fetched_once_and_listed(serve, command, tmp_path):
    before = command.sdjax("download", "--list")
    assert before.status == 0
    lines = before.out.splitlines()
    assert lines[0].split() == ["name", "size", "licence", "here", "source"]
    assert [line.split()[0] for line in lines[1:-1]] == list(registry.KNOWN)
    assert "yes" not in before.out and "CC BY-NC 4.0" in before.out
    done = command.sdjax("download", "openai")
    assert done.status == 0, done.err
    assert str(tmp_path / "cache" / "openai") in done.out
    assert "MIT" in done.out and "English Amazon reviews only" in done.out
    (line,) = [
        line
        for line in command.sdjax("download", "--list").out.splitlines()
        if line.startswith("openai ")
    ]
    assert " yes " in line
    scored = command.sdjax("classify", "openai", "--unit", UNIT, CHECKS[0].text)
    assert f"{CHECKS[0].value:+.4f}" in scored.out


def test_the_check_agrees_with_their_own_equations(serve, command):
    done = command.sdjax("download", "openai", "--check")
    assert done.status == 0, done.out + done.err
    head, *rows = done.out[done.out.index("unit ") :].splitlines()
    assert head.split() == ["unit", "published", "measured", "difference", "text"]
    for row, check in zip(rows[:8], CHECKS, strict=True):
        unit, expected, measured, difference = row.split()[:4]
        assert int(unit) == UNIT and float(expected) == check.value
        assert float(measured) == pytest.approx(check.value, abs=2e-6)
        assert abs(float(difference)) < 2e-6
        assert check.text.strip() in row
    assert "all agree" in rows[-1]


def test_the_check_finds_one_value_that_differs(serve, command):
    off = CHECKS[3]._replace(value=CHECKS[3].value + 1.1 * LARGEST)
    serve(checks=(*CHECKS[:3], off, *CHECKS[4:]))
    done = command.sdjax("download", "openai", "--check")
    assert done.status == 1
    assert "1 of 8 differ" in done.out
    assert "does not compute what is known of openai" in done.err
    near = CHECKS[3]._replace(value=CHECKS[3].value + 0.9 * LARGEST)
    serve(checks=(*CHECKS[:3], near, *CHECKS[4:]))
    assert command.sdjax("download", "openai", "--check").status == 0


def test_a_value_that_is_no_number_never_agrees(serve, command):
    serve(checks=(CHECKS[0]._replace(value=float("nan")),))
    assert command.sdjax("download", "openai", "--check").status == 1


def test_random_weights_do_not_pass_as_the_published_ones(serve, command):
    serve(checks=tuple(check._replace(unit=UNIT) for check in PUBLISHED))
    done = command.sdjax("download", "openai", "--check")
    assert done.status == 1 and "8 of 8 differ" in done.out


def test_another_cache_is_used_and_other_commands_are_told(serve, command, tmp_path):
    there = tmp_path / "elsewhere"
    done = command.sdjax("download", "openai", "--cache", there)
    assert done.status == 0 and (there / "openai").is_dir()
    assert f"{names.CACHE}={there}" in done.err
    assert not (tmp_path / "cache").exists()
    listed = command.sdjax("download", "--list", "--cache", there)
    assert f"in {there}" in listed.out and " yes " in listed.out


def test_nvidia_is_said_to_be_fetched_by_hand(command, monkeypatch, tmp_path):
    monkeypatch.setenv(names.CACHE, str(tmp_path))
    done = command.sdjax("download", "nvidia")
    assert done.status == 1
    assert "https://drive.google.com/file/d/" in done.out
    assert ".pt file of about 169 MB" in done.out
    line = f"sdjax convert --from nvidia FILE.pt --out {tmp_path / 'nvidia'}"
    assert line in done.out
    assert "was not downloaded" in done.err and not list(tmp_path.iterdir())
    (tmp_path / "nvidia").mkdir()
    assert command.sdjax("download", "nvidia").status == 0


def test_what_is_refused(serve, command):
    assert_refused(command.sdjax("download"), "--list")
    assert_refused(command.sdjax("download", "opnai"), "opnai", "unirep-1900")
    assert_refused(command.sdjax("download", "openai", "--list"), "--list goes alone")
    offline = command.sdjax("download", "openai", "--offline")
    assert_refused(offline, "--offline fetches nothing", "0.npy")
    assert_refused(command.sdjax("download", "nvidia", "--check"), "no values")


def test_a_cache_that_cannot_be_written(serve, command, tmp_path):
    (tmp_path / "file").write_text("")
    cache = "--cache", tmp_path / "file"
    done = command.sdjax("download", "openai", *cache)
    assert_refused(done, str(tmp_path / "file"), status=1)
