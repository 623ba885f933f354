"""The reader of torch files: what it reads, and what it refuses. No torch, no TensorFlow."""

import os
import pickle
import struct

import numpy as np
import pytest

from tests import torch_file
from zoo.weights import torch_pickle

VALUES = {"0": struct.pack("<6f", *range(6)), "1": struct.pack("<2q", 7, -8)}
LENGTHS = {"0": 6, "1": 2}


def write(path, tensors, *, form, raw=None, lengths=None, **options):
    """Writes a state of one form; `tensors` holds the fields of each tensor that are not usual."""
    chain = form == "chain"
    opcodes = {key: torch_file.tensor(**fields, chain=chain) for key, fields in tensors.items()}
    raw = VALUES if raw is None else raw
    used = {fields.get("key", "0") for fields in tensors.values()}
    raw = {key: value for key, value in raw.items() if key in used}
    pickled = torch_file.state(opcodes)
    if chain:
        path.write_bytes(torch_file.chain(pickled, raw, lengths or LENGTHS, **options))
    else:
        path.write_bytes(torch_file.archive(pickled, raw, **options))
    return path


@pytest.fixture(params=["chain", "archive"])
def form(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def test_read(path, form):
    """Plain, transposed and sliced tensors of one storage, a scalar, and an empty one."""
    fields = {
        "conv.weight": {},
        "turned": {"size": (3, 2), "stride": (1, 3)},
        "column": {"offset": 1, "size": (2,), "stride": (3,)},
        "scalar": {"offset": 5, "size": (), "stride": ()},
        "none": {"offset": 6, "size": (0, 3), "stride": (3, 1)},
        "steps": {"kind": "LongStorage", "key": "1", "length": 2, "size": (2,), "stride": (1,)},
    }
    got = torch_pickle.read_checkpoint(write(path, fields, form=form))
    assert list(got) == list(fields)
    base = np.arange(6, dtype="f4").reshape(2, 3)
    expected = [base, base.T, base[:, 1], base[1, 2], base[:0], np.array([7, -8])]
    for one, wanted in zip(got.values(), expected, strict=True):
        assert one.shape == wanted.shape and one.dtype == wanted.dtype
        np.testing.assert_array_equal(one, wanted)
    assert all(one.flags.writeable and one.flags.owndata for one in got.values())


@pytest.mark.parametrize("kind", torch_pickle.DTYPES)
def test_every_type_of_storage(path, form, kind):
    dtype = np.dtype(torch_pickle.DTYPES[kind])
    raw = np.random.RandomState(0).bytes(6 * dtype.itemsize)
    if kind == "BoolStorage":
        raw = bytes([0, 1, 1, 0, 1, 0])
    got = torch_pickle.read_checkpoint(
        write(path, {"w": {"kind": kind}}, form=form, raw={"0": raw})
    )["w"]
    values = np.frombuffer(raw, dtype).reshape(2, 3)
    if kind == "BoolStorage":
        assert got.tolist() == [[False, True, True], [False, True, False]]
    elif kind == "BFloat16Storage":
        # the value in powers of two: sign, exponent with a bias of 127, 7 bits of fraction
        for bits, value in zip(values.ravel().tolist(), got.ravel().tolist(), strict=True):
            sign, exponent, fraction = bits >> 15, bits >> 7 & 255, bits & 127
            assert 0 < exponent < 255
            assert value == (-1) ** sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)
    else:
        assert got.tobytes() == raw and got.dtype == dtype


