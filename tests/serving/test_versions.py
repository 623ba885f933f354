"""Several models, their versions, and the change from one to the next while clients ask."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from onnx import helper

from export.manifest import Manifest, digest
from serving import Server
from serving.http import rest
from serving.models import versions
from tests.serving.kit import (
    call,
    spec,
    write_half_plus_three,
    write_linear,
    write_onnx,
    write_pair,
)

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


def write_plus(number):
    """x + 10 times a number, so that each version answers otherwise."""

    def write(directory):
        nodes = [helper.make_node("Add", ["x", "more"], ["y"])]
        constants = [("more", np.float32(10 * number))]
        return write_onnx(directory, nodes, [spec("x", (None,))], [spec("y", (None,))], constants)

    return write


@pytest.fixture(autouse=True)
def queued(monkeypatch):
    """What these models take is so little that nothing would wait for a worker."""
    monkeypatch.setattr(versions, "QUICK_SECONDS", 0)


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
    with pytest.raises(
        ValueError, match=r"'one' is served already\. Serve both as versions, one/1 and"
    ):
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
            publish(base, number, write_plus(number))
            holds(lambda number=number: list(states(server)) == [str(number)])
            begun = len(answers) + 3  # those that asked before may still have the old one
            holds(lambda begun=begun: len(answers) > begun)
            assert answers[-1] == (200, {"predictions": [10.0 * number + 1]})
        stop.set()
        for thread in asking:
            thread.join()
        known = [3.5, 21.0, 31.0, 41.0, 51.0, 61.0]
        assert {status for status, _ in answers} == {200}
        assert {payload["predictions"][0] for _, payload in answers} == set(known)
        assert call(f"{server.url}/versions/1:predict", {"instances": [1.0]})[0] == 404


def test_a_request_is_answered_by_the_version_that_read_it(base, monkeypatch):
    """It is read in a thread, as it is large; meanwhile another version takes over."""
    go, begun, decode = threading.Event(), threading.Event(), rest.decode

    def held(*arguments):
        begun.set()
        assert go.wait(30)
        return decode(*arguments)

    monkeypatch.setattr(rest, "decode", held)
    with Server(base, **SOON) as server, eventually() as holds, ThreadPoolExecutor(1) as pool:
        body = json.dumps({"instances": [1.0]}).ljust(2**18).encode()
        late = pool.submit(call, f"{server.url}:predict", body)
        assert begun.wait(10)
        publish(base, 2, write_plus(2))
        holds(lambda: list(states(server)) == ["2"])
        go.set()
        assert late.result() == (200, {"predictions": [3.5]})
        assert call(f"{server.url}:predict", {"instances": [1.0]})[1] == {"predictions": [21.0]}


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
        assert (
            told["3"][0] == "END"
            and "not complete yet, or changed after the export" in told["3"][1]
        )
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
    with pytest.raises(ValueError, match="not complete yet, or changed after the export"):
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


def test_half_a_version_is_waited_for(base, caplog):
    (base / "2").mkdir()
    (base / "notes").mkdir()
    with Server(base, **SOON) as server, eventually() as holds:
        time.sleep(0.2)
        waiting = ("START", "waits for its manifest.json")
        assert states(server) == {"2": waiting, "1": ("AVAILABLE", "")}
        assert caplog.text.count("model version 2: waits for its manifest.json") == 1
        assert call(f"{server.url}/versions/2")[1]["model_version_status"][0]["state"] == "START"
        assert call(f"{server.url}/versions/2:predict", {"instances": [1.0]})[0] == 404
        made = write_plus(2)(base.parent / "two")
        shutil.copy(made / "manifest.json", base / "2")  # as `cp -r` does, it comes first
        holds(lambda: "copy it whole" in states(server)["2"][1])
        content = (made / "model.onnx").read_bytes()
        (base / "2" / "model.onnx").write_bytes(content[:50])
        holds(lambda: "not complete yet, or changed" in states(server)["2"][1])
        (base / "2" / "model.onnx").write_bytes(content)
        holds(lambda: list(states(server)) == ["2"])
    (base / "3").mkdir()
    with Server(base, **SOON) as server:
        assert json.dumps(call(f"{server.url}/metadata")[1]).count('"x"') == 2


def test_a_folder_within_a_version_may_come_late(base):
    """Of OpenVINO and SavedModel the files lie in a folder, whose times do not change with them."""
    made = write_plus(2)(base.parent / "two")
    inner = made / "inner"
    inner.mkdir()
    (made / "model.onnx").rename(inner / "model.onnx")
    manifest = Manifest.read(made)
    manifest.model_copy(update={"file": "inner", "sha256": digest(inner)}).write(made)
    content = (inner / "model.onnx").read_bytes()
    (inner / "model.onnx").write_bytes(content[:50])
    with Server(base, **SOON) as server, eventually() as holds:
        made.rename(base / "2")
        holds(lambda: "2" in states(server))
        (base / "2" / "inner" / "model.onnx").write_bytes(content)
        holds(lambda: list(states(server)) == ["2"])
        assert call(f"{server.url}:predict", {"instances": [1.0]})[1] == {"predictions": [21.0]}


def test_another_model_takes_over_with_a_word(base, caplog):
    with Server(base, **SOON) as server, eventually() as holds:
        publish(base, 2, write_pair)
        holds(lambda: list(states(server)) == ["2"])
    told = "model version 2: unlike version 1: "
    assert f"{told}inputs: 'signal float32 (5,), sensor float32 (2, 2)', not 'x f" in caplog.text
    assert (
        f"{told}the name in its manifest: 'model-2.partial', not 'model-1.partial'" in caplog.text
    )
    assert f"{told}task" not in caplog.text


def test_files_that_are_replaced_are_told_of(base, caplog):
    with Server(base, **SOON) as server, eventually() as holds:
        other = write_plus(1)(base.parent / "other")
        (base / "1" / "note").write_text("nothing that is served")
        time.sleep(0.2)
        assert "were replaced" not in caplog.text
        shutil.rmtree(base / "1")
        other.rename(base / "1")
        holds(lambda: "model version 1: its files were replaced; what was lo" in caplog.text)
        assert call(f"{server.url}:predict", {"instances": [1.0]}) == (200, {"predictions": [3.5]})


def test_a_label_of_no_version_is_told(base, caplog):
    with Server(base, port=0, labels={"stable": 7}) as server:
        assert (
            "model: label 'stable' is of version 7, which is not there yet; there is 1"
            in caplog.text
        )
        status, told = call(f"{server.url}/labels/stable:predict", {"instances": [1.0]})
        assert status == 404
        assert told["error"] == "label: 'stable' is of version 7; this server has 1."
    with pytest.raises(
        ValueError, match=r"labels: got 'moddel'; expected names of models: 'model'"
    ):
        Server(base, port=0, labels={"moddel": {"stable": 1}})


def test_a_lower_version_comes_while_the_greatest_is_broken(base):
    with Server(base, **SOON) as server, eventually() as holds:
        broken = write_plus(9)(base.parent / "broken")
        (broken / "model.onnx").write_bytes(b"nonsense")
        broken.rename(base / "9")
        holds(lambda: "9" in states(server))
        publish(base, 2, write_plus(2))
        holds(lambda: list(states(server)) == ["9", "2"])
        assert call(f"{server.url}:predict", {"instances": [1.0]})[1] == {"predictions": [21.0]}


def test_labels_are_of_a_model(base, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    publish(other, 1, write_plus(1))
    publish(other, 2, write_plus(2))
    publish(base, 2)
    labels = {"stable": 2, "other": {"stable": 1}}
    with Server(base, other, port=0, labels=labels) as server:
        for name, answer in (("model", 3.5), ("other", 11.0)):
            url = f"{server.root}/v1/models/{name}"
            found = call(f"{url}/labels/stable:predict", {"instances": [1.0]})
            assert found == (200, {"predictions": [answer]})
        assert list(states(server)) == ["2"]
    with pytest.raises(ValueError, match="labels"):
        Server(base, labels={"other": {"stable": "x"}})


@pytest.mark.parametrize("path", ["7", "0" * 30 + "1", "9" * 30, "1" * 5000, "x", "-1"])
def test_a_number_is_what_it_says(base, path):
    with Server(base, port=0) as server:
        status, payload = call(f"{server.url}/versions/{path}:predict", {"instances": [1.0]})
        assert status == 404 and payload["error"].startswith("version: got ")


def test_numbers_are_of_64_bits(base):
    publish(base, 2**63 - 1, write_plus(2))
    publish(base, 2**63, write_plus(3))
    with Server(base, port=0) as server:
        assert list(states(server)) == [str(2**63 - 1)]
        url = f"{server.url}/versions/{2**63 - 1}"
        assert call(f"{url}:predict", {"instances": [1.0]}) == (200, {"predictions": [21.0]})
