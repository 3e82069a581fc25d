"""Tombolo as side A of a tunnel: its configuration (`type: ipsec`), its daemon, its words."""

import dataclasses
import json
import re
import shutil

from ..gateway import Gateway
from ..processes import dataplane_pid, kill
from ..shell import Answer, Failed, alive, must, start, stop, until
from . import certificates
from .topology import ANY, INSIDE, NETS, OUTSIDE, OUTSIDE_NETS, ROUTER

NAME = "peer"
UP_SECONDS = 10
ENCRYPTION = {
    "aes256gcm16": "aes-256-gcm",
    "aes128gcm16": "aes-128-gcm",
    "chacha20poly1305": "chacha20-poly1305",
    "aes256": "aes-256-cbc",
    "aes128": "aes-128-cbc",
}
INTEGRITY = {"sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}
PRF = {f"prf{word}": word for word in INTEGRITY}
GROUPS = {"modp2048": 14, "ecp256": 19, "ecp384": 20, "ecp521": 21, "x25519": 31}
# With a lifetime of 60 s, rekeying this long before its end comes after so many seconds.
LIFETIME = 60
# A tunnel that anybody may begin, and nobody of the lab can prove to be the peer of.
STRANGERS = {
    "anybody": {
        "type": "ipsec",
        "profile": "tombolo",
        "segment": "prod",
        "local": OUTSIDE[4]["a"],
        "remote": "any",
        "remote-id": "fqdn:nobody.example.net",
        "secret": "file:peer.psk",
        "children": {"net": {"local": ["10.73.0.0/24"], "remote": ["10.74.0.0/24"]}},
    }
}


class Tombolo(Gateway):
    """One gateway for one tunnel, from `start` to `stop`."""

    def __init__(self, side, namespace, directory, programs):
        super().__init__(f"gw-{side}", namespace, directory, programs)
        self.side = side
        self.far_side = "b" if side == "a" else "a"
        self.directory = directory
        self.config = directory / "tombolo.json"
        self.tunnel = None

    def start(self, tunnel, certificates_of_tunnel, seen_as=None, log_keys=False):
        """Runs `tombolod` and its dataplane with this tunnel; `seen_as`: the other side's outer address, where a NAT gives it another."""
        self.tunnel = tunnel
        self.directory.mkdir(mode=0o700)
        self.prepare()
        self._secrets(tunnel, certificates_of_tunnel)
        # JSON is YAML.
        self.config.write_text(json.dumps(self.configuration(tunnel, seen_as), indent=2))
        super().start()
        until(self._running, UP_SECONDS, f"{self.name}: tombolod and its dataplane run")

    def configuration(self, tunnel, seen_as=None):
        """The whole of `tombolo.yaml`."""
        nets = [NETS[family][self.far_side] for family in tunnel.inside]
        way = {"bundle" if tunnel.bundle else "tunnel": NAME}
        prod = [{"to": net, **way} for net in (tunnel.selectors(self.far_side) if tunnel.children else nets)]
        internet = [{"to": "0.0.0.0/0", "via": ROUTER[self.side][0]}, {"to": "::/0", "via": ROUTER[self.side][1]}]
        inside, outside = list(INSIDE[self.side]), list(OUTSIDE_NETS[self.side])
        whole = {
            "gateway": self.name,
            "workers": 2,
            "segments": {"prod": {}, "internet": {}},
            "ports": {
                "cloud": {"device": "in0", "segment": "prod", "addresses": inside},
                "uplink": {"device": "up0", "segment": "internet", "underlay": True, "addresses": outside, "mtu": 1500},
            },
            "routes": {"internet": internet, "prod": prod},
            "tunnels": {**self._members(tunnel, seen_as), **(STRANGERS if tunnel.strangers else {})},
        }
        if tunnel.bundle:
            whole["bundles"] = {NAME: {"tunnels": member_names(tunnel)}}
        if tunnel.internet:
            prod += [{"to": everything, "segment": "internet"} for everything in ANY.values()]
            whole["ports"]["uplink"]["nat-ports"] = "20000-29999"
            whole["nat"] = {"source": [{"from": "prod", "to": "internet", "address": "port"}]}
            whole["policy"] = [{"name": "out", "from": "prod", "to": "internet", "action": "allow"}]
        return whole

    def _members(self, tunnel, seen_as):
        """Tunnels by name: one, or those of a bundle."""
        each = [dataclasses.replace(tunnel, outside=family) for family in tunnel.bundle] or [tunnel]
        return {name: self._statement(one, seen_as) for name, one in zip(member_names(tunnel), each)}

    def _statement(self, tunnel, seen_as):
        outside = OUTSIDE[tunnel.outside]
        statement = {
            "type": "ipsec",
            # The policy that Azure has by itself is refused with the file; what is left to show is that a peer with it is, too.
            "profile": "azure-custom" if tunnel.profile == "azure-default" else tunnel.profile,
            "segment": "prod",
            "local": outside[self.side],
            "remote": seen_as or outside[self.far_side],
            **self._proof(tunnel),
        }
        if seen_as:
            statement.setdefault("remote-id", f"ip:{outside[self.far_side]}")
        if tunnel.initiator not in (self.side, "both"):
            statement["start"] = "responder"
        if tunnel.children:
            statement["children"] = {
                name: {"local": [nets[self.side]], "remote": [nets[self.far_side]]} for name, nets in tunnel.children.items()
            }
        elif not tunnel.everything:
            ours, theirs = tunnel.selectors(self.side), tunnel.selectors(self.far_side)
            statement["children"] = {"net": {"local": ours, "remote": theirs}}
        if tunnel.profile == "custom":
            statement.update(self._offers(tunnel))
            if tunnel.start_on_4500:
                statement["nat-t"] = "start-4500"
        if seconds := tunnel.dpd_seconds.get(self.side):
            statement["dpd"] = {"delay": seconds, "timeout": 5 * seconds}
        if self.side in tunnel.own_inside:
            statement["inside"] = [tunnel.own_inside[self.side]]
        if self.side in tunnel.ppk:
            statement["ppk"] = {"id": "interop", "secret": "file:peer.ppk"}
        for offers in (self._lifetimes(tunnel), tunnel.statement):
            _merge(statement, offers)
        return statement

    def _proof(self, tunnel):
        if tunnel.proof == "psk":
            return {"secret": "file:peer.psk"}
        ids = {
            "local-id": f"fqdn:{certificates.identity(self.side)}",
            "remote-id": f"fqdn:{certificates.identity(self.far_side)}",
        }
        files = {"certificate": "file:own.pem", "key": "file:own.key", "roots": "file:root.pem"}
        if tunnel.proof == "listed":
            files["revocations"] = f"file:{certificates.REVOKED}"
        return {**files, **ids}

    def _offers(self, tunnel):
        """Just the proposals of the check."""
        ike, esp = (words.split("-") for words in tunnel.proposals(self.side))
        offers = {
            "ike": {"encryption": _of(ENCRYPTION, ike), "prf": _of(PRF, ike), "groups": _of(GROUPS, ike)},
            "esp": {"encryption": _of(ENCRYPTION, esp), "groups": _of(GROUPS, esp), "esn": "off"},
        }
        if integrity := _of(INTEGRITY, ike):
            offers["ike"]["integrity"] = integrity
        return offers

    def _lifetimes(self, tunnel):
        """When the check wants keys replaced."""
        ike_seconds, child_seconds = tunnel.rekey_ike.get(self.side), tunnel.rekey_child.get(self.side)
        # One margin is for both; what is not to be replaced lives long.
        # An IKE SA outlives its children: where it alone is to be replaced, `by_order` does it.
        if not child_seconds:
            return {}
        margin = LIFETIME - child_seconds
        return {
            "rekey": {"margin": margin, "fuzz-percent": 0},
            "ike": {"lifetime": ike_seconds + margin if ike_seconds else 3600},
            "esp": {"lifetime": child_seconds + margin},
        }

    def _secrets(self, tunnel, made):
        files = {"peer.psk": tunnel.secrets[self.side]}
        if self.side in tunnel.ppk:
            files["peer.ppk"] = tunnel.ppk[self.side]
        for name, text in files.items():
            (self.secrets_dir / name).write_text(text)
        if made:
            for source, name in ((f"{self.side}.pem", "own.pem"), (f"{self.side}.key", "own.key"), ("root.pem", "root.pem")):
                shutil.copy(made / source, self.secrets_dir / name)
            if (made / certificates.REVOKED).exists():
                shutil.copy(made / certificates.REVOKED, self.secrets_dir / certificates.REVOKED)
        for file in self.secrets_dir.iterdir():
            file.chmod(0o600)

    def initiate(self):
        """Asks for the tunnel and waits for it; the `Answer` has the reason that `show tunnels` gives."""
        for name in member_names(self.tunnel):
            asked = self.tombolo("tunnel", "up", name)
            if not asked.ok:
                return asked
        try:
            until(self._tunnels_up, UP_SECONDS, "the tunnel is up")
        except Failed as late:
            return Answer(1, str(late))
        return Answer(0, "")

    def refusal(self):
        """Asks for a tunnel that shall not come up; why it is not, as `show tunnels` says. Nothing where it is up, or nothing is said."""
        self._must("tunnel", "up", NAME)
        try:
            until(lambda: self._tunnels_up() is True or bool(self.failure()), UP_SECONDS, "it is refused")
        except Failed:
            return ""
        return self.failure()

    def failure(self):
        """Why the tunnel is down, as `show tunnels` says."""
        return next((tunnel["ike"].get("failure") or "" for tunnel in self._shown() if not tunnel["up"]), "")

    def begin_up(self):
        """The same without waiting for anything: a process."""
        command = (self.programs / "tombolo", "--runtime-dir", self.runtime_dir, "tunnel", "up", NAME)
        return start(*command, log=self.directory / "up.log")

    def forget(self):
        """Takes the tunnel down, which came up by itself."""
        self._must("tunnel", "down", NAME)
        until(lambda: not self.ike(), UP_SECONDS, "the tunnel is down")

    def ike(self):
        """SPIs of the IKE SA as `initiator-responder`, where the tunnel is up."""
        return [(tunnel["ike"].get("spis") or "").replace(" ", "-") for tunnel in self._shown() if tunnel["up"]]

    def _shown(self):
        return [tunnel for tunnel in self.json("show", "tunnels") or [] if tunnel["name"] in member_names(self.tunnel)]

    def sas(self, direction="inbound", name=None):
        """What `show tunnels` says of the child SAs of a direction, of one tunnel or of all."""
        shown = [tunnel for tunnel in self._shown() if name in (None, tunnel["name"])]
        return [sa for tunnel in shown for sa in tunnel["sas"] if sa["direction"] == direction]

    def children(self):
        """Inbound SPIs of the child SAs; the group of the key exchange is not shown."""
        return {sa["spi"]: "" for sa in self.sas()}

    def suite(self):
        """The algorithms of the IKE SA, as words in one text."""
        return next((tunnel["ike"].get("suite") or "" for tunnel in self._shown()), "")

    def said(self, pattern):
        """How often its log says this."""
        return len(re.findall(pattern, self.log.read_text(errors="replace")))

    def counter(self, port, name):
        """One of the books of a port."""
        ports = self.json("show", "counters") or []
        return sum(each["counters"].get(name, 0) for each in ports if each["port"] == port)

    def came_by_queue(self, device):
        """Frames that came in on each queue of a device so far: a worker has a queue of its own."""
        told = must("ethtool", "-S", device, namespace=self.namespace)
        return [int(count) for count in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", told)]

    def take_down(self, name):
        """Takes down one tunnel."""
        self._must("tunnel", "down", name)

    def kill_control(self):
        """kill -9 of `tombolod`; the time of it."""
        return kill(self.process.pid)

    def kill_dataplane(self):
        """kill -9 of the dataplane, which `tombolod` starts again; the process that died."""
        dead = dataplane_pid(self)
        kill(dead)
        return dead

    def again(self):
        """Starts `tombolod` once more."""
        super().start()
        until(self._running, UP_SECONDS, f"{self.name}: tombolod and its dataplane run again")

    def restart(self):
        """Ends `tombolod` as a service manager does, and starts it again; the dataplane goes on."""
        stop([self.process.pid])
        self.again()

    def apply(self, configuration):
        """Has it take another configuration."""
        self.config.write_text(json.dumps(configuration, indent=2))
        self._must("apply", self.config)

    def kill(self):
        """kill -9 of both processes; the time of it."""
        dataplane = dataplane_pid(self)
        killed = kill(self.process.pid)
        kill(dataplane)
        return killed

    def by_order(self, tunnel):
        """How often orders have to replace the IKE SA, in seconds; None where its lifetime does."""
        return tunnel.rekey_ike.get(self.side) if not tunnel.rekey_child.get(self.side) else None

    def rekey_child(self):
        self._must("tunnel", "rekey", NAME, "--child")

    def rekey_ike(self):
        self._must("tunnel", "rekey", NAME, "--ike")

    def _must(self, *command):
        answer = self.tombolo(*command)
        if not answer.ok:
            raise Failed(f"tombolo {' '.join(command)}: {answer.output.strip()}")

    def last_words(self):
        """For a failure's message: what was dropped, too."""
        return "\n".join([super().last_words(), f"--- drops of {self.name}", self.tombolo("show", "drops").output.strip()])

    def stop(self):
        """Ends both processes, `tombolod` first: it would start the dataplane again."""
        if self.process is None:
            return
        try:
            dataplane = [dataplane_pid(self)]
        except Failed:
            dataplane = []
        for pids in ([self.process.pid], dataplane):
            stop([pid for pid in pids if alive(pid)])
        shutil.rmtree(self.directory, ignore_errors=True)


def member_names(tunnel):
    """Of the tunnels of a check."""
    return [f"{NAME}-{number}" for number, _ in enumerate(tunnel.bundle, 1)] or [NAME]


def _of(words, proposal):
    """The words of one kind in a proposal, in its order."""
    return [words[word] for word in proposal if word in words]


def _merge(statement, more):
    """Adds to a statement; one level deep, so that `esp` may come in parts."""
    for name, value in more.items():
        if isinstance(value, dict):
            statement[name] = {**statement.get(name, {}), **value}
        else:
            statement[name] = value
