from tests.support.factory import make_job

__all__ = ["make_job"]
