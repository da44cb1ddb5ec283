"""Published weights from a server: whole and as published, or not there at all."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import local_server
import numpy as np
import pytest
import tiny
from fixtures_run import ROOT
from foreign import random_params
from local_server import Server, weights_of, write_openai
from test_full_disk import file_limit

from sdjax.checkpoints import download, published, registry
from sdjax.checkpoints.convert import openai
from sdjax.checkpoints.load import load_model
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of a small model; what is fetched from it goes to `cache`."""
    monkeypatch.setattr(download, "RETRIES", 0)
    served = Server(write_openai(tmp_path / "published"))
    served.weights = weights_of(served.folder, served.address)
    served.cache = tmp_path / "cache"
    yield served
    served.close()


def fetch(server, **options):
    return download.download(server.weights, server.cache, progress=False, **options)


def assert_arrived(server) -> None:
    """The checkpoint is the published model; nothing else is left in the cache."""
    expected = openai.read(server.folder)
    found = load_model(server.cache / "openai")
    tiny.assert_trees_equal(found.params, expected.params)
    assert not published.verify(server.cache / "openai").problems
    assert [path.name for path in server.cache.iterdir()] == ["openai"]


def test_the_whole_way_from_the_files_to_a_published_folder(server):
    folder = fetch(server)
    assert_arrived(server)
    assert set(server.asked.values()) == {1} and len(server.asked) == 15
    source = published.open_folder(folder).config["about"]["source"]
    assert source["licence"] == "MIT" and source["address"] == server.address
    assert len(source["sha256"]) == 15
    card = (folder / published.CARD).read_text()
    assert "license: mit\n" in card and "| licence | MIT |" in card
    assert "English Amazon reviews only" in card and server.address in card
    assert fetch(server) == folder and set(server.asked.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (local_server.wrong_content, "is not the published file"),
        (local_server.a_page_instead, "is not the published file (37 bytes"),
        (local_server.truncated, "could not be fetched"),
        (local_server.truncated_unnoticed, "is not the published file"),
        (local_server.stalled, "could not be fetched .*timed out"),
        (local_server.error(404), "the server answers 404 Not Found"),
        (local_server.error(503), "could not be fetched .503"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_one_line_and_the_next_try_goes_on(
    server, monkeypatch, fault, words
):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.faults["7.npy"] = fault
    with pytest.raises(InputError) as refused:
        fetch(server)
    line = str(refused.value)
    assert line.startswith(f"{server.address}7.npy: ") and "\n" not in line
    assert re.search(words.replace("(", r"\("), line), line
    files = server.cache / "openai.files"
    left = sorted(path.name for path in files.iterdir())
    assert left == sorted(f"{index}.npy" for index in range(7))
    assert not (server.cache / "openai").exists()
    del server.faults["7.npy"]
    fetch(server)
    assert_arrived(server)
    asked = [server.asked[f"{index}.npy"] for index in range(15)]
    assert asked == [1] * 7 + [2] + [1] * 7


def test_a_slow_server_is_waited_for(server):
    server.faults["3.npy"] = local_server.slow
    fetch(server)
    assert_arrived(server)


def test_a_fault_that_goes_away_is_tried_again_and_no_other(server, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    server.faults["2.npy"] = local_server.times(1, local_server.truncated)
    server.faults["4.npy"] = local_server.times(1, local_server.error(500))
    server.faults["5.npy"] = local_server.times(1, local_server.error(429))
    fetch(server)
    assert_arrived(server)
    shutil.rmtree(server.cache)
    server.faults["2.npy"] = local_server.error(404)
    before = server.asked["2.npy"]
    with pytest.raises(InputError, match="404"):
        fetch(server)
    assert server.asked["2.npy"] == before + 1


def test_a_server_that_refuses(server):
    server.close()
    with pytest.raises(InputError, match="0.npy: could not be fetched .*refused"):
        fetch(server)


def test_too_little_room_is_said_before_anything_is_fetched(server, monkeypatch):
    usage = shutil._ntuple_diskusage(10, 10, server.weights.size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="takes 0 MB while it is downloaded") as refused:
        fetch(server)
    assert refused.value.filename == str(server.cache) and not server.asked


def test_a_disk_that_is_full_all_the_same(server):
    """In the middle of a file, and in the middle of the conversion."""
    largest = max(path.stat().st_size for path in server.folder.iterdir())
    with file_limit() as limit:
        limit(largest // 2)
        with pytest.raises(OSError, match="File too large") as refused:
            fetch(server)
        assert refused.value.filename == str(server.cache / "openai.files")
        limit(largest)
        with pytest.raises(OSError) as refused:
            fetch(server)
        assert refused.value.filename == str(server.cache / "openai")
    assert not (server.cache / "openai").exists()
    assert not list(server.cache.glob(".openai.*.tmp"))
    asked = server.asked.total()
    fetch(server)
    assert_arrived(server)
    assert server.asked.total() == asked  # all files were here


def test_two_at_once(server):
    """The second is told so, and the first goes on."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(request, data):
        reached.set()
        go_on.wait(30)
        return local_server.answer(request, data)

    server.faults["5.npy"] = wait
    first = threading.Thread(target=fetch, args=(server,))
    first.start()
    assert reached.wait(30)
    with pytest.raises(InputError, match="another process downloads openai"):
        fetch(server)
    go_on.set()
    first.join()
    assert_arrived(server)


def test_a_file_that_lies_there_and_is_not_whole_is_fetched_again(server, capsys):
    files = server.cache / "openai.files"
    shutil.copytree(server.folder, files)
    (files / "6.npy").write_bytes((files / "6.npy").read_bytes()[:-4])
    (files / "tmpabcdef").write_bytes(b"left by a killed process")
    with pytest.raises(InputError, match="1 of 15 files are missing or not whole"):
        fetch(server, offline=True)
    assert (files / "6.npy").exists()  # somebody may have put it there
    fetch(server)
    assert "6.npy is not the published file" in capsys.readouterr().err
    assert_arrived(server)
    assert dict(server.asked) == {"6.npy": 1}


def test_offline_takes_files_that_were_put_there(server):
    with pytest.raises(InputError, match="15 of 15 files are missing .*; put 0.npy"):
        fetch(server, offline=True)
    shutil.copytree(server.folder, server.cache / "openai.files", dirs_exist_ok=True)
    fetch(server, offline=True)
    assert_arrived(server)
    fetch(server, offline=True)
    assert not server.asked


def test_a_damaged_checkpoint_is_made_again(server, capsys):
    weights = fetch(server) / published.WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Damaged):
        load_model(weights.parent)
    fetch(server)
    assert "it is made again" in capsys.readouterr().err
    assert_arrived(server)


def test_something_else_in_its_place_is_left_alone(server):
    folder = server.cache / "openai"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match="is not a checkpoint of http.*move it away"):
        fetch(server)
    folder.rmdir()
    model = tiny.model()
    published.write(model, random_params(model), Normalisation(), folder)
    with pytest.raises(InputError, match="is not a checkpoint of http.*move it away"):
        fetch(server)
    assert not published.verify(folder).problems and not server.asked


def test_every_id_in_the_registry_is_one_of_git():
    for weights in registry.KNOWN.values():
        if isinstance(weights, registry.Weights):
            assert weights.address.startswith("https://") and weights.checks
            assert all(len(bytes.fromhex(b)) == 20 for b in weights.files.values())
    assert list(registry.KNOWN["openai"].files) == [f"{n}.npy" for n in range(15)]


def test_the_id_of_a_file_is_that_of_git(tmp_path):
    (tmp_path / "a").write_bytes(b"test content\n")  # the example of git's manual
    found = download.blob_id(tmp_path / "a")
    assert found == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from local_server import weights_of
from sdjax.checkpoints import download
print("begins", flush=True)
weights = weights_of(Path({folder!r}), {address!r})
download.download(weights, Path({cache!r}), progress=False)
"""


@pytest.mark.slow
def test_killed_ten_times(server):
    """Nothing that is not whole ever has the name; the last try arrives."""
    for name in server.weights.files:
        server.faults[name] = local_server.slow
    program = PROGRAM.format(
        tests=str(ROOT / "tests"),
        folder=str(server.folder),
        address=server.address,
        cache=str(server.cache),
    )
    rng, killed = random.Random(0), 0
    while killed < 10:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with process:
            process.stdout.readline()
            time.sleep(rng.uniform(0.1, 0.8))
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        if (server.cache / "openai").exists():
            assert not published.verify(server.cache / "openai").problems
            shutil.rmtree(server.cache)  # it was quick; begin anew
    fetch(server)
    assert_arrived(server)


@pytest.mark.slow
def test_the_full_size_stays_within_memory(tmp_path):
    """A random model of 4,096 units: 345 MB are fetched and converted below 2 GB."""
    from foreign import openai_arrays

    arrays = openai_arrays(hidden=4096, width=64)
    served = Server(write_openai(tmp_path / "published", arrays))
    program = PROGRAM.format(
        tests=str(ROOT / "tests"),
        folder=str(served.folder),
        address=served.address,
        cache=str(tmp_path / "cache"),
    )
    program += "import resource\nusage = resource.getrusage(resource.RUSAGE_SELF)\n"
    program += "print(usage.ru_maxrss)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    served.close()
    assert int(done.stdout.split()[-1]) < 2e6  # kilobytes
    found = load_model(tmp_path / "cache" / "openai").params
    np.testing.assert_array_equal(found["recurrent"]["wmh"], arrays[7])
