"""Answers one line of standard input each: `dissect HEX` with what scapy finds in an IKEv2 message, `build` with messages of scapy's."""

import logging
import sys

logging.getLogger("scapy").setLevel(logging.CRITICAL)
from scapy.contrib.ikev2 import (  # noqa: E402
    IKEv2, IKEv2_payload_AUTH, IKEv2_payload_CERTREQ, IKEv2_payload_Delete, IKEv2_payload_IDi, IKEv2_payload_IDr, IKEv2_payload_KE,
    IKEv2_payload_Nonce, IKEv2_payload_Notify, IKEv2_payload_Proposal, IKEv2_payload_SA, IKEv2_payload_TSi, IKEv2_payload_TSr,
    IKEv2_payload_Transform, IKEv2_payload_VendorID, IPv4TrafficSelector, IPv6TrafficSelector)


def transforms(first):
    found = []
    while isinstance(first, IKEv2_payload_Transform):
        found.append(f"{first.transform_type}.{first.transform_id}.{first.key_length or 0}")
        first = first.payload
    return found


def describe(layer):
    name = type(layer).__name__.removeprefix("IKEv2_payload_")
    if isinstance(layer, IKEv2_payload_SA):
        proposals, proposal = [], layer.prop
        while isinstance(proposal, IKEv2_payload_Proposal):
            listed = "/".join(transforms(proposal.trans))
            proposals.append(f"{proposal.proposal}:{proposal.proto}:{proposal.SPI.hex()}:{proposal.trans_nb}:{listed}")
            proposal = proposal.payload
        return f"{name}({' '.join(proposals)})"
    if isinstance(layer, IKEv2_payload_Notify):
        return f"{name}({layer.proto} {layer.SPI.hex()} {layer.type} {layer.load.hex()})"
    if isinstance(layer, IKEv2_payload_KE):
        return f"{name}({layer.group} {layer.load.hex()})"
    if isinstance(layer, (IKEv2_payload_TSi, IKEv2_payload_TSr)):
        ranges = []
        for selector in layer.traffic_selector:
            version = "v6" if isinstance(selector, IPv6TrafficSelector) else "v4"
            first, last = (getattr(selector, f"{end}_address_{version}") for end in ("starting", "ending"))
            ranges.append(f"{selector.IP_protocol_ID}:{selector.start_port}-{selector.end_port}:{first}-{last}")
        return f"{name}({' '.join(ranges)})"
    if isinstance(layer, IKEv2_payload_AUTH):
        return f"{name}({layer.auth_type} {layer.load.hex()})"
    if isinstance(layer, (IKEv2_payload_IDi, IKEv2_payload_IDr)):
        return f"{name}({layer.IDtype} {bytes(layer.ID).hex() if isinstance(layer.ID, bytes) else layer.ID})"
    if isinstance(layer, (IKEv2_payload_Delete, IKEv2_payload_VendorID)):
        return f"{name}({layer.vendorID.hex()})"
    if isinstance(layer, IKEv2_payload_CERTREQ):
        return f"{name}({layer.cert_type} {layer.cert_data.hex()})"
    return f"{name}({getattr(layer, 'load', b'').hex()})"


def dissect(data):
    message = IKEv2(data)
    words = [f"{message.exch_type} {int(message.flags)} {message.id} {message.length}"]
    layer = message.payload
    while layer.name != "NoPayload":
        words.append(describe(layer))
        layer = layer.payload
    return " | ".join(words)


def transform(kind, number, bits=None, more=True):
    form = {"length": 12, "key_length": bits} if bits else {"length": 8}
    return IKEv2_payload_Transform(next_payload=3 if more else 0, transform_type=kind, transform_id=number, **form)


def proposal(number, proto, spi, listed, more=False):
    chain = None
    for at, (kind, identifier, bits) in enumerate(listed):
        one = transform(kind, identifier, bits, at + 1 < len(listed))
        chain = one if chain is None else chain / one
    # scapy 2.5 leaves SPIs out of its lengths, here and in notifications, and gives IPv6 selectors 20 bytes.
    length = 8 + len(spi) + sum(12 if bits else 8 for _, _, bits in listed)
    return IKEv2_payload_Proposal(next_payload=2 if more else 0, length=length, proposal=number, proto=proto,
                                  SPI=spi, trans_nb=len(listed), trans=chain)


def message(exchange, flags, identifier, payloads, responder=b"\0" * 8):
    kinds = {IKEv2_payload_SA: 33, IKEv2_payload_KE: 34, IKEv2_payload_IDi: 35, IKEv2_payload_IDr: 36, IKEv2_payload_CERTREQ: 38,
             IKEv2_payload_AUTH: 39, IKEv2_payload_Nonce: 40, IKEv2_payload_Notify: 41, IKEv2_payload_Delete: 42,
             IKEv2_payload_VendorID: 43, IKEv2_payload_TSi: 44, IKEv2_payload_TSr: 45}
    order = [kinds[type(payload)] for payload in payloads] + [0]
    for payload, behind in zip(payloads, order[1:]):
        payload.next_payload = behind
    head = IKEv2(init_SPI=b"scapy-i1", resp_SPI=responder, next_payload=order[0], exch_type=exchange, flags=flags, id=identifier)
    body = b"".join(bytes(payload) for payload in payloads)
    head.length = 28 + len(body)
    return bytes(head) + body


