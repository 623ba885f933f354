"""Requests that wait together run together, and each gets its own answer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import helper

from serving import Server
from serving.models import versions
from serving.models.batching import Batcher, BusyError, ClosedError
from tests.serving.kit import IMAGES, WEIGHTS, call, predict, spec, write_onnx


class Slow:
    """An engine that doubles, and notes its batches."""

    def __init__(self, seconds=0.05):
        self.seconds, self.sizes = seconds, []

    def predict(self, inputs):
        time.sleep(self.seconds)
        (x,) = inputs.values()
        self.sizes.append(len(x))
        if (x < 0).any():
            raise RuntimeError("below zero")
        return {"y": 2 * x}


def batcher(engine, **changes):
    told = []
    usual = {"max_batch": 8, "wait_seconds": 0.0, "max_waiting": 100}
    made = Batcher(
        [engine] * changes.pop("workers", 1),
        **usual | changes,
        seen=lambda *a: told.append(a),
        queued=lambda _: None,
    )
    made.told = told
    return made


def column(*values):
    return {"x": np.array(values, "float32")[:, None]}


def busy(engine):
    """A batcher whose worker has one example in hand."""
    one = batcher(engine)
    one.submit(column(0))
    while one.waiting:
        time.sleep(0.001)
    return one


def test_what_waits_is_one_run_and_each_gets_its_own_rows():
    engine = Slow()
    one = busy(engine)
    answers = [one.submit(column(*range(n, n + size))) for n, size in enumerate([1, 2, 3, 1, 4])]
    for n, (size, answer) in enumerate(zip([1, 2, 3, 1, 4], answers, strict=True)):
        np.testing.assert_array_equal(answer.result(5)["y"][:, 0], 2 * np.arange(n, n + size))
    one.close()
    assert engine.sizes == [1, 7, 4] == [rows for rows, _, _ in one.told]
    assert [requests for _, requests, _ in one.told] == [1, 4, 1]


def test_one_that_fails_does_not_take_others_with_it():
    one = batcher(Slow())
    answers = [one.submit(column(value)) for value in (1, 2, -3, 4)]
    assert [answers[place].result(5)["y"][0, 0] for place in (0, 1, 3)] == [2, 4, 8]
    with pytest.raises(RuntimeError, match="below zero"):
        answers[2].result(5)
    one.close()


def test_sizes_that_differ_are_not_put_together():
    engine = Slow()
    one = busy(engine)
    wide = {"x": np.ones((1, 3), "float32")}
    answers = [one.submit(given) for given in (column(1), column(2), wide, wide, column(3))]
    assert [answer.result(5)["y"].shape[1] for answer in answers] == [1, 1, 3, 3, 1]
    one.close()
    assert engine.sizes == [1, 2, 2, 1]


def test_a_batch_waits_for_others_if_it_may():
    engine = Slow(0)
    one = batcher(engine, wait_seconds=0.5, max_batch=4)
    start = time.monotonic()
    answers = [one.submit(column(value)) for value in range(4)]
    assert [answer.result(5)["y"][0, 0] for answer in answers] == [0, 2, 4, 6]
    assert engine.sizes == [4] and time.monotonic() - start < 0.4
    one.close()


def test_too_many_are_refused_and_a_large_one_alone_is_not():
    one = batcher(Slow(0.2), max_waiting=3)
    first = one.submit(column(*range(50)))
    time.sleep(0.05)  # it runs
    held = [one.submit(column(1, 2, 3))]
    with pytest.raises(BusyError):
        one.submit(column(1))
    assert len(first.result(5)["y"]) == 50 and len(held[0].result(5)["y"]) == 3
    one.close()
    with pytest.raises(ClosedError):
        one.submit(column(1))


def test_closing_answers_what_waits():
    one = batcher(Slow(), workers=2)
    answers = [one.submit(column(value)) for value in range(20)]
    one.close()
    assert all(answer.done() for answer in answers)


def test_a_worker_that_is_free_takes_what_does_not_fit(monkeypatch):
    """Two workers: one gathers, and is woken by what it cannot take along."""
    go = threading.Event()

    class Engine:
        def predict(self, inputs):
            (x,) = inputs.values()
            if x.shape[1] == 1:
                assert go.wait(30)
            return {"y": 2 * x}

    one = batcher(Engine(), workers=2, wait_seconds=2.0, max_batch=2)
    wide = {"x": np.ones((2, 3), "float32")}
    try:
        first = one.submit(column(1))
        time.sleep(0.05)  # one worker waits for others of its kind
        assert len(one.submit(wide).result(1)["y"]) == 2  # the other is free again, and waits
        time.sleep(0.05)
        assert len(one.submit(wide).result(1)["y"]) == 2
    finally:
        go.set()
    assert first.result(5)["y"][0, 0] == 2
    one.close()


@pytest.mark.parametrize("name", ["linear", "lite"])
def test_answers_of_many_clients_are_their_own(folder, name, request, monkeypatch):
    """Each answer is checked against its request, by another way to compute it."""
    request.getfixturevalue(name)
    monkeypatch.setattr(versions, "QUICK_SECONDS", 0)
    right = []
    with Server(folder / name, port=0) as server:

        def ask(seed):
            images = np.random.RandomState(seed).randn(1 + seed % 3, 4, 4, 1).round(3)
            status, payload = predict(server, {"instances": images.tolist()})
            expected = images.reshape(-1, 16) @ WEIGHTS
            right.append(status == 200 and np.allclose(payload["predictions"], expected, atol=1e-4))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(200)))
        text = told(server)
    assert len(right) == 200 and all(right)
    # With one answer for each request the batches, too, are as many; ONNX put some together.
    runs = float(text.partition(f'zoo_run_seconds_count{{model="{name}"}} ')[2].split()[0])
    assert runs < 200 if name == "linear" else runs == sum(1 + seed % 3 for seed in range(200))


def write_kept(directory):
    """A graph that loses the rows that are not 0."""
    nodes = [
        helper.make_node("Equal", ["x", "zero"], ["kept"]),
        helper.make_node("Compress", ["x", "kept"], ["y"], axis=0),
    ]
    constants = [("zero", np.float32(0))]
    return write_onnx(directory, nodes, [spec("x", (None,))], [spec("y", (None,))], constants)


@pytest.mark.parametrize("wait_seconds", [0, 0.3])
def test_rows_that_are_lost_are_nobody_else_s(tmp_path, wait_seconds):
    directory = write_kept(tmp_path / "kept")
    with (
        Server(directory, port=0, wait_seconds=wait_seconds, max_batch=3) as server,
        ThreadPoolExecutor(3) as pool,
    ):
        asked = [pool.submit(predict, server, {"instances": [value]}) for value in (0, 1, 0)]
        found = [answer.result() for answer in asked]
    assert found[0] == found[2] == (200, {"predictions": [0.0]})
    assert found[1][0] == 500 and "got shape (0,) for 1 examples" in found[1][1]["error"]


def test_batches_are_counted(folder, linear):
    with Server(folder / "linear", port=0, wait_seconds=0.3, max_batch=4) as server:
        body = {"instances": IMAGES[:1].tolist()}
        threads = [threading.Thread(target=predict, args=(server, body)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        text = told(server)
    assert 'zoo_batch_examples_bucket{le="2.0",model="linear"} 0.0' in text
    assert 'zoo_batch_examples_bucket{le="4.0",model="linear"} 1.0' in text
    assert 'zoo_requests_total{api="predict",code="200",model="linear",version="1"} 4.0' in text
    assert 'zoo_waiting_examples{model="linear",version="1"} 0.0' in text


def told(server):
    import urllib.request

    with urllib.request.urlopen(f"{server.root}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def test_mistakes_are_counted_by_their_code(linear):
    before = told(linear)
    call(f"{linear.url}:predict", {"instances": [1]})
    call(f"{linear.root}/v1/models/nothing:predict", {"instances": [1]})  # makes no row of its own
    after = told(linear)
    row = 'zoo_requests_total{api="predict",code="400",model="linear",version="1"}'

    def count(text):
        return float(next((line.split()[1] for line in text.splitlines() if row in line), 0))

    assert count(after) == count(before) + 1 and "nothing" not in after
    row = 'zoo_http_answers_total{code="404"}'
    assert count(after) == count(before) + 1
