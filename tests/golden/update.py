"""Rewrites golden rows and prints what moved: `python -m tests.golden.update NAME [NAME ...]`.

A reviewer asks of every line: why did it move?
"""

import difflib
import json
import sys

from tests.golden import vector
from zoo.catalog import CATALOG, find_architecture


def main(names: list[str]) -> None:
    old = vector.FILE.read_text() if vector.FILE.exists() else "{}\n"
    golden = json.loads(old)
    for name in names:
        row = find_architecture(name)
        if name in vector.CLASSIFIERS:
            golden[name] = vector.measure(vector.net(row))
        else:
            golden[name] = vector.measure_all(vector.nets(row))
    rows = [f'  "{name}": {json.dumps(golden[name])}' for name in CATALOG if name in golden]
    new = "{\n" + ",\n".join(rows) + "\n}\n"
    vector.FILE.write_text(new)
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), "before", "after", n=0)
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    main(sys.argv[1:])
