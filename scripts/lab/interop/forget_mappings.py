"""Deletes every connection that this namespace's kernel tracks (IPCTNL_MSG_CT_DELETE without a tuple), as `conntrack -F` does."""

import socket
import struct
import sys

NETLINK_NETFILTER = 12
DELETE = 1 << 8 | 2
REQUEST_AND_ACK = 1 | 4


def main():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(5)
        netlink.bind((0, 0))
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        netlink.send(struct.pack("=IHHII", 16 + len(body), DELETE, REQUEST_AND_ACK, 1, 0) + body)
        error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    return 0 if error == 0 else f"the kernel refuses: {-error}"


if __name__ == "__main__":
    sys.exit(main())
