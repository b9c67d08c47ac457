import pytest

from assay.config.redact import REDACTED, redact, redact_text


def test_values_of_secret_keys_are_blanked() -> None:
    plain = {
        "api_key": "abc",
        "logger": {"w": {"TOKEN": "x", "project": "p"}},
        "list": [{"my_password": "x", "key_dim": 64}],
        "lr": 0.1,
    }
    assert redact(plain) == {
        "api_key": REDACTED,
        "logger": {"w": {"TOKEN": REDACTED, "project": "p"}},
        "list": [{"my_password": REDACTED, "key_dim": 64}],
        "lr": 0.1,
    }


def test_a_secret_of_the_environment_is_blanked_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "hunter2hunter2")
    assert redact({"note": "the word is hunter2hunter2."}) == {"note": f"the word is {REDACTED}."}


def test_an_override_is_text() -> None:
    assert (
        redact_text("train.py +logger.w.api_key=abc seed=1")
        == f"train.py +logger.w.api_key={REDACTED} seed=1"
    )
    assert redact_text("+model.key_dim=64 +model.tokenize=true") == "+model.key_dim=64 +model.tokenize=true"


def test_innocent_keys_stay() -> None:
    assert redact({"num_tokens": 5, "monkey": "x", "secret": None}) == {
        "num_tokens": 5,
        "monkey": "x",
        "secret": None,
    }
