# Hydra's plugin scan finds a module that declares a dataclass only if it is already imported.
from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher, BatchedSlurmLauncher

__all__ = ["BatchedLauncher", "BatchedSlurmLauncher"]
