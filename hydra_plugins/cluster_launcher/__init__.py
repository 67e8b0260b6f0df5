from hydra_plugins.cluster_launcher.cluster_launcher import BatchedLocalLauncher, BatchedSlurmLauncher

__all__ = ["BatchedLocalLauncher", "BatchedSlurmLauncher"]
