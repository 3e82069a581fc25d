"""IKEv2 as a responder, just enough of it to key ESP that scapy makes: X25519, HMAC-SHA-256, AES-256-GCM, a pre-shared key.

Written from RFC 7296 and 5282 and apart from the product, whose keys are right only if they are those that are derived here.
Runs under Debian's own Python, whose packages scapy and cryptography are.
"""

import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
SA, KE, IDI, IDR, AUTH, NONCE, NOTIFY, DELETE, TSI, TSR, ENCRYPTED = 33, 34, 35, 36, 39, 40, 41, 42, 44, 45, 46
ENCRYPTION, PRF, GROUP, ESN = 1, 2, 4, 5
AES_GCM_16, HMAC_SHA_256, X25519 = 20, 5, 31
RESPONSE, INITIATOR = 0x20, 0x08
NO_ADDITIONAL_SAS, NAT_SOURCE, NAT_DESTINATION = 35, 16388, 16389
ESP_PROTOCOL, IKE_PROTOCOL = 3, 1
PSK_METHOD = 2
KEY, SALT = 32, 4


def prf(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def prf_plus(key, seed, length):
    """RFC 7296 §2.13."""
    made, block = b"", b""
    for number in range(1, length // 32 + 2):
        block = prf(key, block + seed + bytes([number]))
        made += block
    return made[:length]


def cut(data, *lengths):
    """Pieces of these lengths."""
    pieces = []
    for length in lengths:
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def payloads(kind, data):
    """`[(type, body)]` of a chain; the Encrypted payload ends it."""
    found = []
    while kind and data:
        following, _, length = struct.unpack_from("!BBH", data)
        found.append((kind, data[4:length]))
        if kind == ENCRYPTED:
            break
        kind, data = following, data[length:]
    return found


def chain(bodies):
    """The type of the first payload, and all of them as bytes."""
    kinds = [kind for kind, _ in bodies] + [0]
    joined = b"".join(
        struct.pack("!BBH", following, 0, 4 + len(body)) + body for (_, body), following in zip(bodies, kinds[1:])
    )
    return kinds[0], joined


def notify(kind, data=b""):
    return NOTIFY, struct.pack("!BBH", 0, 0, kind) + data


def transform(last, kind, value, key_bits=0):
    attribute = struct.pack("!HH", 0x800E, key_bits) if key_bits else b""
    return struct.pack("!BBHBBH", 0 if last else 3, 0, 8 + len(attribute), kind, 0, value) + attribute


def offers(body):
    """`(number, protocol, SPI, {(type, id, key bits)})` of each proposal."""
    found = []
    while body:
        _, _, length, number, protocol, spi_length, _ = struct.unpack_from("!BBHBBBB", body)
        spi, rest, listed = body[8 : 8 + spi_length], body[8 + spi_length : length], set()
        while rest:
            size, kind, value = struct.unpack_from("!2xHBxH", rest)
            listed.add((kind, value, struct.unpack_from("!2xH", rest, 8)[0] if size > 8 else 0))
            rest = rest[size:]
        found.append((number, protocol, spi, listed))
        body = body[length:]
    return found


def choose(body, wanted, spi):
    """The answer to an offer: `(SA payload, the initiator's SPI)`, `None` if `wanted` is in no proposal."""
    for number, protocol, their_spi, listed in offers(body):
        if set(wanted) <= listed:
            words = b"".join(transform(at == len(wanted) - 1, *each) for at, each in enumerate(wanted))
            head = struct.pack("!BBHBBBB", 0, 0, 8 + len(spi) + len(words), number, protocol, len(spi), len(wanted))
            return (SA, head + spi + words), their_spi
    return None, None


class Child:
    """A child SA: keys and SPIs of both directions, and whether sequence numbers are extended."""

    def __init__(self, esn, own_spi, far_spi, keys):
        self.esn = esn
        self.own_spi = own_spi
        self.far_spi = far_spi
        # The initiator's direction comes first (RFC 7296 §2.17).
        self.inbound, self.outbound = cut(keys, KEY + SALT, KEY + SALT)


class Ike:
    """The responder's side of one IKE SA at a time. `children` by own SPI; `on_child(child)` hears of a new one."""

    def __init__(self, local, remote, secret, esn, on_child):
        self.local, self.remote, self.secret, self.esn, self.on_child = local, remote, secret, esn, on_child
        self.children = {}
        self.answers = {}
        self.spis = (b"", b"")

    def handle(self, datagram):
        """The answer to a request, `None` if it has none."""
        spi_i, spi_r, kind, _, exchange, flags, number, length = struct.unpack_from("!8s8sBBBBII", datagram)
        if flags & RESPONSE or length != len(datagram):
            return None
        if exchange == IKE_SA_INIT:
            return self._begin(spi_i, kind, datagram)
        if (spi_i, spi_r) != self.spis:
            return None
        # A request that comes again has the same answer (RFC 7296 §2.1).
        if number not in self.answers:
            inside = self._open(datagram, kind)
            answer = {IKE_AUTH: self._authenticate, CREATE_CHILD_SA: self._replace, INFORMATIONAL: self._inform}[exchange](inside)
            self.answers[number] = self._seal(exchange, number, answer)
        return self.answers[number]

    def _begin(self, spi_i, kind, datagram):
        asked = dict(payloads(kind, datagram[28:]))
        if self.spis[0] == spi_i:
            return self.first_answer
        private = X25519PrivateKey.generate()
        spi_r, nonce_r, nonce_i = os.urandom(8), os.urandom(32), asked[NONCE]
        chosen, _ = choose(asked[SA], ((ENCRYPTION, AES_GCM_16, 256), (PRF, HMAC_SHA_256, 0), (GROUP, X25519, 0)), b"")
        bodies = [chosen, (KE, struct.pack("!HH", X25519, 0) + public(private)), (NONCE, nonce_r)]
        for number, (address, port) in ((NAT_SOURCE, (self.local, 500)), (NAT_DESTINATION, (self.remote, 500))):
            # RFC 7296 §2.23; true ones: no NAT is found, and ESP goes straight in IP.
            packed = bytes(map(int, address.split("."))) + struct.pack("!H", port)
            bodies.append(notify(number, hashlib.sha1(spi_i + spi_r + packed).digest()))
        first, body = chain(bodies)
        head = struct.pack("!8s8sBBBBII", spi_i, spi_r, first, 0x20, IKE_SA_INIT, RESPONSE, 0, 28 + len(body))
        shared = private.exchange(X25519PublicKey.from_public_bytes(asked[KE][4:]))
        seed = prf(nonce_i + nonce_r, shared)
        made = prf_plus(seed, nonce_i + nonce_r + spi_i + spi_r, 32 + 2 * (KEY + SALT) + 2 * 32)
        self.sk_d, self.sk_ei, self.sk_er, self.sk_pi, self.sk_pr = cut(made, 32, KEY + SALT, KEY + SALT, 32, 32)
        self.spis, self.nonces, self.first = (spi_i, spi_r), (nonce_i, nonce_r), datagram
        self.first_answer, self.answers, self.children = head + body, {}, {}
        return self.first_answer

    def _authenticate(self, inside):
        asked = dict(inside)
        key = prf(self.secret, b"Key Pad for IKEv2")
        theirs = prf(key, self.first + self.nonces[1] + prf(self.sk_pi, asked[IDI]))
        if asked[AUTH] != bytes([PSK_METHOD, 0, 0, 0]) + theirs:
            return [notify(24)]
        identity = b"\1\0\0\0" + bytes(map(int, self.local.split(".")))
        ours = prf(key, self.first_answer + self.nonces[0] + prf(self.sk_pr, identity))
        auth = (AUTH, bytes([PSK_METHOD, 0, 0, 0]) + ours)
        return [(IDR, identity), auth, *self._child(asked, ((ENCRYPTION, AES_GCM_16, 256),), b"", self.nonces)]

    def _child(self, asked, wanted, shared, nonces):
        spi = os.urandom(4)
        chosen, far = choose(asked[SA], (*wanted, (ESN, int(self.esn), 0)), spi)
        if chosen is None:
            return [notify(14)]
        child = Child(self.esn, spi, far, prf_plus(self.sk_d, shared + b"".join(nonces), 2 * (KEY + SALT)))
        self.children[spi] = child
        self.on_child(child)
        return [chosen, (TSI, asked[TSI]), (TSR, asked[TSR])]

    def _replace(self, inside):
        asked = dict(inside)
        if offers(asked[SA])[0][1] != ESP_PROTOCOL or KE not in asked:
            return [notify(NO_ADDITIONAL_SAS)]
        private, nonce = X25519PrivateKey.generate(), os.urandom(32)
        shared = private.exchange(X25519PublicKey.from_public_bytes(asked[KE][4:]))
        wanted = ((ENCRYPTION, AES_GCM_16, 256), (GROUP, X25519, 0))
        chosen, *selectors = self._child(asked, wanted, shared, (asked[NONCE], nonce))
        return [chosen, (NONCE, nonce), (KE, struct.pack("!HH", X25519, 0) + public(private)), *selectors]

    def _inform(self, inside):
        bodies = []
        for kind, body in inside:
            if kind == DELETE and body[0] == ESP_PROTOCOL:
                far = {body[at : at + 4] for at in range(4, len(body), 4)}
                gone = [spi for spi, child in self.children.items() if child.far_spi in far]
                for spi in gone:
                    del self.children[spi]
                bodies.append((DELETE, struct.pack("!BBH", ESP_PROTOCOL, 4, len(gone)) + b"".join(gone)))
        return bodies

    def _open(self, datagram, kind):
        sealed = datagram[32:]
        plain = AESGCM(self.sk_ei[:KEY]).decrypt(self.sk_ei[KEY:] + sealed[:8], sealed[8:], datagram[:32])
        return payloads(datagram[28], plain[: -1 - plain[-1]])

    def _seal(self, exchange, number, bodies):
        first, plain = chain(bodies)
        iv = os.urandom(8)
        length = 28 + 4 + 8 + len(plain) + 1 + 16
        head = struct.pack("!8s8sBBBBII", *self.spis, ENCRYPTED, 0x20, exchange, RESPONSE, number, length)
        head += struct.pack("!BBH", first, 0, length - 28)
        return head + iv + AESGCM(self.sk_er[:KEY]).encrypt(self.sk_er[KEY:] + iv, plain + b"\0", head)


def public(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
