"""What takes the place of what: whole, one writer at a time, nothing left over."""

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from zoo.bundle import Record
from zoo.common import claims, renames
from zoo.common.staging import check_file, check_free, claimed, staged, staged_file

ROOT = Path(__file__).parents[2]

# Replaces a bundle in a forked child that is killed at the n-th thing it asks of the system.
KILLS = """
import os, signal, sys
from pathlib import Path
from zoo.common import claims, renames
from zoo.common.staging import staged

place, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
os.fsync = lambda _: None  # takes most of the time, and no kill can be in it
if not exchange:
    renames._exchange = lambda *_: False

def child(last):
    count = 0
    def watch(event, arguments):
        nonlocal count
        if event.partition(".")[0] in ("os", "open", "shutil", "tempfile", "ctypes"):
            count += 1
            if count == last + 1:  # to kill is a call, too
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    with staged(place, force=True) as stage:
        for name in ("card.json", "model.keras"):
            (stage / name).write_text(f"new {last}")
    os._exit(0)

for last in range(1, 1000):
    before = {p.name: p.read_text() for p in place.iterdir()}
    if (pid := os.fork()) == 0:
        child(last)
    _, status = os.waitpid(pid, 0)
    assert exchange or claims.recover(place)  # as whoever reads it does
    after = {p.name: p.read_text() for p in place.iterdir()}
    new = dict.fromkeys(("card.json", "model.keras"), f"new {last}")
    assert after in (before, new), (last, after)
    assert status in (0, signal.SIGKILL)
    if status == 0:
        assert after == new
        print(last)
        break
"""


@pytest.mark.parametrize("way", ["exchange", "aside"])
def test_a_kill_at_any_call_leaves_the_old_or_the_new(tmp_path, way):
    place = tmp_path / "bundle"
    place.mkdir()
    for name in ("card.json", "model.keras"):
        (place / name).write_text("old")
    run = [sys.executable, "-c", KILLS, str(place), way]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30  # so many calls were there to be killed at
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]  # the last one swept it all


