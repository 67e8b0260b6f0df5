# Hydra's scan finds a module that declares a dataclass only if it is imported already.
from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher, BatchedSlurmLauncher

__all__ = ["BatchedLauncher", "BatchedSlurmLauncher"]
