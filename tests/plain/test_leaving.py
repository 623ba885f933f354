"""A program that imported TensorFlow ends at once, after what a program does at its end."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time, types
from zoo.common.leaving import leave

class Slow:
    def __del__(self):
        sys.stderr.write("taken apart\\n")

if {imported}:
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    sys.modules["tensorflow"].held = Slow()
held = Slow()
atexit.register(print, "at the end")
threading.Thread(target=lambda: (time.sleep(0.2), print("the thread"))).start()
print("done", end=" ")
leave(3)
print("not left")
"""


@pytest.mark.parametrize("imported", [True, False])
def test_what_ends_a_program(imported):
    program = [sys.executable, "-c", PROGRAM.format(imported=imported)]
    done = subprocess.run(program, capture_output=True, text=True)
    if imported:
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == "done the thread\nat the end\n"
    else:
        assert (done.returncode, done.stderr) == (0, "taken apart\n")
        assert done.stdout == "done not left\nthe thread\nat the end\n"


def test_what_cannot_be_written_is_told():
    program = PROGRAM.format(imported=True).replace("leave(3)", "sys.stdout.flush = bad; leave(0)")
    program = "def bad():\n    raise OSError\n" + program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 120
