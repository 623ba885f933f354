"""Chooses the devices, the precision and XLA from the hardware, before a model is built.

Measured on a 2-core Xeon with AMX: VGG-16 at 32x32 trains 2.0 times as fast in mixed bfloat16 as in
float32, and XLA makes CPU convolutions 2 to 3 times slower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.recipe import Hardware
from zoo.training import provenance, workers
from zoo.training.workers import Worker

_JOINED: dict[Worker, tf.distribute.Strategy] = {}  # TensorFlow joins others once in a process
# What TensorFlow raises in those who are left when a worker has gone.
_ALONE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class WorkerLostError(RuntimeError):
    """Another worker has gone, so that this one cannot go on."""


@dataclass(frozen=True)
class Machine:
    """The hardware of a run.

    Attributes:
        strategy: The model is built under its scope.
        precision: A Keras dtype policy, `float32` or `mixed_bfloat16`.
        jit: Whether XLA compiles forward and backward.
        reason: One line for the user: what was chosen, and why.
        worker: Which of several processes this is; `None` where there is one.
        steps_per_call: How many steps one call takes, at most; `None`: as `Loop` finds.
    """

    strategy: tf.distribute.Strategy
    precision: str
    jit: bool
    reason: str
    worker: Worker | None = None
    steps_per_call: int | None = None

    @property
    def replicas(self) -> int:
        """Number of devices that share a batch, those of other workers among them."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.worker is None or self.worker.chief

    def total(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the sum of what each worker brings (n,), float64; all have to ask.

        So it is also where the workers wait for one another.
        """
        mine = np.asarray(values, np.float64)
        if self.worker is None:
            return mine
        own = len(self.strategy.extended.worker_devices)
        shares = self.strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(mine / own)
        )
        return np.asarray(self.strategy.reduce("SUM", shares, axis=None))

    def part(self) -> None:
        """Waits for the other workers, to go; whoever is gone already needs nobody any more.

        A sum is no proof that the others have it too: the first to leave may take a part of it
        along.
        """
        with contextlib.suppress(*_ALONE):
            self.total([0])

    def agrees(self, value: float) -> bool:
        """Whether all workers bring the same number; all have to ask."""
        num, total = self.total([1, value])
        return bool(total == num * value)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Says in a line that another worker has gone.

        Raises:
            WorkerLostError: It has.
        """
        try:
            yield
        except _ALONE as error:
            if self.worker is None:
                raise
            told = " ".join(str(error.message).split())[:120]
            raise WorkerLostError(
                f"worker {self.worker.number} is left alone: another worker has ended ({told}). "
                "End all of them, and start all again with --resume."
            ) from error

    def facts(self) -> dict[str, Any]:
        """Returns what the report says about the hardware."""
        return {
            "processor": provenance.processor(),
            "cores": provenance.cores(),
            "gpus": [gpu.name for gpu in _gpus()],
            "strategy": self._name,
            "workers": len(self.worker.addresses) if self.worker else 1,
            "replicas": self.replicas,
            "precision": self.precision,
            "jit": self.jit,
            "reason": self.reason,
        }

    @property
    def _name(self) -> str:
        if self.worker is not None:
            return "multiworker"
        return "mirrored" if self.replicas > 1 else "one"


def choose_machine(settings: Hardware, *, join: bool = False) -> Machine:
    """Returns the machine that the settings ask for.

    Args:
        settings: The recipe's.
        join: Whether to train with the workers that `TF_CONFIG` names, after having met them all;
            otherwise this host does it alone.

    Raises:
        ValueError: More devices are asked for than there are, or XLA together with several devices.
        TimeoutError: Other workers did not come.
    """
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    worker = workers.of(settings) if join else None
    strategy, where = _strategy(settings) if worker is None else _joined(worker, settings)
    precision, why = _precision(settings)
    jit = settings.jit is True
    if jit and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"hardware.jit: got true with {strategy.num_replicas_in_sync} devices; expected one "
            "device (XLA cannot reach another device's variables). Write hardware.jit=false."
        )
    xla = f"{'XLA' if jit else 'no XLA'} for forward and backward"
    reason = f"{where}; {precision} ({why}); {xla}"
    several = settings.steps_per_call
    at_once = None if several == "auto" else several
    return Machine(strategy, precision, jit, reason, worker, at_once)


