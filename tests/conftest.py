"""What all tests share: a quiet TensorFlow, the command line, and one small trained bundle."""

import json
import os
import sys

import pytest

from zoo.training import provenance

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
provenance.is_changed = lambda: False  # what is tested is often not committed yet


@pytest.fixture(scope="module", autouse=True)
def _forgets_its_models():
    """Gives back what a module has built and traced: a worker runs a hundred modules.

    Keras' optimizers sum gradients over devices, even over one; TensorFlow keeps the gradient of
    that sum, and with it the graph and the weights that it is in, for ever.
    """
    yield
    if "keras" not in sys.modules:
        return
    from tensorflow.python.framework import ops

    kept = ops.gradient_registry._registry
    for name in [name for name in kept if name.startswith("CustomGradient-")]:
        del kept[name]
    sys.modules["keras"].backend.clear_session()  # collects garbage too


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """LeNet-5 on scikit-learn's digits: a real training, in seconds."""
    from zoo.training.fitting import fit

    out = tmp_path_factory.mktemp("runs") / "lenet5"
    return fit("lenet5", data="digits", out=out, changes=["train.epochs=6"])


@pytest.fixture
def zoo(capsys):
    """Runs a `zoo` command in this process; gives its exit code, standard output and error."""

    def run(*arguments, expect=0):
        from zoo.cli import main

        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        assert status == expect, f"exit {status}\n{out}\n{err}"
        return json.loads(out) if "--json" in arguments else (out + err if expect else out)

    return run
