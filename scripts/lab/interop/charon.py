"""strongSwan with ESP in user space (kernel-libipsec) as one side of a tunnel, told by swanctl.

Its limits: ESP always in UDP, no ESN, a replay window of 128, no lifetimes by bytes.
"""

import pathlib
import re
import shutil

from ..processes import kill
from ..shell import Failed, alive, ask, start, stop, until
from . import certificates
from .topology import OUTSIDE

CHARON = "/usr/lib/ipsec/charon"
PLUGINS = (
    "random nonce aes sha1 sha2 hmac kdf openssl gmp gcm curve25519 pem pkcs1 pkcs8 x509 pubkey constraints revocation "
    "kernel-libipsec kernel-netlink socket-default vici"
)
# Its own datagrams bear the mark and pass by the table of tunnels: a selector of all addresses includes the peer.
DAEMON = """charon {{
  load = {plugins}
  install_routes = yes
  fragment_size = {fragment_bytes}
  retransmit_timeout = 0.5
  retransmit_base = 1.5
  retransmit_tries = 4
  cache_crls = no
  filelog {{ f {{ path = {log}
    default = 1
    time_format = %s
    time_add_ms = yes
    ike = {ike_level}
    esp = 1
    flush_line = yes }} }}
  plugins {{ vici {{ socket = unix://{vici} }}
    kernel-netlink {{ fwmark = !0x42 }}
    kernel-libipsec {{ allow_peer_ts = no }}
    socket-default {{ fwmark = 0x42 }} }}
}}
swanctl {{ load = random nonce aes sha1 sha2 hmac openssl pem pkcs1 pkcs8 x509 pubkey }}
"""
CONNECTION = """connections {{ peer {{
  version = 2
  local_addrs = {local}
  remote_addrs = {remote}
  proposals = {ike}
  encap = yes
  fragmentation = yes
  mobike = {mobike}
  dpd_delay = {dpd}s
  rekey_time = {rekey_ike}s
  reauth_time = 0s
  over_time = 60s
  rand_time = 0s
{more}  local {{ {own} }}
  remote {{ {other} }}
  children {{ net {{
    local_ts = {inside}
    remote_ts = {far}
    esp_proposals = {esp}
    mode = tunnel
    rekey_time = {rekey_child}s
    life_time = {life_child}s
    rand_time = 0s
    dpd_action = clear
    start_action = none }} }}
}} }}
{secrets}"""


