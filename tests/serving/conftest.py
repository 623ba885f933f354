"""Servers of the kit's models, each for one test file; what they serve is written once."""

from __future__ import annotations

import pytest

import zoo
from serving import Server
from tests.serving import kit


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serving")


def served(write, name, *arguments):
    """A fixture: the server of a directory, for the whole module."""

    @pytest.fixture(scope="module", name=name)
    def fixture(folder):
        directory = folder / name
        if not directory.exists():
            write(directory, *arguments)
        with Server(directory, port=0) as server:
            yield server

    return fixture


half_plus_three = served(kit.write_half_plus_three, "half_plus_three")
linear = served(kit.write_linear, "linear")
pair = served(kit.write_pair, "pair")
lines = served(kit.write_lines, "lines")
lookup = served(kit.write_lookup, "lookup")
pictured = served(kit.write_pictured, "pictured")
lite = served(kit.write_tflite, "lite", "float32")
lite_int8 = served(kit.write_tflite, "lite_int8", "int8")


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A language model's directory."""
    (done,) = zoo.export("char_gru", "tflite", out=tmp_path_factory.mktemp("text"))
    return done.path


@pytest.fixture(scope="module")
def letters(written):
    with Server(written, port=0) as server:
        server.path = written
        yield server
