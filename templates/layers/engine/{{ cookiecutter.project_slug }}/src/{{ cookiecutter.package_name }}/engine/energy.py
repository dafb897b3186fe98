"""Energy that this machine's processors have used, where the kernel counts it.

Linux counts it with RAPL in ``/sys/class/powercap``; virtual machines lack it, and on many others
only root may read it.
"""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Counts joules from the moment when it is made."""

    def __init__(self) -> None:
        self._start = _read_counters()

    def read(self) -> float | None:
        """Return the joules since then; None where nothing counts them."""
        now = _read_counters()
        if not self._start or now.keys() != self._start.keys():
            return None
        # A counter begins anew at its range.
        used = (
            (now[path][0] - self._start[path][0]) % max(now[path][1], 1) for path in self._start
        )
        return round(sum(used) / 1e6, 1)


def _read_counters() -> dict[Path, tuple[int, int]]:
    """Return microjoules and their range of each processor package."""
    counters = {}
    for folder in sorted(POWERCAP.glob("intel-rapl:?")):
        try:
            values = [int((folder / n).read_text()) for n in ("energy_uj", "max_energy_range_uj")]
        except (OSError, ValueError):
            return {}
        counters[folder] = (values[0], values[1])
    return counters
