from tests.support.factory import *  # noqa: F403
