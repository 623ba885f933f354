"""States between requests, and text as it is written."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

import serving
from export.manifest import Manifest
from serving import Server
from serving.engines import open_deployable
from serving.errors import RefusedError
from serving.models.sessions import Sessions
from tests.serving.kit import call, predict, write_sum


@pytest.fixture(scope="module")
def total(folder):
    with Server(write_sum(folder / "sum"), port=0) as server:
        yield server


def say(server, value, session=""):
    status, payload = predict(server, {"session": session, "instances": [{"x": [value]}]})
    return status, payload


def test_states_are_kept_from_request_to_request(total):
    _, first = say(total, 1.0)
    one = first["session"]
    assert first["predictions"] == [[1.0]] and len(one) == 32
    assert say(total, 2.0, one) == (200, {"predictions": [[3.0]], "session": one})
    _, other = say(total, 10.0)
    assert other["session"] != one and other["predictions"] == [[10.0]]
    assert say(total, 4.0, one)[1]["predictions"] == [[7.0]]
    columns = {"session": one, "inputs": {"x": [[1.0]]}}
    assert predict(total, columns) == (200, {"outputs": [[8.0]], "session": one})
    whole = {"instances": [{"x": [1], "total": [2]}]}  # without a session all is told
    assert predict(total, whole)[1]["predictions"] == [{"y": [3.0], "next_total": [3.0]}]


def test_a_request_that_is_refused_changes_nothing(total):
    one = say(total, 1.0)[1]["session"]
    for values in ("a", None):
        assert say(total, values, one)[0] == 400
    two = {"session": one, "instances": [{"x": [1.0]}, {"x": [2.0]}]}
    assert "expected one example" in predict(total, two)[1]["error"]
    assert say(total, 3e38, one)[0] == 200
    status, payload = say(total, 3e38, one)  # infinite, which JSON cannot carry
    assert status == 400 and "not finite" in payload["error"]
    assert say(total, -3e38, one)[0] == 200


def test_what_is_no_session_is_refused(total, linear):
    status, payload = say(total, 1.0, "unknown")
    assert status == 404 and "session: 'unknown' has ended" in payload["error"]
    assert say(total, 1.0, 7)[0] == 400
    status, payload = predict(linear, {"session": "", "instances": [1]})
    assert status == 400 and "linear carries no states" in payload["error"]


def signature(folder):
    return open_deployable(folder / "sum", num_threads=1)[1].signature


def test_sessions_are_bounded_and_expire(folder, total):
    kept = Sessions(signature(folder), most=2)
    names = []
    for _ in range(3):
        name, states = kept.begin("")
        kept.end(name, states)
        names.append(name)
    with pytest.raises(RefusedError, match="has ended"):
        kept.begin(names[0])
    assert kept.begin(names[2])[0] == names[2]
    with pytest.raises(RefusedError, match="asked already"):
        kept.begin(names[2])
    brief = Sessions(signature(folder), seconds=0)
    name, states = brief.begin("")
    brief.end(name, states)
    with pytest.raises(RefusedError, match="has ended"):
        brief.begin(name)


def test_states_are_kept_alone_and_their_bytes_are_bounded(folder, total):
    kept, batch = Sessions(signature(folder), most_bytes=8), np.arange(1000, dtype="float32")
    names = [kept.begin("")[0] for _ in range(3)]
    for place, name in enumerate(names):
        kept.end(name, {"total": batch[place : place + 1, None]})
    batch[:] = -1
    with pytest.raises(RefusedError, match="has ended"):
        kept.begin(names[0])
    for place in (1, 2):
        _, states = kept.begin(names[place])
        assert states["total"].base is None and states["total"].item() == place


def test_one_that_was_asked_long_does_not_hide_another_s_end(folder, total):
    kept = Sessions(signature(folder), seconds=0.2)
    (slow, states), (other, _) = kept.begin(""), kept.begin("")
    kept.end(other, states)
    time.sleep(0.15)
    kept.end(slow, states)
    time.sleep(0.1)
    with pytest.raises(RefusedError, match="has ended"):
        kept.begin(other)
    assert kept.begin(slow)[0] == slow


def test_text_is_that_of_the_command(letters):
    options = {"prompt": "The ", "tokens": 20, "temperature": 0.0, "count": 2}
    status, payload = call(f"{letters.url}:generate", options)
    assert status == 200 and payload["texts"] == serving.write(letters.path, **options)
    drawn = {"prompt": "The ", "tokens": 20, "seed": 3}
    assert call(f"{letters.url}:generate", drawn)[1]["texts"] == serving.write(
        letters.path, **drawn
    )


def test_text_is_streamed(letters):
    options = {"prompt": "The ", "tokens": 12, "seed": 1}
    whole = call(f"{letters.url}:generate", options)[1]["texts"]
    parts = urlsplit(letters.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("POST", f"{parts.path}:generate", json.dumps(options | {"stream": True}))
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("application/x-ndjson")
    lines = [json.loads(line)["pieces"] for line in response.read().splitlines()]
    assert len(lines) == 13 and lines[0] == ["The "]
    assert ["".join(pieces) for pieces in zip(*lines, strict=True)] == whole
    connection.close()


WRONG = {
    "a character": ({"prompt": "\u2603"}, "prompt: got '\u2603'"),
    "an option": ({"promt": "a"}, "generate.promt: unknown key. Did you mean 'prompt'?"),
    "too many": ({"tokens": 10**6}, "generate.tokens: got 1000000; expected 10000 at most"),
    "none": ({"tokens": 0}, "generate.tokens: got 0"),
    "stream": ({"stream": 1}, "stream: expected true or false"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused(letters, case):
    options, part = WRONG[case]
    status, payload = call(f"{letters.url}:generate", options)
    assert status == 400 and part in payload["error"]


def test_a_model_of_numbers_writes_nothing(linear):
    status, payload = call(f"{linear.url}:generate", {})
    assert status == 400 and "linear: got a file of classify; expected" in payload["error"]


@pytest.mark.parametrize("task", ["inference", "tree", "translate", ""])
def test_what_reads_tokens_and_writes_nothing_says_so(written, tmp_path, task):
    """Neither the verb nor the document takes a file for a language model by what it reads."""
    path = tmp_path / "other"
    shutil.copytree(written, path)
    Manifest.read(path).model_copy(update={"task": task}).write(path)
    with pytest.raises(ValueError, match=r"other: got a file of .*; expected"):
        serving.write(path, prompt="a")
    with serving.Server(path, port=0) as server:
        status, payload = call(f"{server.url}:generate", {"prompt": "a"})
        listed = call(f"{server.root}/openapi.json")[1]["paths"]
    assert status == 400 and "got a file of" in payload["error"]
    assert (f"{server.url.removeprefix(server.root)}:generate" in listed) is (task == "translate")


def test_a_reader_that_leaves_ends_its_text(letters):
    """More than may be written at a time, one after another, each left at its first line."""
    parts = urlsplit(letters.url)
    for _ in range(20):
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        body = json.dumps({"tokens": 10_000, "stream": True})
        connection.request("POST", f"{parts.path}:generate", body)
        connection.getresponse().readline()
        connection.sock.close()
        connection.close()
    done = threading.Event()
    for _ in range(100):
        status, _ = call(f"{letters.url}:generate", {"tokens": 2})
        if status == 200:
            break
        done.wait(0.1)
    assert status == 200
