from tests.support.factory import make_job, settings

__all__ = ["make_job", "settings"]
