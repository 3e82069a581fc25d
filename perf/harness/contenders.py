"""What forwards in a chain: Tombolo, a bare AF_XDP forwarder, the kernel, the kernel with masquerade, strongSwan."""

import os
import pathlib
import subprocess
import tempfile

from lab.gateway import Gateway
from lab.namespaces import pids
from lab.processes import running
from lab.shell import Failed, ask, must, start, until

from .strongswan import StrongSwan  # noqa: F401  (one list of contenders)

PORTS = """gateway: {name}
workers: 1
segments: {{ inside: {{}}, outside: {{}} }}
ports:
  left: {{ device: left, segment: inside, addresses: [{left}/24] }}
  right: {{ device: right, segment: outside, addresses: [{right}/24], nat-ports: 20000-29999 }}
"""
POLICY_AND_NAT = """routes:
  inside:
    - {{ to: {far}/24, segment: outside }}
  outside: []
nat:
  source:
    - {{ from: inside, to: outside, address: port }}
policy:
{rules}  - {{ name: out, from: inside, to: outside, action: allow }}
"""
RULES = 100
TUNNEL = """gateway: {name}
workers: 1
limits: {{ tunnels: 1024 }}
segments: {{ prod: {{}}, internet: {{}} }}
ports:
  cloud: {{ device: {cloud}, segment: prod, addresses: [{cloud_address}/24] }}
  uplink: {{ device: {uplink}, segment: internet, underlay: true, addresses: [{local}/24] }}
routes:
  internet: []
  prod:
    - {{ to: {far}/24, tunnel: to-peer }}
tunnels:
  to-peer: {{ segment: prod, local: {local}, remote: {remote}, keys: "file:to-peer.sa" }}
"""


def cpu_seconds(pids):
    """User and system time of processes so far, all their threads, as the scheduler counts it."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def wakeups(pids):
    """How often threads of processes went to sleep so far: each time somebody had to wake them."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
            try:
                lines = task.read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


class Tombolo:
    """The gateway: policy and source NAT with one in the chain, a tunnel with two."""

    name = "tombolo"
    addresses = False

    def __init__(self, run, chain):
        self.run, self.chain = run, chain
        self.directory = tempfile.TemporaryDirectory(prefix="tombolo-perf-", ignore_cleanup_errors=True)
        self.gateways = []

    def start(self):
        """Returns when packets may come."""
        roles = self.chain.roles[1:-1]
        self.gateways = [self._gateway(role) for role in roles]
        if len(roles) == 2:
            keys = [gateway.secrets_dir / "to-peer.sa" for gateway in self.gateways]
            must(self.run.programs["tombolo"], "sa", "generate", *keys)
        for gateway in self.gateways:
            self._write(gateway, roles)
        self.prepare()
        for core, gateway in enumerate(self.gateways):
            self._start(gateway, core)
        for gateway in self.gateways:
            try:
                if len(roles) == 2:
                    gateway.wait_until_up(("to-peer",))
                else:
                    running(gateway)
            except Failed as failed:
                raise Failed(f"{failed}\n{gateway.last_words()}") from None

    def prepare(self):
        """What else is to be done before the gateways start."""

    def _gateway(self, role):
        directory = pathlib.Path(self.directory.name)
        gateway = Gateway(role, self.chain.namespaces[role], directory, self.run.programs.directory)
        gateway.prepare()
        gateway.config = directory / f"{role}.yaml"
        return gateway

    def _write(self, gateway, roles):
        chain, role = self.chain, gateway.name
        if len(roles) == 1:
            rules = "".join(
                f"  - {{ name: r{n}, from: inside, to: outside, source: 10.8.{n}.0/24, protocol: tcp, port: {n + 1}, action: deny }}\n"
                for n in range(RULES)
            )
            text = (PORTS + POLICY_AND_NAT).format(
                name=role, left=chain.address(role, "left"), right=chain.address(role, "right"), far="10.9.1.0", rules=rules
            )
        else:
            first = role == roles[0]
            cloud, uplink = ("left", "right") if first else ("right", "left")
            text = TUNNEL.format(
                name=role,
                cloud=cloud,
                uplink=uplink,
                cloud_address=chain.address(role, cloud),
                local=chain.address(role, uplink),
                remote=chain.address(roles[1], "left") if first else chain.address(roles[0], "right"),
                far="10.9.2.0" if first else "10.9.0.0",
            )
        gateway.config.write_text(text, encoding="utf-8")

    def _start(self, gateway, core):
        # Its worker goes to the first core that it may use.
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core % os.cpu_count()})
        try:
            gateway.start()
        finally:
            os.sched_setaffinity(0, before)

    def pids(self):
        """Of all processes."""
        return [pid for gateway in self.gateways for pid in pids(gateway.namespace)]

    def stop(self):
        """The chain ends the processes."""
        self.directory.cleanup()


class Bare:
    """A forwarder of our own that sets MAC addresses and nothing else, in each place of a gateway."""

    name = "bare"
    addresses = True

    def __init__(self, run, chain):
        self.run, self.chain, self.running = run, chain, []

    def start(self):
        """Returns when all forward."""
        roles = self.chain.roles
        for core, at in enumerate(range(1, len(roles) - 1)):
            before, after = roles[at - 1], roles[at + 1]
            command = [
                *("ip", "netns", "exec", self.chain.namespaces[roles[at]], self.run.programs["bare-forward"], "left", "right"),
                *("--left-next", self.chain.mac(before, "right"), "--right-next", self.chain.mac(after, "left")),
                *("--core", core % os.cpu_count()),
            ]
            process = subprocess.Popen(
                [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            self.running.append(process)
            said = process.stdout.readline().strip()
            if said != "ready":
                raise Failed(f"bare-forward: {said} {process.stdout.read()}")

    def pids(self):
        """Of the forwarders."""
        return [process.pid for process in self.running]

    def stop(self):
        """Ends them."""
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()


class Kernel:
    """The kernel's own forwarding."""

    name = "kernel"
    addresses = True

    def __init__(self, run, chain):
        self.chain = chain

    def start(self):
        """Switches it on."""
        for role in self.chain.roles[1:-1]:
            must("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", namespace=self.chain.namespaces[role])

    def pids(self):
        """None: the kernel works for others' account."""
        return []

    def stop(self):
        """Nothing to end."""


class Masquerade(Kernel):
    """The same with nftables masquerade and connection tracking."""

    name = "masquerade"
    RULES = "table ip n { chain p { type nat hook postrouting priority 100; oifname right masquerade; }; }"

    def start(self):
        super().start()
        must("nft", self.RULES, namespace=self.chain.namespaces["gw-a"])


def listening(chain):
    """An iperf3 server on the sink."""
    namespace = chain.namespaces["sink"]
    process = start("iperf3", "-s", namespace=namespace, log="/dev/null")
    until(lambda: ":5201 " in ask("ss", "-Hltn", namespace=namespace).output, 10, "iperf3 listens")
    return process
