from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher

__all__ = ["BatchedLauncher"]
