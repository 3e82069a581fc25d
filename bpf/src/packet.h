/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as bytes, so that nothing depends on alignment or on the host's headers. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_SERVICE_VLAN 0x88a8
#define ETHERTYPE_IPV6 0x86dd

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6_FRAGMENT 44
#define PROTOCOL_ESP 50
#define PROTOCOL_ICMPV6 58

#define PORT_SSH 22
#define PORT_BGP 179
#define PORT_IKE 500
#define PORT_IKE_NAT 4500

/* An IP packet as far as steering reads it; l4 is in the frame, the rest was copied out. */
struct packet {
	__u8 *l4;
	__u8 *end; /* of the frame, padding included */
	__u8 destination[16];
	__u8 v6;
	__u8 protocol;
	__u8 hop_limit;
	__u8 fragment;
};

static __always_inline __u16 be16(const __u8 *bytes)
{
	return (__u16)((bytes[0] << 8) | bytes[1]);
}

static __always_inline int parse_v4(__u8 *l3, __u8 *end, struct packet *packet)
{
	if (l3 + 20 > end)
		return 0;
	__u32 header_length = (l3[0] & 0x0f) * 4;
	__u32 total_length = be16(l3 + 2);
	if (l3[0] >> 4 != 4 || header_length < 20 || total_length < header_length || total_length > (__u64)(end - l3))
		return 0;
	packet->v6 = 0;
	packet->protocol = l3[9];
	packet->hop_limit = l3[8];
	packet->fragment = (be16(l3 + 6) & 0x3fff) != 0;
	__builtin_memset(packet->destination, 0, 10);
	__builtin_memset(packet->destination + 10, 0xff, 2);
	__builtin_memcpy(packet->destination + 12, l3 + 16, 4);
	packet->l4 = l3 + header_length;
	packet->end = end;
	return 1;
}

/* Extension headers are not walked: what hides behind one goes to the workers, which walk the chain. */
static __always_inline int parse_v6(__u8 *l3, __u8 *end, struct packet *packet)
{
	if (l3 + 40 > end)
		return 0;
	__u32 payload_length = be16(l3 + 4);
	if (l3[0] >> 4 != 6 || 40 + payload_length > (__u64)(end - l3))
		return 0;
	packet->v6 = 1;
	packet->protocol = l3[6];
	packet->hop_limit = l3[7];
	packet->fragment = l3[6] == PROTOCOL_IPV6_FRAGMENT;
	__builtin_memcpy(packet->destination, l3 + 24, 16);
	packet->l4 = l3 + 40;
	packet->end = end;
	return 1;
}

static __always_inline int is_group(const struct packet *packet)
{
	const __u8 *d = packet->destination;
	if (packet->v6)
		return d[0] == 0xff;
	return (d[12] & 0xf0) == 0xe0 || (d[12] & d[13] & d[14] & d[15]) == 0xff;
}

static __always_inline int is_link_local(const struct packet *packet)
{
	return packet->v6 && packet->destination[0] == 0xfe && (packet->destination[1] & 0xc0) == 0x80;
}

/* Reads the L4 header's bytes 2 and 3: the caller has checked that 8 bytes are there. */
static __always_inline int is_dhcp(const struct packet *packet)
{
	__u16 port = be16(packet->l4 + 2);
	return packet->v6 ? port == 546 || port == 547 : port == 67 || port == 68;
}

/* RFC 4861 sections 6.1, 7.1, 8.1: hop limit 255 or it came through a router. 8 bytes of L4 are there. */
static __always_inline int is_neighbour_discovery(const struct packet *packet)
{
	return packet->v6 && packet->hop_limit == 255 && packet->l4[0] >= 133 && packet->l4[0] <= 137;
}
