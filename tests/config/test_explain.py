import tomllib

from assay import PROJECT
from assay.config.explain import EXTRAS, no_option


def test_a_launcher_that_is_not_installed_names_the_extra_that_has_it() -> None:
    problem = no_option("hydra/launcher", "ray", ["basic"])
    assert "pip install -e '.[ray]'" in problem.text
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)
