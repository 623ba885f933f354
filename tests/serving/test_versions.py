"""Several models, their versions, and the change from one to the next while clients ask."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import contextmanager

import pytest

from serving import Server
from tests.serving.kit import call, write_half_plus_three, write_linear, write_pair

SOON = {"port": 0, "poll_seconds": 0.05}


@contextmanager
def eventually(seconds=10):
    """Waits until what is asserted holds."""
    end = time.monotonic() + seconds

    def holds(check):
        while time.monotonic() < end:
            if check():
                return
            time.sleep(0.02)
        raise AssertionError("it never came")

    yield holds


def publish(base, number, write=write_half_plus_three):
    """A version comes whole, as `zoo export` writes it."""
    made = write(base.parent / f"{base.name}-{number}.partial")
    made.rename(base / str(number))


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "model"
    base.mkdir()
    publish(base, 1)
    return base


def states(server):
    listed = call(server.url)[1]["model_version_status"]
    return {row["version"]: (row["state"], row["status"]["error_message"]) for row in listed}


def test_several_models_are_served(tmp_path):
    one, two = write_half_plus_three(tmp_path / "one"), write_pair(tmp_path / "two")
    with Server(one, two, port=0) as server:
        assert call(f"{server.root}/v1/models/one:predict", {"instances": [1]})[0] == 200
        assert call(f"{server.root}/v1/models/two:predict", {"instances": [1]})[0] == 400
        status, payload = call(f"{server.root}/v1/models/three")
        assert status == 404 and "this server has 'one', 'two'" in payload["error"]
        assert len(server.lines()) == 2
    with pytest.raises(ValueError, match="a model named 'one' is served already"):
        Server(one, one, port=0)


def test_a_new_version_takes_over_without_a_failed_request(base):
    with Server(base, **SOON) as server, eventually() as holds:
        assert server.name == "model"
        stop, answers = threading.Event(), []

        def ask():
            while not stop.is_set():
                answers.append(call(f"{server.url}:predict", {"instances": [1.0]}))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for number in (2, 3, 4, 5, 6):
            publish(base, number)
            holds(lambda number=number: list(states(server)) == [str(number)])
        stop.set()
        for thread in asking:
            thread.join()
        assert len(answers) > 20 and {status for status, _ in answers} == {200}
        assert call(f"{server.url}/versions/1:predict", {"instances": [1.0]})[0] == 404


def test_a_broken_version_is_refused_and_the_old_one_answers(base):
    with Server(base, **SOON) as server, eventually() as holds:
        publish(base, 2)
        holds(lambda: list(states(server)) == ["2"])
        broken = base.parent / "broken"
        shutil.copytree(base / "2", broken)
        (broken / "model.onnx").write_bytes(b"nonsense")
        broken.rename(base / "3")
        holds(lambda: "3" in states(server))
        told = states(server)
        assert told["2"] == ("AVAILABLE", "")
        assert told["3"][0] == "END" and "The file changed after the export" in told["3"][1]
        assert call(f"{server.url}:predict", {"instances": [1.0]}) == (200, {"predictions": [3.5]})
        shutil.copy(
            base / "2" / "model.onnx", base / "3" / "model.onnx"
        )  # mended: it is tried again
        holds(lambda: list(states(server)) == ["3"])


def test_the_newest_that_loads_is_served_from_the_start(base):
    publish(base, 2)
    (base / "2" / "model.onnx").write_bytes(b"nonsense")
    with Server(base, port=0) as server:
        assert states(server)["1"] == ("AVAILABLE", "")
    shutil.rmtree(base / "1")
    with pytest.raises(ValueError, match="The file changed after the export"):
        Server(base, port=0)


def test_a_version_with_a_label_stays(base):
    publish(base, 2, write_linear)
    with Server(base, labels={"stable": 1}, **SOON) as server, eventually() as holds:
        assert list(states(server)) == ["2", "1"]
        stable = f"{server.url}/labels/stable"
        assert call(f"{stable}:predict", {"instances": [1.0]}) == (200, {"predictions": [3.5]})
        assert call(stable)[1]["model_version_status"][0]["version"] == "1"
        publish(base, 3)
        holds(lambda: list(states(server)) == ["3", "1"])
        status, payload = call(f"{server.url}/labels/canary:predict", {"instances": [1.0]})
        assert status == 404 and "label: got 'canary'; this server has 'stable'" in payload["error"]


def test_half_a_version_is_left_alone(base):
    (base / "2").mkdir()
    (base / "notes").mkdir()
    with Server(base, **SOON) as server:
        time.sleep(0.2)
        assert list(states(server)) == ["1"]
        assert json.dumps(call(f"{server.url}/metadata")[1]).count('"x"') == 2
