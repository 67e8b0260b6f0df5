from tests.support.factory import DATA_DIGEST, make_result
from tests.support.factory import tracked_job as make_job

__all__ = ["DATA_DIGEST", "make_job", "make_result"]
