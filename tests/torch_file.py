"""Writes the two formats of `torch.save` byte by byte, so that any field of them can be wrong.

The reader is compared with torch itself in `tests/oracles/test_pretrained.py`.
"""

import io
import pickle
import zipfile

MAGIC = 0x1950A86A20F9469CFC6C


def plain(value):
    """The opcodes of a plain value, without the frame around them."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(
    kind="FloatStorage",
    key="0",
    length=6,
    offset=0,
    size=(2, 3),
    stride=(3, 1),
    *,
    chain=False,
    name=b"torch._utils\n_rebuild_tensor_v2",
):
    """The opcodes of one tensor."""
    view = plain(None) if chain else b""
    storage = plain("storage") + b"ctorch\n" + kind.encode() + b"\n" + plain(key) + plain("cpu")
    return (
        b"c" + name + b"\n(("
        + storage + plain(length) + view
        + b"tQ" + plain(offset) + plain(size) + plain(stride) + plain(False)
        + b"ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def state(tensors):
    """The pickle of an ordered dict: names (any plain value) to opcodes."""
    items = b"".join(plain(key) + value + b"s" for key, value in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R" + items + b"."


def archive(pickled, raw, *, order=b"little", compression=zipfile.ZIP_STORED):
    """The newer format: the pickle, and the bytes of each storage by key."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", order)
        for key, value in raw.items():
            file.writestr(f"archive/data/{key}", value)
    return content.getvalue()


def chain(pickled, raw, lengths, *, magic=MAGIC, protocol=1001, little=True):
    """The older format: the pickle, and bytes and length of each storage by key."""
    head = [pickle.dumps(value, 2) for value in (magic, protocol, {"little_endian": little})]
    body = [lengths[key].to_bytes(8, "little") + raw[key] for key in raw]
    return b"".join([*head, pickled, pickle.dumps(list(raw), 2), *body])
