"""Hydra's own suites for launchers, all on one cluster."""

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra_plugins.llmops_flows_ray import RayLauncher

pytestmark = pytest.mark.usefixtures("cluster")


def test_hydra_finds_it() -> None:
    assert RayLauncher.__name__ in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", [])])
class TestRay(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ray", "hydra.launcher.address=auto"])]
)
class TestRayAsACommand(IntegrationTestSuite):
    pass
