"""The command `zoo`: parses, dispatches, prints.

`zoo.cli.verbs` holds one file for each verb. The package is the only place that knows `compress`,
`export` and `serving`, and it imports everything lazily: a question about text is answered without
TensorFlow.

Exit codes: 0 done, 1 a check failed, 2 misuse, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

VERBS = {
    "list": "the architectures: task, paper, year, parameters",
    "show": "one architecture: its facts, or its layers",
    "data": "pack a data set into shards of records, for training from the disk",
    "train": "train a model and write a bundle",
    "launch": "train in several processes of this host, and start them anew where one dies",
    "evaluate": "measure a bundle on a split of its data",
    "predict": "name what is on an image",
    "play": "let a trained agent act in its environment",
    "explain": "say where a classifier looks, and draw it",
    "compare": "say what sets two classifiers apart",
    "style": "paint a picture in the manner of another, or of a bundle",
    "dream": "show what layers of a network find in a picture",
    "texture": "make more of a texture",
    "invert": "make a picture that a layer takes for another",
    "generate": "make new pictures, or text, with a bundle",
    "enhance": "make a photograph larger with a bundle",
    "denoise": "take the noise away from pictures",
    "compress": "make a bundle smaller and write a new one",
    "export": "write deployable directories, each checked against the model",
    "bench": "time exported files on this machine",
    "serve": "answer requests with exported directories",
    "deploy": "write what TF Serving, Triton, KServe or Kubernetes read",
    "doctor": "say what this machine has, what is wrong, and how to mend it",
    "check": "is a fresh model sound: gradients, first loss, layers, does it learn at all",
    "find-lr": "sweep the learning rate and suggest one",
    "tune": "search the settings of a recipe, and cross-validate",
    "baseline": "measure what is not a network, as something to beat",
    "ensemble": "write a bundle that averages the probabilities of several",
    "weights": "list trained weights, or fetch those of one model",
}
# The verbs that load a model or an environment, which may be the user's own code.
LOADING = (
    *(
        "train",
        "baseline",
        "show",
        "evaluate",
        "predict",
        "explain",
        "compare",
        "play",
        "generate",
        "enhance",
    ),
    *("denoise", "style", "dream", "texture", "invert"),
    *("compress", "export", "ensemble"),
)
AT_ONCE = ("serve", "predict")  # verbs whose end does not wait for TensorFlow's
DONE, CHECK_FAILED, MISUSE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; of the program's own some end it at once."""
    words = list(sys.argv[1:] if argv is None else argv)
    code = _run(words)
    if argv is None and words and words[0] in AT_ONCE:
        from zoo.common.leaving import leave

        leave(code)
    return code


def _run(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        from zoo.common.settings import nearest

        print(f"zoo: unknown command {argv[0]!r}. {nearest(argv[0], VERBS)}", file=sys.stderr)
        return MISUSE
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        told = f"zoo {argv[0]}: unrecognized arguments: {' '.join(unknown)}"
        print(f"{told}; see zoo {argv[0]} --help", file=sys.stderr)
        return MISUSE
    from zoo.cli import imports, quiet
    from zoo.training import signals

    log = logging.getLogger("zoo")
    log.handlers, log.propagate = [quiet.Lines()], False
    log.setLevel(logging.INFO)
    try:
        with signals.orderly(), quiet.quiet(verbose=arguments.verbose):
            if arguments.imports:
                imports.bring_in(arguments.imports)
            return int(arguments.run(arguments) or DONE)
    except signals.Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except MemoryError as error:
        if arguments.verbose:
            raise
        print(f"zoo {argv[0]}: not enough memory: {' '.join(str(error).split())}", file=sys.stderr)
        return CHECK_FAILED
    except quiet.OURS as error:
        line = quiet.told(error)
        if line is None or arguments.verbose:
            raise
        print(f"zoo {argv[0]}: {line}", file=sys.stderr)
        return CHECK_FAILED if isinstance(error, RuntimeError) else MISUSE


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, as all of the zoo does, and takes no option for another one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Prints the line, and ends."""
        line = " ".join(message.split())
        self.exit(MISUSE, f"{self.prog}: {line}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from zoo.cli import imports

    parser = _Parser(prog="zoo", description="Train, compress, export and serve Keras 3 models.")
    parser.add_argument("--version", action="version", version=_Version())
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in VERBS.items():
        verb = import_module(f"zoo.cli.verbs.{name.replace('-', '_')}")
        child = verbs.add_parser(name, help=summary, description=verb.__doc__)
        verb.add_arguments(child)
        if name in LOADING:
            imports.add_argument(child)
        if name not in ("serve", "launch"):
            child.add_argument("--json", action="store_true", help="print one JSON document")
        child.add_argument(
            "--verbose", action="store_true", help="show libraries' messages, and tracebacks"
        )
        child.set_defaults(run=verb.run)
        child.set_defaults(**{"imports": []} if name not in LOADING else {})
    return parser


class _Version(str):
    """The version, looked up only when it is printed."""

    def __mod__(self, _: object) -> str:
        from importlib.metadata import version

        return version("keras-model-zoo")
