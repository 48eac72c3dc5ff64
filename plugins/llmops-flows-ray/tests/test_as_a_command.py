"""Hydra's own suite for apps that are started with a launcher."""

import pytest
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ray", "hydra.launcher.address=auto"])]
)
class TestRayAsACommand(IntegrationTestSuite):
    pass
