"""Arm Ethos-U: the int8 TFLite file compiled by Vela for a microcontroller's neural processor.

There is no runtime to run the file here; Vela places the operators and estimates what they cost.
"""

from __future__ import annotations

import csv
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

from export import processes
from export.formats.tflite.litert import as_written, quantisation
from export.manifest import Proof, Signature
from export.target import INT8, Source, Target, Tolerance, Written
from export.targets.tflite import TFLiteInt8

FILE, LAYERS = "model_vela.tflite", "layers.csv"
NPU = "ethos-u"  # the custom operator that holds what was placed on the processor
KIB = 1024  # Vela's reports are in KiB


class EthosU(Target):
    """A `.tflite` file with the processor's commands inside, int8 at both ends.

    Beside it lies Vela's estimate for each layer, `layers.csv`.

    Attributes:
        accelerator: The processor, and its multiply-accumulates in a cycle.
        timeout_seconds: How long Vela may take.
    """

    kind: Literal["ethos-u"] = "ethos-u"
    tolerance: Tolerance = INT8
    accelerator: Literal[
        "ethos-u55-32",
        "ethos-u55-64",
        "ethos-u55-128",
        "ethos-u55-256",
        "ethos-u65-256",
        "ethos-u65-512",
        "ethos-u85-128",
        "ethos-u85-256",
        "ethos-u85-512",
        "ethos-u85-1024",
        "ethos-u85-2048",
    ] = "ethos-u55-128"
    timeout_seconds: float = 900.0

    precision: ClassVar[str] = "int8"
    proof: ClassVar[Proof] = "compile"
    runtime: ClassVar[str] = "ethos-u-vela"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert", "ethos-u-vela")
    fixed_shape: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model_vela.tflite` and `layers.csv`.

        Raises:
            RuntimeError: Vela failed or took too long.
        """
        content = TFLiteInt8(io="int8").content(source)
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch, "model.tflite").write_bytes(content)
            printed = self._compile(scratch)
            (directory / FILE).write_bytes(Path(scratch, FILE).read_bytes())
            layers = Path(scratch, "model_per-layer.csv")
            if layers.exists():  # not where nothing was placed
                (directory / LAYERS).write_bytes(layers.read_bytes())
            (summary,) = Path(scratch).glob("model_summary_*.csv")
            with summary.open(newline="") as file:
                (row,) = csv.DictReader(file)
        facts = {**_facts(row, printed), "quantisation": quantisation(content)}
        return Written(FILE, facts, as_written(self.signature(source.signature), content))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one and int8 ends."""
        return TFLiteInt8(io="int8").signature(signature)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators: those left to the CPU, and the runs of those that were placed."""
        from export.formats.tflite.litert import count

        return count(path.read_bytes())

    def fault(self, path: Path) -> str:
        """Says so where no operator was placed on the processor."""
        found = self.operators(path)
        if NPU in found:
            return ""
        names = ", ".join(f"{name} ({count})" for name, count in found.items())
        return f"no operator was placed on {self.accelerator}: {names}"

    def _compile(self, scratch: str) -> str:
        """Runs Vela in a process of its own, and returns what it printed."""
        done = processes.run(
            "ethosu.vela",
            *("model.tflite", "--output-dir", ".", "--verbose-performance"),
            *("--accelerator-config", self.accelerator),
            who=f"export to {self.kind}: Vela",
            seconds=self.timeout_seconds,
            cwd=scratch,
        )
        if done.returncode or not Path(scratch, FILE).exists():
            error = RuntimeError(f"export to {self.kind}: Vela failed: {_last_words(done)}.")
            error.add_note(done.stdout + done.stderr)
            raise error
        return done.stdout


def _facts(row: dict[str, str], printed: str) -> dict[str, Any]:
    """What Vela estimates, from its summary; the clock is the one of its system configuration."""
    placed = {
        kind: int(number) for kind, number in re.findall(r"(CPU|NPU) operators = (\d+)", printed)
    }
    cycles = int(float(row["cycles_total"]))
    rate = round(float(row["inferences_per_second"]), 1) if cycles else None  # else NaN
    flash = float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])
    return {
        "npu_operators": placed["NPU"],
        "cpu_operators": placed["CPU"],
        "npu_share": placed["NPU"] / max(1, sum(placed.values())),
        "sram_bytes": round(float(row["sram_memory_used"]) * KIB),
        "dram_bytes": round(float(row["dram_memory_used"]) * KIB),
        "flash_bytes": round(flash * KIB),
        "cycles": cycles,
        "inferences_per_second": rate,
        "accelerator": row["accelerator_configuration"],
        "system_config": row["system_config"],
        "memory_mode": row["memory_mode"],
        "clock_mhz": float(row["core_clock"]) / 1e6,
    }


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode < 0:
        return f"signal {-done.returncode} ended it"
    return (
        re.sub(r"^\w*Error: ", "", lines[-1]).rstrip(".")
        if lines
        else f"it ended with code {done.returncode}"
    )
