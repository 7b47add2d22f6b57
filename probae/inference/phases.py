"""The negative phases by name."""

from __future__ import annotations

from probae.inference.negative_phases import CD, PCD, Exact, NegativePhase
from probae.inference.tempering import ParallelTempering
from probae.inference.trajectory import TrajectoryTempering

PHASES: dict[str, type[NegativePhase]] = {
    "cd": CD,
    "exact": Exact,
    "parallel_tempering": ParallelTempering,
    "pcd": PCD,
    "trajectory_tempering": TrajectoryTempering,
}
