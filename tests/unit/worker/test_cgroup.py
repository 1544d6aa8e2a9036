from __future__ import annotations

import pytest

from labelmill.worker.cgroup import cpu_quota

V1_CPU = (
    "33 31 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
)
V1_MEMORY = "34 31 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V2 = "41 31 0:38 {mounted} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
ROOT_FS = "23 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw"


class Machine:
    """The kernel's files, as fixtures below a folder."""

    def __init__(self, root):
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        self.mounts(ROOT_FS)
        self.groups("0::/")

    def mounts(self, *lines):
        (self.root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")

    def groups(self, *lines):
        (self.root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")

    def limit(self, folder, **files):
        path = self.root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (path / name.replace("cpu_", "cpu.")).write_text(content + "\n")

    def quota(self):
        return cpu_quota(self.root)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def v2(machine):
    machine.mounts(ROOT_FS, V2.format(mounted="/"))
    machine.groups("0::/kube.slice/pod.slice/box.scope")
    return machine


@pytest.fixture
def v1(machine):
    machine.mounts(ROOT_FS, V1_MEMORY, V1_CPU.format(mounted="/"))
    machine.groups("5:memory:/elsewhere", "2:cpu,cpuacct:/docker/box", "1:name=systemd:/docker/box")
    return machine


def test_without_control_groups_there_is_no_quota(machine):
    assert machine.quota() is None


def test_a_system_without_proc_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


def test_v2_without_a_limit(v2):
    v2.limit("kube.slice/pod.slice/box.scope", cpu_max="max 100000")
    assert v2.quota() is None


@pytest.mark.parametrize(
    ("line", "cores"), [("150000 100000", 1.5), ("20000 50000", 0.4), ("300000", 3.0)]
)
def test_v2_quota_is_a_share_of_its_period(v2, line, cores):
    v2.limit("kube.slice/pod.slice/box.scope", cpu_max=line)
    assert v2.quota() == cores


def test_the_tightest_enclosing_v2_group_counts(v2):
    v2.limit("kube.slice", cpu_max="800000 100000")
    v2.limit("kube.slice/pod.slice", cpu_max="250000 100000")
    v2.limit("kube.slice/pod.slice/box.scope", cpu_max="max 100000")
    assert v2.quota() == 2.5


def test_a_group_beside_ours_does_not_count(v2):
    v2.limit("kube.slice/other.slice", cpu_max="100000 100000")
    assert v2.quota() is None


def test_a_container_sees_its_own_v2_group_at_the_top(v2):
    v2.groups("0::/")
    v2.limit("", cpu_max="200000 100000")
    assert v2.quota() == 2


def test_a_v2_group_outside_of_the_namespace(v2):
    v2.groups("0::/../../box.scope")
    v2.limit("", cpu_max="200000 100000")
    assert v2.quota() == 2


def test_v1_without_a_limit(v1):
    v1.limit("cpu,cpuacct/docker/box", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert v1.quota() is None


def test_v1_quota_is_a_share_of_its_period(v1):
    v1.limit("cpu,cpuacct/docker/box", cpu_cfs_quota_us="75000", cpu_cfs_period_us="50000")
    assert v1.quota() == 1.5


def test_the_tightest_enclosing_v1_group_counts(v1):
    v1.limit("cpu,cpuacct/docker", cpu_cfs_quota_us="120000", cpu_cfs_period_us="100000")
    v1.limit("cpu,cpuacct/docker/box", cpu_cfs_quota_us="400000", cpu_cfs_period_us="100000")
    assert v1.quota() == 1.2


def test_a_v1_container_has_its_own_group_mounted_at_the_top(v1):
    v1.mounts(ROOT_FS, V1_CPU.format(mounted="/docker/box"))
    v1.limit("cpu,cpuacct", cpu_cfs_quota_us="300000", cpu_cfs_period_us="100000")
    assert v1.quota() == 3


def test_a_hybrid_system_has_the_quota_in_v1(v1):
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
    v1.mounts(ROOT_FS, V1_CPU.format(mounted="/"), unified)
    v1.groups("2:cpu,cpuacct:/docker/box", "0::/docker/box")
    v1.limit("unified/docker/box", cgroup_procs="")
    v1.limit("cpu,cpuacct/docker/box", cpu_cfs_quota_us="200000", cpu_cfs_period_us="100000")
    assert v1.quota() == 2


def test_a_mount_point_with_a_blank(machine):
    machine.mounts(ROOT_FS, V2.format(mounted="/").replace("/cgroup ", "/cgroup\\040two "))
    machine.limit("../cgroup two", cpu_max="50000 100000")
    assert machine.quota() == 0.5