class Harmful:
    """A pickle of this runs a command when a careless reader opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_harmful_file_is_refused_and_runs_nothing(path, form, tmp_path, protocol):
    made = tmp_path / "made"
    pickled = pickle.dumps({"w": Harmful(made)}, protocol)
    assert pickle.loads(pickled) == {"w": 0} and made.exists()  # it would
    made.unlink()
    content = (
        torch_file.chain(pickled, {}, {})
        if form == "chain"
        else torch_file.archive(pickled, VALUES)
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.pth: not a .*names \w+\.system, which is refused"):
        torch_pickle.read_checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize("place", range(4))
def test_each_pickle_of_a_chain_is_guarded(path, tmp_path, place):
    """Also those before the tensors, and the list of storages behind them."""
    made = tmp_path / "made"
    harmful = pickle.dumps(Harmful(made), 2)
    parts = [pickle.dumps(v, 2) for v in (torch_file.MAGIC, 1001, {"little_endian": True})]
    parts.append(torch_file.state({}))
    path.write_bytes(b"".join([*parts[:place], harmful]))
    with pytest.raises(ValueError, match="refused"):
        torch_pickle.read_checkpoint(path)
    path.write_bytes(b"".join([*parts, harmful]))
    with pytest.raises(ValueError, match="refused"):
        torch_pickle.read_checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval",
        b"torch._utils\n_rebuild_parameter",
        b"torch._utils\n_rebuild_tensor_v3",
        b"torch\nload",
        b"torch\nFloatTensor",
        b"torch.storage\nUntypedStorage",
        b"collections\nOrderedDict.fromkeys",
        b"collections\ndefaultdict",
        b"numpy\nload",
    ],
)
def test_only_three_kinds_of_name_are_known(path, form, name):
    write(path, {"w": {"name": name}}, form=form)
    with pytest.raises(ValueError, match=r"it names .*, which is refused"):
        torch_pickle.read_checkpoint(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 1},
        {"offset": 6, "size": (1,), "stride": (1,)},
        {"offset": -1},
        {"offset": 2**62},
        {"offset": True, "size": (2,), "stride": (1,)},
        {"offset": 0.0},
        {"offset": "0"},
        {"size": (3, 3)},
        {"size": (2, -3)},
        {"size": (2.0, 3)},
        {"size": (7,), "stride": (1,)},
        {"size": (2**40,), "stride": (0,)},  # one value, a thousand billion times
        {"size": (7,), "stride": (0,)},
        {"size": 6, "stride": 1},
        {"size": None},
        {"stride": (4, 1)},
        {"stride": (3, 2)},
        {"stride": (2**61, 1)},
        {"stride": (3, -1)},
        {"stride": (1,)},
        {"size": (2,) * 70, "stride": (0,) * 70},
        {"size": (0, 2**62), "stride": (1, 1)},
    ],
    ids=str,
)
def test_no_tensor_leaves_its_storage(path, form, fields):
    write(path, {"w": fields}, form=form)
    with pytest.raises(ValueError, match="not a file of plain torch tensors"):
        torch_pickle.read_checkpoint(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 5}, "storage 0 has"),
        ({"length": 7}, "storage 0 has"),
        ({"length": -6}, "unknown storage"),
        ({"length": 2**60}, "storage 0 has"),
        ({"length": None}, "unknown storage"),
        ({"key": 0}, "unknown storage"),
        ({"kind": "DoubleStorage"}, "has 24 bytes; expected 48"),
    ],
    ids=str,
)
def test_a_storage_is_as_long_as_it_says(path, fields, message):
    write(path, {"w": fields}, form="archive", raw={"0": VALUES["0"], 0: VALUES["0"]})
    with pytest.raises(ValueError, match=message):
        torch_pickle.read_checkpoint(path)
    if fields.get("key", "0") == "0":
        write(path, {"w": fields}, form="chain", raw={"0": VALUES["0"]})
        with pytest.raises(ValueError, match="not a file of plain"):
            torch_pickle.read_checkpoint(path)


def test_the_two_lengths_of_a_storage_agree(path):
    """In a chain the storage has a length of its own; here there are bytes enough for both."""
    write(path, {"w": {}}, form="chain", raw={"0": bytes(99)}, lengths={"0": 7})
    with pytest.raises(ValueError, match="storage 0 has 7 values, not 6"):
        torch_pickle.read_checkpoint(path)


def test_a_tensor_cannot_change_after_it_was_made(path):
    """BUILD sets attributes of an object; those of a tensor are fixed."""
    forged = torch_file.tensor() + torch_file.plain({"offset": 10**9}) + b"b"
    path.write_bytes(torch_file.archive(torch_file.state({"w": forged}), {"0": VALUES["0"]}))
    with pytest.raises(ValueError, match="not a file of plain"):
        torch_pickle.read_checkpoint(path)


def test_a_dictionary_cannot_bring_its_own_methods(path):
    pickled = torch_file.state({"w": torch_file.tensor()})[:-1]
    pickled += b"}" + torch_file.plain("items") + b"ctorch._utils\n_rebuild_tensor_v2\nsb."
    path.write_bytes(torch_file.archive(pickled, {"0": VALUES["0"]}))
    assert list(torch_pickle.read_checkpoint(path)) == ["w"]


def test_a_small_file_cannot_ask_for_a_large_memory(path, form):
    pickled = b"\x80\x02}r" + struct.pack("<I", 2_000_000) + b"."  # LONG_BINPUT
    content = (
        torch_file.chain(pickled, {}, {}) if form == "chain" else torch_file.archive(pickled, {})
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a memo of 2,000,000 places"):
        torch_pickle.read_checkpoint(path)
    zeros = {"0": bytes(10**6)}
    write(path, {"w": {"length": 250_000}}, form="archive", raw=zeros, compression=8)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="is compressed, which torch does not do"):
        torch_pickle.read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of plain torch tensors"),
        (b"PK\x03\x04", "not a zip file"),
        (pickle.dumps({"w": 1}, 2) * 3, "neither of torch's two formats"),
        (torch_file.archive(pickle.dumps([1], 2), {}), "got list; expected names to tensors"),
        (torch_file.archive(pickle.dumps({"w": 1}, 2), {}), "got int; expected a tensor"),
        (torch_file.archive(torch_file.state({"a": torch_file.state({})[2:-1]}), {}), "OrderedD"),
        (torch_file.archive(torch_file.state({}), {}, order=b"big"), "big-endian"),
        (torch_file.chain(torch_file.state({}), {}, {}, little=False), "big-endian"),
        (torch_file.chain(torch_file.state({}), {}, {}, magic=1), "neither of torch's"),
        (torch_file.chain(torch_file.state({}), {}, {}, protocol=1), "neither of torch's"),
        (torch_file.chain(torch_file.state({}), VALUES, LENGTHS), "its list of storages"),
        (torch_file.archive(torch_file.state({7: torch_file.tensor()}), VALUES), "got the name 7"),
        (torch_file.archive(torch_file.state({"w": torch_file.tensor()}), {}), "no item named"),
        (torch_file.archive(torch_file.state({"w": b"(K\x01tQ"}), {}), "unknown reference"),
        (torch_file.archive(torch_file.state({"w": b"\x82\x01"}), {}), "not a file of plain"),
    ],
)
def test_other_files_are_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        torch_pickle.read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_every_cut_is_noticed(path, form):
    whole = write(path, {"w": {}, "b": {"size": (6,), "stride": (1,)}}, form=form).read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a file of plain torch tensors"):
            torch_pickle.read_checkpoint(path)
    path.write_bytes(whole)
    assert set(torch_pickle.read_checkpoint(path)) == {"w", "b"}


def test_a_changed_value_of_an_archive_is_noticed(path):
    whole = write(path, {"w": {}}, form="archive").read_bytes()
    path.write_bytes(whole.replace(VALUES["0"], VALUES["0"][::-1]))
    with pytest.raises(ValueError, match="CRC"):
        torch_pickle.read_checkpoint(path)


def test_a_file_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        torch_pickle.read_checkpoint(path)
