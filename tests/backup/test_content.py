"""What a backup holds is what the disk held when the job began, whatever the guest does."""

from __future__ import annotations

import random

import pytest

from tests.backup.world import BackupWorld

CASES = 300
CHAIN = 10


@pytest.mark.parametrize("seed", range(CASES))
def test_a_full_backup(seed: int) -> None:
    world = BackupWorld(random.Random(seed))
    world.guest_acts(world.chance.randrange(12))
    world.pass_time(0)
    world.add_image("target", world.chance.choice(["raw", "qcow2"]))
    begin = world.back_up("target", sync="full")
    world.finish()
    assert world.content("target") == begin
    assert world.content("source") == world.model
    world.close()


@pytest.mark.parametrize("seed", range(CASES, CASES + 60))
def test_sync_none_shows_the_beginning_through_the_target(seed: int) -> None:
    world = BackupWorld(random.Random(seed))
    world.guest_acts(world.chance.randrange(12))
    world.pass_time(0)
    world.add_image("target", "qcow2", backing="source")
    begin = world.back_up("target", sync="none")
    world.pass_time(1000)
    assert world.content("target") == begin
    world.execute("job-cancel", id="j")
    world.close()


@pytest.mark.parametrize("seed", range(30))
def test_one_full_and_ten_incremental_backups(seed: int) -> None:
    world = BackupWorld(random.Random(seed))
    world.guest_acts(8)
    granularity = world.chance.choice([512, 65536, 1 << 20])
    world.execute("block-dirty-bitmap-add", node="source", name="b", granularity=granularity)
    world.add_image("full", "qcow2")
    contents = {"full": world.back_up("full", sync="full")}
    world.finish()
    below = "full"
    for number in range(CHAIN):
        world.guest_acts(world.chance.randrange(6))
        world.pass_time(0)
        name = f"inc{number}"
        world.add_image(name, "qcow2", backing=below)
        contents[name] = world.back_up(name, sync="incremental", bitmap="b")
        world.finish()
        below = name
    assert {name: world.content(name) for name in contents} == contents
    world.close()
