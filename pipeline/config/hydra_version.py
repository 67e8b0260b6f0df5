"""What Hydra 1.3 and 1.4 want differently, with the OmegaConf of each."""

from __future__ import annotations

from typing import Any

import hydra
from omegaconf import OmegaConf

IS_1_3 = hydra.__version__.startswith("1.3.")

VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if IS_1_3 else {}
"""For `hydra.main` and `initialize_config_dir`: 1.3 warns where it is missing, 1.4 where it is given."""

# OmegaConf 2.3 has a deprecated function of this name.
register_resolver: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver
