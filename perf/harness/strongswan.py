"""strongSwan with ESP in user space (kernel-libipsec): two charons, IKEv2 with a shared secret, AES-256-GCM, always in UDP."""

import pathlib
import tempfile

from lab.shell import Failed, alive, ask, must, start, until

CHARON = "/usr/lib/ipsec/charon"
DAEMON = """charon {{
  load = random nonce aes sha1 sha2 hmac kdf openssl gcm curve25519 kernel-libipsec kernel-netlink socket-default vici
  install_routes = yes
  filelog {{ f {{ path = {directory}/{name}.log
    default = 0 }} }}
  plugins {{ vici {{ socket = unix://{directory}/{name}.vici }} }}
}}
swanctl {{ load = random nonce sha1 sha2 hmac openssl }}
"""
CONNECTION = """connections {{ peer {{
  version = 2
  local_addrs = {local}
  remote_addrs = {remote}
  proposals = aes256gcm16-prfsha256-x25519
  encap = yes
  local {{ auth = psk
    id = {local} }}
  remote {{ auth = psk
    id = {remote} }}
  children {{ net {{
    local_ts = {inside}
    remote_ts = {far}
    esp_proposals = aes256gcm16-x25519
    mode = tunnel
    start_action = none }} }}
}} }}
secrets {{ ike-1 {{ id-1 = {local}
  id-2 = {remote}
  secret = "of no value to anybody" }} }}
"""


class StrongSwan:
    """A charon in each gateway's place, the kernel forwarding into its TUN device."""

    name = "strongswan"
    addresses = True

    def __init__(self, run, chain):
        self.chain = chain
        self.temporary = tempfile.TemporaryDirectory(prefix="tombolo-perf-", ignore_cleanup_errors=True)
        self.directory = pathlib.Path(self.temporary.name)
        self.running = {}

    def start(self):
        """Returns when the child SA is there."""
        if not pathlib.Path(CHARON).exists():
            raise Failed(f"{CHARON} is not there: scripts/setup perf installs it")
        chain = self.chain
        ends = {"gw-a": chain.address("gw-a", "right"), "gw-b": chain.address("gw-b", "left")}
        nets = {"gw-a": "10.9.0.0/24", "gw-b": "10.9.2.0/24"}
        for role, other in (("gw-a", "gw-b"), ("gw-b", "gw-a")):
            namespace = chain.namespaces[role]
            # The kernel would send what is to be sealed straight to the other gateway.
            ask("ip", "-n", namespace, "route", "del", nets[other])
            must("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", namespace=namespace)
            must("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", namespace=namespace)
            self._configure(role, ends[role], ends[other], nets[role], nets[other])
            private = f"mount -t tmpfs none /run && exec {CHARON}"
            self.running[role] = start(
                *("unshare", "-m", "sh", "-c", private),
                namespace=namespace,
                log=self.directory / f"{role}.out",
                environment=self._environment(role),
            )
        for role in ends:
            until(lambda role=role: (self.directory / f"{role}.vici").exists(), 10, f"charon of {role} listens")
            self._swanctl(role, "--load-all", "--file", str(self.directory / f"{role}.conf"))
        self._swanctl("gw-a", "--initiate", "--child", "net")
        until(self._routed, 5, "the tunnel's route is there")

    def _routed(self):
        return "ipsec" in ask("ip", "-n", self.chain.namespaces["gw-a"], "route", "show", "table", "220").output

    def _environment(self, role):
        return {"STRONGSWAN_CONF": str(self.directory / f"{role}.daemon")}

    def _configure(self, role, local, remote, inside, far):
        daemon = DAEMON.format(directory=self.directory, name=role)
        connection = CONNECTION.format(local=local, remote=remote, inside=inside, far=far)
        (self.directory / f"{role}.daemon").write_text(daemon, encoding="utf-8")
        (self.directory / f"{role}.conf").write_text(connection, encoding="utf-8")

    def _swanctl(self, role, *command):
        settings = f"STRONGSWAN_CONF={self.directory}/{role}.daemon"
        uri = ("--uri", f"unix://{self.directory}/{role}.vici")
        answer = ask("env", settings, "swanctl", *command, *uri, seconds=20)
        if not answer.ok:
            raise Failed(f"swanctl {command[0]}: {answer.output.strip()}")

    def pids(self):
        """Of both charons: `unshare` and `sh` became them."""
        return [process.pid for process in self.running.values() if alive(process.pid)]

    def stop(self):
        """The chain ends the processes."""
        self.temporary.cleanup()
