"""What is a secret and what only sounds so: texts are kept out of every file, numbers stay."""

from pathlib import Path

from tests.regression import STOP, Shell, config, own_model
from tests.runs import result

OWN = ("~model.width", "model._target_=assay.models.mine.Net")
SECRET = "hunter2hunter2"
ATTENTION = """
import torch
from torch import Tensor, nn

class Net(nn.Module):
    def __init__(
        self, key_dim: int = 4, token_rate: float = 0.5, api_key: str = "", num_classes: int = 10
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(key_dim), nn.Linear(key_dim, num_classes))
        self.layers(torch.zeros(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
"""


def written(folder: Path) -> list[str]:
    """The files that hold the secret, checkpoints and event files among them."""
    return [
        str(path) for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def test_a_number_named_like_a_secret_is_kept_and_the_run_can_be_resumed(shell: Shell) -> None:
    own = str(own_model(shell.folder / "own", ATTENTION))
    run = shell.run(*OWN, "+model.key_dim=6", "+model.token_rate=0.25", code=143, fault=STOP, own_code=own)
    assert (config(run)["model"]["key_dim"], config(run)["model"]["token_rate"]) == (6, 0.25)
    assert "+model.key_dim=6" in (run / "overrides.yaml").read_text()
    assert "+model.key_dim=6" in result(run)["command"]
    done = shell.train(f"resume={run}", own_code=own)
    assert done.code == 0 and result(run)["steps"] == 30, done.screen


def test_a_text_named_like_a_secret_is_in_no_file_and_is_asked_for_again(shell: Shell) -> None:
    own = str(own_model(shell.folder / "own", ATTENTION))
    run = shell.run(*OWN, f"+model.api_key={SECRET}", code=143, fault=STOP, own_code=own)
    assert written(run) == []
    done = shell.train(f"resume={run}", own_code=own)
    assert done.refused("model.api_key") and SECRET not in done.screen, done.screen
    done = shell.train(f"resume={run}", f"model.api_key={SECRET}", own_code=own)
    assert done.code == 0 and written(run) == [], done.screen


def test_a_secret_of_the_environment_is_in_no_file_wherever_it_is_used(shell: Shell) -> None:
    monitors = "monitor: val/loss, dirpath: '${oc.env:MY_TOKEN}'"  # it keeps its files' names as keys
    callback = f"{{_target_: pytorch_lightning.callbacks.ModelCheckpoint, {monitors}}}"
    run = shell.run(f"+callbacks.keep={callback}", env={"MY_TOKEN": SECRET})
    assert written(run) == []