def _joined(worker: Worker, settings: Hardware) -> tuple[tf.distribute.Strategy, str]:
    """The strategy of all workers, each with all GPUs of its own, or else its CPU."""
    if settings.devices:
        raise ValueError(
            f"hardware.devices: got {settings.devices} with several workers; expected none: each "
            "takes the GPUs that it sees. Drop it."
        )
    if worker not in _JOINED:
        workers.meet(worker, seconds=settings.wait_seconds)
        try:
            _JOINED[worker] = tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise ValueError(
                "hardware.strategy: got multiworker, and TensorFlow already runs alone; expected "
                "the choice before TensorFlow's first operation. Start a new process."
            ) from error
    strategy = _JOINED[worker]
    kind = "GPUs" if _gpus() else "CPUs"
    num = len(worker.addresses)
    return strategy, (
        f"worker {worker.number} of {num}, {strategy.num_replicas_in_sync} {kind} together"
    )


def _strategy(settings: Hardware) -> tuple[tf.distribute.Strategy, str]:
    gpus = tf.config.list_logical_devices("GPU") if _gpus() else []
    wanted = settings.devices or len(gpus)
    if settings.strategy == "one" and wanted > 1 and settings.devices:
        raise ValueError(
            f"hardware.devices: got {wanted} with strategy one; expected 1. For several, write "
            "hardware.strategy=mirrored."
        )
    chosen = settings.strategy in ("auto", "multiworker")  # the others are not asked
    if settings.strategy == "one" or (chosen and wanted < 2):
        # TensorFlow's default strategy: one device, the GPU where there is one.
        return tf.distribute.get_strategy(), f"one device, {'GPU' if gpus else 'CPU'}"
    if gpus:
        if wanted > len(gpus):
            raise ValueError(f"hardware.devices: got {wanted}; expected at most {len(gpus)} GPUs.")
        names = [f"GPU:{i}" for i in range(wanted)]
        return tf.distribute.MirroredStrategy(names), f"mirrored over {wanted} GPUs"
    if wanted < 2:
        raise ValueError(
            "hardware.strategy: got mirrored, and this machine has no GPU; expected "
            "several devices. Write hardware.devices=2 to split the CPU in two."
        )
    names = _split_cpu(wanted)
    # The default reduction fails on CPUs inside a loop; this one does not.
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)
    return strategy, f"mirrored over {wanted} logical CPU devices"


def _split_cpu(count: int) -> list[str]:
    """Splits the CPU into logical devices; TensorFlow allows it only before its first operation."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # too late: what was configured before must do
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    found = len(tf.config.list_logical_devices("CPU"))
    if found < count:
        raise ValueError(
            f"hardware.devices: got {count}, and TensorFlow already runs on {found} CPU device(s); "
            "expected the choice before TensorFlow's first operation. Start a new process."
        )
    return [f"CPU:{i}" for i in range(count)]


def _precision(settings: Hardware) -> tuple[str, str]:
    if settings.precision != "auto":
        return settings.precision, "as asked"
    gpus = _gpus()
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        if details.get("compute_capability", (0, 0)) >= (8, 0):
            return "mixed_bfloat16", "the GPU multiplies bfloat16"
        return "float32", "the GPU does not multiply bfloat16"
    units = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in _cpu_flags()]
    if units:
        return "mixed_bfloat16", f"the CPU has {units[0]}"
    return "float32", "the CPU does not multiply bfloat16"


def _gpus() -> list[Any]:
    return list(tf.config.list_physical_devices("GPU"))


def _cpu_flags() -> set[str]:
    return set(provenance.cpu_info("flags").split())
