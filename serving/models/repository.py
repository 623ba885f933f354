"""The models of a server.

A directory is a deployable, whose version is 1, or holds deployables that are named by their
versions: `vgg16/1`, `vgg16/2`. Of the latter the greatest is served, and those that have a label. A
new one is loaded and run before it takes over; one that cannot be loaded is refused, and what was
served goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.manifest import Manifest
from serving.metrics import Metrics
from serving.models.model import MissingError, Model, numbered
from serving.models.versions import Version
from serving.settings import Serving

LOG = logging.getLogger("serving")


class Repository:
    """All models of a server.

    Args:
        directories: Deployables, or directories of their versions.
        settings: Of the server.
        metrics: Counters of the server.

    Attributes:
        models: By name.

    Raises:
        FileNotFoundError: A directory, its manifest or its model file is missing.
        ValueError: A directory cannot be served, or two have one name.
    """

    def __init__(
        self, directories: Sequence[str | Path], settings: Serving, metrics: Metrics
    ) -> None:
        self.models: dict[str, Model] = {}
        if not directories:
            raise ValueError("Server: got no directory; expected what `zoo export` wrote.")
        for directory in map(Path, directories):
            base = Path.cwd() / directory  # not resolved: links may be a loop
            versions = dict(numbered(base))
            name = base.name if versions else Manifest.read(directory).name
            if not name or any(sign in name for sign in "/:"):
                raise ValueError(
                    f"{directory}: got name {name!r}; expected one without '/' and ':'."
                )
            if name in self.models:
                raise ValueError(
                    f"{directory}: a model named {name!r} is served already. Serve both as "
                    f"versions, {name}/1 and {name}/2, with labels, or one at another port."
                )
            model = self.models[name] = Model(name, base, settings, metrics)
            model.refresh()
            if not model.versions:
                raise model.refused[max(model.refused)]
        labelled = {name for name, own in settings.labels.items() if isinstance(own, Mapping)}
        for key, names in (("batching", set(settings.batching)), ("labels", labelled)):
            if unknown := names - set(self.models):
                raise ValueError(
                    f"{key}: got {', '.join(map(repr, sorted(unknown)))}; expected names of models:"
                    f" {', '.join(map(repr, self.models))}."
                )
        for name, model in self.models.items():
            for label, number in model.labels.items():
                if number not in model.versions:
                    known = ", ".join(map(str, sorted(model.versions)))
                    LOG.warning(
                        "%s: label %r is of version %d, which is not there yet; there is %s",
                        name, label, number, known,
                    )  # fmt: skip
        self._poll_seconds = settings.poll_seconds
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def pick(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Returns a version of a model.

        Raises:
            MissingError: It is not served.
        """
        if name not in self.models:
            known = ", ".join(map(repr, self.models))
            raise MissingError(f"model: got {name[:80]!r}; this server has {known}.")
        return self.models[name].pick(number, label)

    def lease(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Returns a version as `pick` does, for a `with` block, in which it is not put away."""
        while not (version := self.pick(name, number, label)).take():
            pass  # it was put away this moment, and is not picked again
        return version

    def watch(self) -> None:
        """Looks for new versions from now on."""
        if any(dict(numbered(model.base)) for model in self.models.values()):
            self._watcher.start()

    def close(self) -> None:
        """Looks no more, and returns when all that was asked has been answered."""
        self._stop.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        for model in self.models.values():
            for version in model.versions.values():
                version.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            for model in self.models.values():
                try:
                    model.refresh()
                except Exception:  # the watch goes on, and so does what is served
                    LOG.exception("%s: could not look for versions", model.name)
