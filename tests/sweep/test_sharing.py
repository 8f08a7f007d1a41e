"""Runs that share a GPU: the service is started where it is of use, and ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optiscale.sweep import sharing


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control program that writes down how it is called."""
    log = tmp_path / "log"
    program = tmp_path / sharing.CONTROL
    program.write_text(f'#!/bin/sh\nread line\necho "$1 $line in ${sharing.PIPES}$CUDA_VISIBLE_DEVICES" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv(sharing.PIPES, raising=False)
    return log


def cards(monkeypatch: pytest.MonkeyPatch, n: int, *, usable: bool = True) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: n)
    real = sharing._succeeds

    def succeeds(command, environment, text=""):
        return usable if "torch" in command[-1] else real(command, environment, text)

    monkeypatch.setattr(sharing, "_succeeds", succeeds)


def test_workers_that_share_a_gpu_have_the_service_while_they_work(service, monkeypatch):
    cards(monkeypatch, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # the number by which workers know their GPU
    with sharing.shared_gpus(3) as environment:
        folder = environment[sharing.PIPES]
        assert Path(folder).is_dir()
        assert service.read_text() == f"-d  in {folder}\n"
    assert service.read_text().splitlines()[1:] == [f" quit in {folder}3"]
    assert not Path(folder).exists()


@pytest.mark.parametrize(("gpus", "workers"), [(0, 4), (2, 2), (4, 1)])
def test_nothing_is_started_where_nothing_is_shared(service, monkeypatch, gpus, workers):
    cards(monkeypatch, gpus)
    with sharing.shared_gpus(workers) as environment:
        assert environment == {}
    assert not service.exists()


def test_the_users_own_service_is_left_alone(service, monkeypatch):
    cards(monkeypatch, 1)
    monkeypatch.setenv(sharing.PIPES, "/elsewhere")
    with sharing.shared_gpus(2) as environment:
        assert environment == {}
    assert not service.exists()


def test_a_service_that_does_not_work_is_ended_and_named(service, monkeypatch, caplog):
    cards(monkeypatch, 1, usable=False)
    with sharing.shared_gpus(2) as environment:
        assert environment == {}
    assert "take turns" in caplog.text
    assert [line.split(" in ")[0] for line in service.read_text().splitlines()] == ["-d ", " quit"]
