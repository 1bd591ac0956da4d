"""What a file can say of the parts beside the work is what they are made with."""

from __future__ import annotations

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import DeadLetterSettings, Health, Store, read_settings
from chaoskit.runtime.config.problems import ConfigurationProblems

NEURO = """
retry:
  default: {on: [transient, resource], attempts: 3, wait: {initial: 5m, cap: 1h, jitter: 20%}}
  conversion: {attempts: 2, wait: {cap: 30m}}
dead_letters: {keep: 90d, max_redrives: 5}
notifications:
  webhook: {url: "https://hooks.example.com/services/T0/SECRET", least: error}
  email: {host: mail.example.com, sender: ops@example.com, recipients: [a@example.com],
          password: pw, username: u}
  rate: 3
  on_dead_letter: true
preflight:
  imaging:
    disk: [{path: ".", size: 1MiB}]
    staging: {path: /dev/shm, size: 4KiB, fallback: "."}
    margin: 20%
resources: {every: 1s, thresholds: [{resource: descriptors, limit: 16}]}
quota: {concurrency: 3, budgets: {image: {concurrent: 1, amount: 8.5}}, priorities: {image: 2}}
gates: {image: {metrics: [{name: noise, maximum: 2}]}}
memory: {fit: {batch: 64, shrink: 25%, keep_free: 1MiB}}
recovery: {by: {resource: later, FileMissing: look}, history: 3}
health: {tools: [sh], queues: {conversion: {warn: 1h, most: 1d}}, disk_least: 1MiB, disk_warn: 2MiB}
"""


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "neuro.yaml"
    file.write_text(NEURO)
    return read_settings(file, environment={}, pyproject=tmp_path / "none.toml")


def test_each_part_is_made_of_what_the_file_says(settings, tmp_path):
    """Policies with their overrides, retention, messages, resources, gates and health."""
    value = settings.value
    assert value.retry["conversion"].attempts == 2
    assert value.preflight["imaging"].preflight().check().ok
    assert value.resources.monitor().thresholds[0].limit == 16
    assert value.quota.quota().use()["image"].running == 0
    assert not value.gates["image"].gate("image").judge({"noise": 3}).passed
    notifier = value.notifications.notifier()
    assert [one.name for one in notifier.channels] == [
        "e-mail by mail.example.com",
        "webhook at hooks.example.com",
    ]
    with Store.open(tmp_path / "s.db", durability="process-crash") as store:
        assert value.dead_letters.letters(store).statistics().total == 0
        assert value.notifications.watch(store, notifier).look() == 0
        report = Health(value.health.checks(store, tmp_path)).report()
        assert [one.name for one in report.findings] == ["disk", "tools", "queue conversion"]
        assert report.status == "healthy"


def test_memory_and_recoveries_are_made_of_what_the_file_says(settings):
    """The file has numbers and names, code has what they stand for."""
    assert settings.value.memory["fit"].pressure(emergency=None).batch == 64
    told = []
    manager = settings.value.recovery.manager(
        {"later": lambda error, context: told.append("later"), "look": lambda error, context: "looked"}
    )
    assert manager.handle(FileNotFoundError(2, "no", "a")).value == "looked"
    manager.handle(MemoryError())
    assert told == ["later"]
    with pytest.raises(UsageError, match="expected one of: later"):
        settings.value.recovery.manager({"later": lambda error, context: None})


def test_secrets_stay_secret(settings):
    """The address of a webhook is one, and so is a password."""
    assert "SECRET" not in repr(settings.value)
    assert "'pw'" not in repr(settings.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("notifications: {webhook: {url: 'ftp://x'}}", "https address"),
        (
            "notifications: {email: {host: h, sender: s, recipients: [], security: tls}}",
            "at least one address",
        ),
        ("gates: {a: {metrics: [{name: n}]}}", "a minimum or a maximum"),
        ("health: {queues: {a: {warn: 2d}}}", "at most as many"),
        ("memory: {fit: {batch: 2, least: 3}}", "between 1 and the batch"),
        ("recovery: {by: {nonsense: later}}", "nonsense"),
        ("celery: {visibility_timeout: 5}", "at least the lease"),
        ("resources: {thresholds: [{resource: disc, limit: 1}]}", "disc"),
    ],
)
def test_what_a_part_refuses_is_a_problem_of_the_file(tmp_path, text, problem):
    """With the words of the part."""
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationProblems, match=problem):
        read_settings(file, environment={}, pyproject=tmp_path / "none.toml")


def test_nothing_is_told_without_a_channel():
    """An empty file makes a notifier that is silent, and no watch."""
    value = read_settings(environment={}, pyproject="/nonexistent").value
    assert value.notifications.watch(None, value.notifications.notifier()) is None
    assert value.dead_letters == DeadLetterSettings()
