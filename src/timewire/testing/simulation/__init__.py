"""The whole of Timewire on simulated time, network and disk, by a seed.

    python -m timewire.testing.simulation --seed 7

runs a seed and tells what the checker found; the same seed does the same, step by step.  All code
is the real one: server, sessions, fan-out, sync, the SDK's sessions and stores.  Simulated are
time, the network between them, the disk below the memory backends, and chance.

From top to bottom: ``world`` (one run) > ``load`` and ``chaos`` (what users do, what goes wrong) >
``device``, ``machine`` (the SDK, the server) > ``network``, ``disk``, ``recorder`` > ``loop``.
"""

from timewire.testing.simulation.world import Outcome, simulate

__all__ = ["Outcome", "simulate"]