def bundle(path, text="old"):
    path.mkdir(parents=True)
    (path / "card.json").write_text(text)
    return path


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, "broken")])
def test_an_error_while_it_is_replaced_keeps_the_old(tmp_path, monkeypatch, exchange, error):
    place = bundle(tmp_path / "out")
    if not exchange:
        monkeypatch.setattr(renames, "_exchange", lambda *_: False)
    usual = Path.rename

    def rename(self, target):
        if self.name == "new":
            raise error
        return usual(self, target)

    def refuse(*_):
        raise error

    monkeypatch.setattr(Path, "rename", rename)
    if exchange:
        monkeypatch.setattr(renames, "_exchange", refuse)
    with pytest.raises((KeyboardInterrupt, OSError)), staged(place, force=True) as stage:
        (stage / "card.json").write_text("new")
    assert (place / "card.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_is_followed_and_not_replaced(tmp_path):
    real = bundle(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(real)
    with staged(link, force=True) as stage:
        (stage / "card.json").write_text("new")
    assert link.is_symlink() and (real / "card.json").read_text() == "new"
    ahead = tmp_path / "ahead"
    ahead.symlink_to(tmp_path / "later")
    with staged(ahead) as stage:
        (stage / "card.json").write_text("new")
    assert ahead.is_symlink() and (tmp_path / "later" / "card.json").is_file()


def unwritable(tmp_path):
    (tmp_path / "plain").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing" / "deep")
    return {
        "below a file": tmp_path / "plain" / "x",
        "deep below a file": tmp_path / "plain" / "x" / "y",
        "a link to itself": tmp_path / "loop",
        "below a link to itself": tmp_path / "loop" / "x",
        "below a link to nothing": tmp_path / "nowhere" / "x",
        "a name too long": tmp_path / ("x" * 300),
        "below a name too long": tmp_path / ("x" * 300) / "x",
        "the kernel's": Path("/proc/x"),
        "a name with a zero": Path(f"{tmp_path}/a\0b"),
        "here": Path(),
        "above": Path(".."),
        "the root": Path("/"),
        "through above": tmp_path / "..",
        "empty": Path(),
    }


CASES = [
    "below a file", "deep below a file", "a link to itself", "below a link to itself",
    "below a link to nothing", "a name too long", "below a name too long", "the kernel's",
    "a name with a zero", "here", "above", "the root", "through above", "empty",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("check", [lambda p: check_free(p, force=True), check_file])
def test_a_place_that_cannot_be_written_to_is_refused_in_a_line(tmp_path, case, check):
    place = unwritable(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((OSError, ValueError)) as caught:
        check(place)
    line = str(caught.value)
    assert "\n" not in line and ("cannot be written to" in line or "expected" in line)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path):
    (tmp_path / "kept").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_free(tmp_path / "kept" / "x", force=True)


def test_a_disk_without_room_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "LEAST_BYTES", 2**62)
    with pytest.raises(OSError, match="Make room"):
        check_free(tmp_path / "x" / "y", force=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_refused_before_any_work(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="cannot be written to"):
            check_free(tmp_path / "x", force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())


HOLD = """
import sys, time
from zoo.common.staging import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(place):
    run = [sys.executable, "-c", HOLD, str(place)]
    process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path):
    place = tmp_path / "out"
    with holder(place) as process:
        for ask in (lambda: check_free(place, force=True), lambda: staged(place).__enter__()):
            with pytest.raises(BlockingIOError) as caught:
                ask()
            line = str(caught.value)
            assert f"process {process.pid} (-c" in line and str(place) in line
        check_free(tmp_path / "other", force=False)
    check_free(place, force=True)  # the lock has ended with the process
    assert not list(tmp_path.iterdir())


def test_a_second_thread_is_refused_and_the_same_one_is_not(tmp_path):
    place, told = tmp_path / "out", []

    def ask():
        try:
            check_free(place, force=True)
        except BlockingIOError as error:
            told.append(str(error))

    with claimed(place), claimed(place):
        with staged(place) as stage:
            (stage / "card.json").write_text("new")
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(told) == 1 and "another thread" in told[0]
    check_free(place, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from zoo.common import renames
from zoo.common.staging import staged

place, when = Path(sys.argv[1]), sys.argv[2]
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "aside":
    renames._exchange = lambda *_: False
    usual = Path.rename
    Path.rename = lambda self, to: kill() if self.name == "new" else usual(self, to)
with staged(place, force=True) as stage:
    (stage / "card.json").write_text("new")
    if when == "written":
        kill()
"""


def killed(place, when):
    """Leaves what a process leaves that is killed while it replaces a bundle."""
    run = [sys.executable, "-c", KILLED, str(place), when]
    assert subprocess.run(run, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL


def users(folder):
    """What a user may keep beside `out`, by such names as ours have."""
    names = (".out.archived/old", ".out.deadbeef/new", ".out.settings", ".out.replaced/notes")
    names = (*names, ".out.2024.old/mine", ".out.4000001.partial", ".out.d.0123abcd/new")
    for name in names:
        (folder / name).mkdir(parents=True)
    return sorted(name.partition("/")[0] for name in names)


def test_what_a_killed_command_left_is_swept_with_a_line_and_nothing_else(tmp_path, caplog):
    place = bundle(tmp_path / "out")
    kept = users(tmp_path)
    killed(place, "written")
    (left,) = {path.name for path in tmp_path.iterdir()} - {"out", ".out.lock", *kept}
    with caplog.at_level("INFO", "zoo"):
        check_free(place, force=True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{tmp_path / left}: removed; a command that was killed had left it"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *kept])
    assert (place / "card.json").read_text() == "old"


@pytest.mark.parametrize("reader", [True, False])
def test_the_old_one_comes_back_where_a_kill_left_it_aside(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(Record, "files", ("card.json",))
    place = bundle(tmp_path / "out")
    kept = users(tmp_path)
    killed(place, "aside")
    assert not place.exists()
    if reader:
        assert Record(place).path == place
    else:
        with pytest.raises(FileExistsError):
            check_free(place, force=False)
    assert (place / "card.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *kept])


def test_a_reader_brings_back_nothing_of_a_user_s(tmp_path):
    kept = users(tmp_path)
    (tmp_path / ".out.lock").write_text(
        json.dumps({"pid": 1, "command": "x", "names": ["../up", ".out.archived", 3]})
    )
    assert not claims.recover(tmp_path / "out")
    check_free(tmp_path / "out", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_a_reader_waits_while_a_writer_replaces_and_undoes_nothing(tmp_path, monkeypatch):
    """Where two directories cannot change places, there is an instant without one."""
    place, found = bundle(tmp_path / "out"), []
    monkeypatch.setattr(Record, "files", ("card.json",))
    monkeypatch.setattr(renames, "_exchange", lambda *_: False)
    usual, stop = Path.rename, threading.Event()

    def slowly(self, target):
        usual(self, target)
        if self == place:
            stop.wait(0.05)

    def look():
        while not stop.is_set():
            found.append((Record(place).path / "card.json").is_file())

    monkeypatch.setattr(Path, "rename", slowly)
    thread = threading.Thread(target=look)
    thread.start()
    number = 0
    while number < 5 or (len(found) < 6 and thread.is_alive()):  # a busy machine starves threads
        number += 1
        with staged(place, force=True) as stage:
            (stage / "card.json").write_text(str(number))
    stop.set()
    thread.join()
    assert len(found) > 5
    assert (place / "card.json").read_text() == str(number)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lock_file_of_a_user_s_is_not_ours(tmp_path):
    lock = tmp_path / ".out.lock"
    lock.write_text("# of another program")
    with pytest.raises(FileExistsError, match="is no lock of the zoo's; move it away"):
        check_free(tmp_path / "out", force=True)
    assert lock.read_text() == "# of another program"


def test_a_name_that_leaves_no_room_for_ours_is_refused_before_any_work(tmp_path):
    with pytest.raises(OSError, match="too long"):
        check_free(tmp_path / ("x" * 245), force=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be other users")
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_a_lock_that_another_user_s_killed_process_left_blocks_nobody(tmp_path, mode):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(mode)
    try:
        for user in (1234, 1235):
            if (pid := os.fork()) == 0:
                code = 1
                try:
                    os.umask(0o077)
                    os.setuid(user)
                    with staged(folder / f"out{user}"), claimed(folder / "out"):
                        os.kill(os.getpid(), signal.SIGKILL)
                finally:
                    os._exit(code)
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        assert (folder / ".out.lock").exists()
        check_free(folder / "out", force=False)
        assert not (folder / ".out.lock").exists()
    finally:
        shutil.rmtree(folder)


FORKED = """
import os, sys
from zoo.common.staging import claimed, staged

place = sys.argv[1]
pid = 1
try:
    with staged(place) as stage:
        (stage / "card.json").write_text("new")
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                with claimed(place):
                    print("held", flush=True)
            except BlockingIOError as error:
                print(error, flush=True)
            if sys.argv[2] == "raise":
                raise KeyboardInterrupt
        else:
            os.waitpid(pid, 0)
            assert stage.is_dir() and os.path.exists(sys.argv[3])
except BaseException:
    if pid:
        raise
if pid == 0:
    os._exit(0)
print(os.getpid())
"""


@pytest.mark.parametrize("end", ["raise", "well"])
def test_a_forked_child_holds_nothing_and_ends_nothing(tmp_path, end):
    place = tmp_path / "out"
    run = [sys.executable, "-c", FORKED, str(place), end, str(tmp_path / ".out.lock")]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    line, process = done.stdout.splitlines()
    assert line.startswith(f"{place}: process {process} (") and "writes there" in line
    assert (place / "card.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), staged_file(path) as partial:
        partial.with_name("missing").read_text()
    assert path.read_text() == "old"
    with staged_file(path) as partial:
        assert partial.suffix == ".png"
        partial.write_text("new")
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]


def test_what_is_read_is_never_written_over(tmp_path):
    file, other, link = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    file.write_text("mine")
    link.symlink_to(file)
    for place in (file, link, tmp_path / "." / "a.png"):
        with pytest.raises(FileExistsError, match=r"is what is read, .*choose another name"):
            check_file(place, force=True, read=[other, file])
    check_file(file, force=True, read=[other])
    check_file(other, read=[file, tmp_path / "none.png"])
