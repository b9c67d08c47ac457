import pytest

from assay.sweep.engines import Engine, engine_of

JOBLIB = {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"}
SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"


@pytest.mark.parametrize(
    ("launcher", "jobs", "engine"),
    [
        (
            {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
            6,
            Engine("basic", 1, None),
        ),
        ({**JOBLIB, "n_jobs": 2}, 16, Engine("joblib", 2, 4)),
        ({**JOBLIB, "n_jobs": -1}, 16, Engine("joblib", 8, 1)),
        ({**JOBLIB, "n_jobs": -1}, 2, Engine("joblib", 2, 4)),
        ({**JOBLIB, "n_jobs": 1}, 16, Engine("joblib", 1, None)),
        ({"_target_": f"{SUBMITIT}.LocalLauncher"}, 4, Engine("submitit_local", 4, 2)),
        (
            {"_target_": f"{SUBMITIT}.SlurmLauncher", "cpus_per_task": 3},
            4,
            Engine("submitit_slurm", 1, 3, is_local=False),
        ),
        ({"_target_": RAY, "ray": {"remote": {"num_cpus": 2}}}, 4, Engine("ray", 4, 2)),
        ({"_target_": RAY, "ray": {}}, 4, Engine("ray", 8, 1)),
    ],
)
def test_the_cores_are_shared_among_the_jobs_at_once(
    launcher: dict[str, object], jobs: int, engine: Engine
) -> None:
    assert engine_of(launcher, jobs, cores=8) == engine
