"""The part of the store that keeps networks, and what they take under which conditions."""

from sqlalchemy import select

from ..spaces import Architecture
from .core import Database
from .latencies import LatencyRecord, newest, readable, record_of, replacement, row_of, same_conditions
from .patience import patient
from .tables import ClockRow, LatencyRow


class Latencies(Database):
    """Clocks and latencies; one row for a network under the same conditions."""

    @patient
    def clock(self, hardware: str, threads: int, torch: str, device: str) -> tuple[float, float, str] | None:
        """What the small and the large reference network take, in milliseconds, and the host that said so."""
        with self.session() as session:
            row = session.get(ClockRow, (hardware, threads, torch, device))
            return None if row is None else (row.small_ms, row.large_ms, row.host)

    def keep_clock(
        self, hardware: str, threads: int, torch: str, device: str, *, small_ms: float, large_ms: float, host: str
    ) -> None:
        """Keep a calibration; the first one of a kind of host stays, so that its figures compare."""
        times = {"small_ms": small_ms, "large_ms": large_ms, "host": host}
        self._add_unless_there(ClockRow(hardware=hardware, threads=threads, torch=torch, device=device, **times))

    @patient
    def latency(
        self,
        architecture_key: str,
        *,
        backend: str,
        version: str,
        hardware: str,
        threads: int,
        batch: int,
        precision: str,
    ) -> LatencyRecord | None:
        """What a network takes under these conditions, if any study measured it."""
        conditions = same_conditions(
            backend=backend, version=version, hardware=hardware, threads=threads, batch=batch, precision=precision
        )
        with self.session() as session:
            row = session.scalar(select(LatencyRow).where(LatencyRow.architecture_key == architecture_key, conditions))
            return None if row is None else record_of(row)

    @patient
    def keep_latency(self, architecture: Architecture, record: LatencyRecord) -> None:
        """Keep a latency in the place of that of the same conditions, which stays if it is less noisy and the new one
        was measured alone.
        """
        assert record.latency_ms > 0  # nor NaN, which SQLite takes for nothing
        assert record.noise >= 0
        self._add_architecture(architecture)
        if not self._add_unless_there(row_of(architecture.key, record)):
            with self.session() as session:
                session.execute(replacement(architecture.key, record))
                session.commit()

    @patient
    def latencies(
        self, *, backend: str, version: str, hardware: str, threads: int, batch: int, precision: str, limit: int = 1000
    ) -> list[tuple[Architecture, float]]:
        """Networks and milliseconds under these conditions: the newest that are not noisy, the newest last.

        Networks of own code that this process may not run are left out.
        """
        conditions = same_conditions(
            backend=backend, version=version, hardware=hardware, threads=threads, batch=batch, precision=precision
        )
        with self.session() as session:
            return readable(session.execute(newest(conditions, limit)).all()[::-1])