def messages():
    strong = [(1, 20, 256), (1, 20, 128), (2, 6, None), (2, 5, None), (4, 31, None), (4, 14, None), (6, 36, None), (6, 0, None)]
    azure = [(1, 12, 256), (3, 2, None), (2, 2, None), (4, 2, None)]
    offer = IKEv2_payload_SA(prop=proposal(1, 1, b"", strong, True) / proposal(2, 1, b"", azure))
    yield "init-request", message(34, 8, 0, [
        offer, IKEv2_payload_KE(group=31, load=bytes(range(32))), IKEv2_payload_Nonce(load=b"n" * 32),
        IKEv2_payload_Notify(type=16388, load=b"s" * 20), IKEv2_payload_Notify(type=16389, load=b"d" * 20),
        IKEv2_payload_Notify(type=16430), IKEv2_payload_Notify(type=16431, load=bytes([0, 2, 0, 3, 0, 4, 0, 5])),
        IKEv2_payload_Notify(type=16438), IKEv2_payload_Notify(type=16435), IKEv2_payload_VendorID(vendorID=b"scapy")])
    yield "init-azure-default", message(34, 8, 0, [
        IKEv2_payload_SA(prop=proposal(1, 1, b"", azure)), IKEv2_payload_KE(group=2, load=b"k" * 128), IKEv2_payload_Nonce(load=b"n" * 48)])
    yield "init-response", message(34, 32, 0, [
        IKEv2_payload_SA(prop=proposal(1, 1, b"", strong[::2][:3])), IKEv2_payload_KE(group=31, load=b"r" * 32),
        IKEv2_payload_Nonce(load=b"m" * 16), IKEv2_payload_CERTREQ(cert_type=4, cert_data=b"h" * 20)], b"scapy-r1")
    yield "cookie", message(34, 32, 0, [IKEv2_payload_Notify(type=16390, load=b"cookie")])
    yield "invalid-ke", message(34, 32, 0, [IKEv2_payload_Notify(type=17, load=b"\0\x13")])
    yield "no-proposal", message(34, 32, 0, [IKEv2_payload_Notify(type=14)])
    child = IKEv2_payload_SA(prop=proposal(1, 3, b"\xc0\xff\xee\x01", [(1, 20, 256), (5, 1, None), (5, 0, None)], True)
                             / proposal(2, 3, b"\xc0\xff\xee\x01", [(1, 12, 256), (3, 12, None), (5, 0, None)]))
    four = IPv4TrafficSelector(starting_address_v4="10.0.0.0", ending_address_v4="10.255.255.255")
    six = IPv6TrafficSelector(length=40, starting_address_v6="2001:db8::", ending_address_v6="2001:db8::ffff")
    web = IPv4TrafficSelector(IP_protocol_ID=6, start_port=80, end_port=443, starting_address_v4="192.0.2.1", ending_address_v4="192.0.2.1")
    yield "auth-inside", message(35, 8, 1, [
        IKEv2_payload_IDi(length=18, IDtype=2, ID=b"gw.example"), IKEv2_payload_IDr(length=11, IDtype=11, ID=b"key"), IKEv2_payload_AUTH(auth_type=2, load=b"a" * 32),
        IKEv2_payload_Notify(type=16384), IKEv2_payload_Notify(type=16394), child,
        IKEv2_payload_TSi(traffic_selector=[four, six]), IKEv2_payload_TSr(traffic_selector=[web])], b"scapy-r1")
    yield "rekey-child-inside", message(36, 8, 2, [
        IKEv2_payload_Notify(length=12, proto=3, type=16393, SPI=b"\xc0\xff\xee\x01"),
        IKEv2_payload_SA(prop=proposal(1, 3, b"\xc0\xff\xee\x02", [(1, 28, None), (4, 19, None), (4, 0, None), (5, 0, None)])),
        IKEv2_payload_Nonce(load=b"n" * 32), IKEv2_payload_KE(group=19, load=b"k" * 64),
        IKEv2_payload_TSi(traffic_selector=[four]), IKEv2_payload_TSr(traffic_selector=[four])], b"scapy-r1")
    yield "rekey-ike-inside", message(36, 0, 3, [
        IKEv2_payload_SA(prop=proposal(1, 1, b"scapy-i2", strong)), IKEv2_payload_Nonce(load=b"n" * 32),
        IKEv2_payload_KE(group=31, load=b"k" * 32)], b"scapy-r1")
    yield "delete-child-inside", message(37, 40, 4, [IKEv2_payload_Delete(vendorID=b"\x03\x04\0\x02\xc0\xff\xee\x01\xc0\xff\xee\x02")], b"scapy-r1")
    yield "delete-ike-inside", message(37, 8, 5, [IKEv2_payload_Delete(vendorID=b"\x01\0\0\0")], b"scapy-r1")


for line in sys.stdin:
    verb, _, data = line.strip().partition(" ")
    if verb == "dissect":
        print(dissect(bytes.fromhex(data)), flush=True)
    elif verb == "build":
        for name, data in messages():
            print(name, data.hex(), flush=True)
        print("end", flush=True)
