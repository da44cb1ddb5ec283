"""The service of docs/service.md, over HTTP, with 200 requests at once."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import uvicorn
from documentation import ROOT, blocks

from sdjax.features import file as feature_file
from sdjax.inference.score_queue import ScoreQueue
from sdjax.inference.unit_scoring import open_scorer
from sdjax.probe import l1_probe

REQUESTS = 200


@pytest.fixture(scope="module")
def service(tiny_run, tmp_path_factory):
    """What the page's lines define, where a classifier of the tiny run lies."""
    folder = tmp_path_factory.mktemp("service")
    splits = [feature_file.load(path) for path in tiny_run.features.values()]
    classifier = l1_probe.run_probe(*splits, n_jobs=1).classifier
    classifier.save(folder / "report" / "classifier")
    (block,) = blocks(ROOT / "docs" / "service.md", "python")
    defined = {}
    with contextlib.chdir(folder):
        exec(compile(block, "docs/service.md", "exec"), defined)
        defined["alone"] = open_scorer("report/classifier")
    with defined["queue"]:
        yield defined


@pytest.fixture(scope="module")
def client(service):
    """A client of that service, which listens on a port of this machine."""
    server = uvicorn.Server(uvicorn.Config(service["app"], port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    limits = httpx.Limits(max_connections=REQUESTS)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60, trust_env=False
    ) as client:
        yield client
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def test_200_requests_at_once_get_what_the_scorer_gives_alone(
    service, client, monkeypatch
):
    rng = np.random.default_rng(0)
    requests = [
        [f"{n} " + "good bad " * int(rng.integers(0, 60)) for _ in range(1 + n % 3)]
        for n in range(REQUESTS)
    ]
    alone = [service["alone"].score(texts) for texts in requests]
    featurizer = service["queue"]._scorer.featurizer
    read, batches = featurizer.transform_bytes, []

    def noted(encoded):
        batches.append(len(encoded))
        return read(encoded)

    monkeypatch.setattr(featurizer, "transform_bytes", noted)
    together = threading.Barrier(REQUESTS)

    def ask(texts):
        together.wait(60)
        return client.post("/score", json=texts)

    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(ask, requests))
    for answer, scores in zip(answers, alone, strict=True):
        assert answer.status_code == 200
        assert answer.json() == [
            {**score._asdict(), "called": list(score.called)} for score in scores
        ]
    assert sum(batches) == sum(map(len, requests)) and len(batches) < REQUESTS / 4


def test_what_is_refused_says_why(service, client, monkeypatch):
    refused = client.post("/score", json=["a"] * 1025)
    assert refused.status_code == 422 and "1,025 texts" in refused.json()["detail"]
    small = ScoreQueue(service["alone"], capacity=1)
    monkeypatch.setitem(service, "queue", small)
    began, go_on = threading.Event(), threading.Event()

    def held(encoded):
        began.set()
        assert go_on.wait(60)
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(service["alone"].featurizer, "transform_bytes", held)
    with small, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/score", json=["a"])
        assert began.wait(60)
        full = client.post("/score", json=["b"])
        assert full.status_code == 503 and "try again" in full.json()["detail"]
        go_on.set()
        assert first.result().status_code == 500
