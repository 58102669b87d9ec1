"""Checkpoints, resets and losses of power in tests that the plugin runs."""

from __future__ import annotations

import pytest

from tests.testing.test_plugin import run

pytest_plugins = ["pytester"]


def test_state_and_power_in_a_test(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        import qmpd
        from qmpd.testing import every_power_loss

        @pytest.mark.qmpd(disks={"a": "1M"}, power=True)
        def test_power(qmpd_machine):
            qmpd_machine.disk("a").write(0, b"x", fua=True)
            qmpd_machine.disk("a").write(0, b"y")
            qmpd_machine.power_loss(keep="flushed")
            qmpd_machine.restart()
            assert qmpd_machine.disk("a").read(0, 1) == b"x"

        @pytest.mark.qmpd(disks={"a": "1M"})
        def test_state(qmpd_machine, tmp_path):
            qmpd_machine.disk("a").write(0, b"x")
            mark = qmpd_machine.checkpoint()
            qmpd_machine.reset()
            assert qmpd_machine.disk("a").read(0, 1) == b"\\0"
            qmpd_machine.restore(mark)
            assert qmpd_machine.disk("a").read(0, 1) == b"x"
            with mark.fork() as other:
                other.disk("a").write(0, b"y")
            mark.save(tmp_path / "kept")
            with qmpd.Machine.load(tmp_path / "kept") as other:
                assert other.disk("a").read(0, 1) == b"x"

        def test_every_point():
            def scenario(vm):
                vm.disk("a").write(0, b"x", fua=True)
                yield b"x"
                vm.disk("a").write(512, b"y")

            def check(vm, reached):
                assert reached is None or vm.disk("a").read(0, 1) == reached

            assert every_power_loss(scenario, check, disks={"a": "1M"}) == 4
        """,
    )
    done.assert_outcomes(passed=3)