class Charon:
    """One charon for one tunnel, from `start` to `stop`."""

    def __init__(self, side, namespace, directory):
        self.side = side
        self.far_side = "b" if side == "a" else "a"
        self.namespace = namespace
        self.directory = directory
        self.log = directory / "charon.log"
        self.vici = directory / "vici"
        self.process = None

    def start(self, tunnel, certificates_of_tunnel, seen_as=None, log_keys=False):
        """Runs it with this tunnel; `seen_as`: the other side's outer address, where a NAT gives it another one."""
        if not pathlib.Path(CHARON).exists():
            raise Failed(f"{CHARON} is not there: scripts/setup interop installs it")
        self.directory.mkdir(mode=0o700)
        daemon = DAEMON.format(
            plugins=PLUGINS,
            fragment_bytes=tunnel.fragment_bytes,
            log=self.log,
            ike_level=4 if log_keys else 1,
            vici=self.vici,
        )
        self._file("daemon", daemon)
        self._file("swanctl.conf", self._connection(tunnel, seen_as))
        self.secret = tunnel.secrets[self.side]
        if certificates_of_tunnel:
            self._credentials(certificates_of_tunnel)
        private = f"mount -t tmpfs none /run && exec {CHARON}"
        self.process = start(
            # Ahead of whatever else runs here: its sockets hold some 20 ms of a fast stream, and what they lose is no tunnel's loss.
            *("chrt", "--rr", 5, "unshare", "-m", "sh", "-c", private),
            namespace=self.namespace,
            log=self.directory / "out",
            environment=self._environment(),
        )
        until(self.vici.exists, 10, f"charon of side {self.side} listens")
        loaded = self.swanctl("--load-all", "--file", self.directory / "swanctl.conf")
        if not loaded.ok or "loading connection 'peer' failed" in loaded.output:
            raise Failed(f"swanctl --load-all: {loaded.output.strip()}")

    def _file(self, name, text):
        (self.directory / name).write_text(text, encoding="utf-8")

    def _environment(self):
        return {"STRONGSWAN_CONF": str(self.directory / "daemon"), "SWANCTL_DIR": str(self.directory)}

    def _connection(self, tunnel, seen_as):
        outside = OUTSIDE[tunnel.outside]
        local, remote = outside[self.side], seen_as or outside[self.far_side]
        ike, esp = tunnel.proposals(self.side)
        rekey_child = tunnel.rekey_child.get(self.side, 0)
        more = f"  ppk_id = interop\n  ppk_required = yes\n" if self.side in tunnel.ppk else ""
        if tunnel.start_on_4500 and self.side == tunnel.initiator:
            more += "  local_port = 4500\n  remote_port = 4500\n"
        own, other, secrets = self._proofs(tunnel, outside)
        return CONNECTION.format(
            local=local,
            remote=remote if self.side == tunnel.initiator else "%any",
            ike=ike,
            esp=esp,
            mobike="yes" if tunnel.mobike else "no",
            dpd=tunnel.dpd_seconds.get(self.side, 0),
            rekey_ike=tunnel.rekey_ike.get(self.side, 0),
            rekey_child=rekey_child,
            life_child=rekey_child + 30 if rekey_child else 0,
            more=more,
            own=own,
            other=other,
            inside=",".join(tunnel.selectors(self.side)),
            far=",".join(tunnel.selectors(self.far_side)),
            secrets=secrets,
        )

    def _proofs(self, tunnel, outside):
        secrets = ""
        if self.side in tunnel.ppk:
            secrets += f'  ppk-1 {{ id-1 = interop\n    secret = "{tunnel.ppk[self.side]}" }}\n'
        if tunnel.proof == "psk":
            own = f"auth = psk\n    id = {outside[self.side]}"
            other = f"auth = psk\n    id = {outside[self.far_side]}"
            secrets += f'  ike-1 {{ id-1 = {outside["a"]}\n    id-2 = {outside["b"]}\n    secret = "{tunnel.secrets[self.side]}" }}\n'
        else:
            own = f"auth = pubkey\n    certs = own.pem\n    id = {certificates.identity(self.side)}"
            other = f"auth = pubkey\n    id = {certificates.identity(self.far_side)}"
        return own, other, f"secrets {{\n{secrets}}}\n"

    def _credentials(self, made):
        for folder, source, name in (
            ("x509", f"{self.side}.pem", "own.pem"),
            ("x509ca", "root.pem", "root.pem"),
            ("private", f"{self.side}.key", "own.key"),
        ):
            (self.directory / folder).mkdir()
            shutil.copy(made / source, self.directory / folder / name)

    def swanctl(self, *command, seconds=20):
        """Asks this charon; `Answer`."""
        settings = [f"{name}={value}" for name, value in self._environment().items()]
        return ask("env", *settings, "swanctl", *command, "--uri", f"unix://{self.vici}", seconds=seconds)

    def other_secret(self, text):
        """Takes another pre-shared key in place of the one that it has."""
        file = self.directory / "swanctl.conf"
        words = file.read_text(encoding="utf-8")
        file.write_text(words.replace(self.secret, text), encoding="utf-8")
        answer = self.swanctl("--load-creds", "--clear", "--file", file)
        if not answer.ok:
            raise Failed(f"swanctl --load-creds: {answer.output.strip()}")

    def initiate(self):
        """Brings the tunnel up; `Answer`."""
        return self.swanctl("--initiate", "--child", "net", "--timeout", "10")

    def refusal(self):
        """Asks for a tunnel that shall not come up; what swanctl says of it."""
        answer = self.initiate()
        return "" if answer.ok else answer.output

    def rekey_child(self):
        self._must("--rekey", "--child", "net")

    def rekey_ike(self):
        self._must("--rekey", "--ike", "peer")

    def _must(self, *command):
        answer = self.swanctl(*command)
        if not answer.ok:
            raise Failed(f"swanctl {' '.join(command)}: {answer.output.strip()}")

    def forget(self):
        """Nothing is up before it is asked for."""

    def by_order(self, tunnel):
        """Its lifetimes are its own."""
        return None

    def ike(self):
        """SPIs of the IKE SAs that are established, as `initiator-responder`."""
        return [f"{sa['initiator-spi']}-{sa['responder-spi']}" for sa in self._sas() if sa["state"] == "ESTABLISHED"]

    def children(self):
        """Inbound SPI and group of the key exchange (empty without one) of the installed child SAs."""
        return {
            child["spi-in"]: child.get("dh-group", "")
            for sa in self._sas()
            for child in sa["children"]
            if child["state"] == "INSTALLED"
        }

    def suite(self):
        """The words of the newest IKE SA and of its newest child."""
        sas = self._sas()
        return (sas[-1], (sas[-1]["children"] or [{}])[-1]) if sas else ({}, {})

    def _sas(self):
        """What `swanctl --list-sas --raw` says: `name {key=value … child-sas {net-1 {key=value …}}}`."""
        found = []
        for line in self.swanctl("--list-sas", "--raw").output.splitlines():
            if not line.startswith("list-sa event"):
                continue
            outer, _, inner = line.partition("child-sas {")
            sa = dict(re.findall(r"([a-z0-9-]+)=(\S+?)[ }]", outer + " "))
            children = re.split(r"net-\d+ \{", inner)[1:]
            sa["children"] = [dict(re.findall(r"([a-z0-9-]+)=([^\s}]+)", child)) for child in children]
            if "state" in sa and "initiator-spi" in sa:
                found.append(sa)
        return found

    def said(self, pattern):
        """How often its log says this."""
        return len(re.findall(pattern, self.words()))

    def words(self):
        """Its whole log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def pid(self):
        """Of charon: `ip`, `unshare` and `sh` became it."""
        return self.process.pid

    def kill(self):
        """kill -9; the time of it."""
        return kill(self.process.pid)

    def stop(self):
        """Ends it and forgets its files."""
        if self.process and alive(self.process.pid):
            stop([self.process.pid])
        # What a killed one left: routes go with the device, rules and the device do not.
        for family in ("-4", "-6"):
            while ask("ip", family, "-n", self.namespace, "rule", "del", "table", "220").ok:
                pass
            ask("ip", family, "-n", self.namespace, "route", "flush", "table", "220")
        shutil.rmtree(self.directory, ignore_errors=True)

    def last_words(self):
        """For a failure's message."""
        out = self.directory / "out"
        lines = self.words().splitlines()[-15:] or (out.read_text(errors="replace").splitlines()[-15:] if out.exists() else [])
        return "\n".join([f"--- charon of side {self.side}", *lines])
