"""Tombolo as side A of a tunnel: its configuration (`type: ipsec`), its daemon, its words."""

import json
import shutil

from ..gateway import Gateway
from ..processes import dataplane_pid
from ..shell import Answer, Failed, alive, stop, until
from . import certificates
from .topology import INSIDE, NETS, OUTSIDE, OUTSIDE_NETS, ROUTER

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
        """Runs `tombolod` and its dataplane with this tunnel."""
        self.tunnel = tunnel
        self.directory.mkdir(mode=0o700)
        self.prepare()
        self._secrets(tunnel, certificates_of_tunnel)
        # JSON is YAML.
        self.config.write_text(json.dumps(self.configuration(tunnel), indent=2))
        super().start()
        until(self._running, UP_SECONDS, f"{self.name}: tombolod and its dataplane run")

    def configuration(self, tunnel):
        """The whole of `tombolo.yaml`."""
        prod = [{"to": net[self.far_side], "tunnel": NAME} for family, net in NETS.items() if family in tunnel.inside]
        internet = [{"to": "0.0.0.0/0", "via": ROUTER[self.side][0]}, {"to": "::/0", "via": ROUTER[self.side][1]}]
        inside, outside = list(INSIDE[self.side]), list(OUTSIDE_NETS[self.side])
        return {
            "gateway": self.name,
            "workers": 2,
            "segments": {"prod": {}, "internet": {}},
            "ports": {
                "cloud": {"device": "in0", "segment": "prod", "addresses": inside},
                "uplink": {"device": "up0", "segment": "internet", "underlay": True, "addresses": outside, "mtu": 1500},
            },
            "routes": {"internet": internet, "prod": prod},
            "tunnels": {NAME: self._statement(tunnel)},
        }

    def _statement(self, tunnel):
        outside = OUTSIDE[tunnel.outside]
        statement = {
            "type": "ipsec",
            # The policy that Azure has by itself is refused with the file; what is left to show is that a peer with it is, too.
            "profile": "azure-custom" if tunnel.profile == "azure-default" else tunnel.profile,
            "segment": "prod",
            "local": outside[self.side],
            "remote": outside[self.far_side],
            **self._proof(tunnel),
        }
        if tunnel.initiator != self.side:
            statement["start"] = "responder"
        if not tunnel.everything:
            ours, theirs = tunnel.selectors(self.side), tunnel.selectors(self.far_side)
            statement["children"] = {"net": {"local": ours, "remote": theirs}}
        if tunnel.profile == "custom":
            statement.update(self._offers(tunnel))
            if tunnel.start_on_4500:
                statement["nat-t"] = "start-4500"
        if seconds := tunnel.dpd_seconds.get(self.side):
            statement["dpd"] = {"delay": seconds, "timeout": 5 * seconds}
        if self.side in tunnel.ppk:
            statement["ppk"] = {"id": "interop", "secret": "file:peer.ppk"}
        return statement

    def _proof(self, tunnel):
        if tunnel.proof == "psk":
            return {"secret": "file:peer.psk"}
        ids = {
            "local-id": f"fqdn:{certificates.identity(self.side)}",
            "remote-id": f"fqdn:{certificates.identity(self.far_side)}",
        }
        return {"certificate": "file:own.pem", "key": "file:own.key", "roots": "file:root.pem", **ids}

    def _offers(self, tunnel):
        """Just the proposals of the check, and when it wants them replaced."""
        ike, esp = (words.split("-") for words in tunnel.proposals(self.side))
        offers = {
            "ike": {"encryption": _of(ENCRYPTION, ike), "prf": _of(PRF, ike), "groups": _of(GROUPS, ike)},
            "esp": {"encryption": _of(ENCRYPTION, esp), "groups": _of(GROUPS, esp), "esn": "off"},
        }
        if integrity := _of(INTEGRITY, ike):
            offers["ike"]["integrity"] = integrity
        ike_seconds, child_seconds = tunnel.rekey_ike.get(self.side), tunnel.rekey_child.get(self.side)
        # One margin is for both; what is not to be replaced lives long.
        # An IKE SA outlives its children: where it alone is to be replaced, `by_order` does it.
        if seconds := child_seconds:
            margin = LIFETIME - seconds
            offers["rekey"] = {"margin": margin, "fuzz-percent": 0}
            offers["ike"]["lifetime"] = ike_seconds + margin if ike_seconds else 3600
            offers["esp"]["lifetime"] = child_seconds + margin
        return offers

    def _secrets(self, tunnel, made):
        files = {"peer.psk": tunnel.secrets[self.side]}
        if self.side in tunnel.ppk:
            files["peer.ppk"] = tunnel.ppk[self.side]
        for name, text in files.items():
            (self.secrets_dir / name).write_text(text)
        if made:
            for source, name in ((f"{self.side}.pem", "own.pem"), (f"{self.side}.key", "own.key"), ("root.pem", "root.pem")):
                shutil.copy(made / source, self.secrets_dir / name)
        for file in self.secrets_dir.iterdir():
            file.chmod(0o600)

    def initiate(self):
        """Asks for the tunnel and waits for it; the `Answer` has the reason that `show tunnels` gives."""
        asked = self.tombolo("tunnel", "up", NAME)
        if not asked.ok:
            return asked
        try:
            until(self._tunnels_up, UP_SECONDS, "the tunnel is up")
        except Failed as late:
            return Answer(1, str(late))
        return Answer(0, "")

    def forget(self):
        """Takes the tunnel down, which came up by itself."""
        self._must("tunnel", "down", NAME)
        until(lambda: not self.ike(), UP_SECONDS, "the tunnel is down")

    def ike(self):
        """Something for each IKE SA that is established."""
        return [tunnel["name"] for tunnel in self.json("show", "tunnels") or [] if tunnel["up"]]

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


def _of(words, proposal):
    """The words of one kind in a proposal, in its order."""
    return [words[word] for word in proposal if word in words]
