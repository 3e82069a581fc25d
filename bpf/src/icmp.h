/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP to an own address; an error quotes a packet of ours, and its ports say who sent it. */
#pragma once

#include "local.h"

static __always_inline int is_tunnel_port(__u16 number)
{
	return number == PORT_IKE || number == PORT_IKE_NAT ||
	       local_port(PROTOCOL_UDP, number) == LOCAL_WIREGUARD;
}

/* Whether a worker sent the quoted packet: a tunnel's UDP, or a flow translated to the port's own address. */
static __always_inline int is_ours(const struct port *port, int v6, __u8 protocol, const __u8 *l4)
{
	if (protocol == PROTOCOL_UDP)
		return is_tunnel_port(be16(l4)) || is_tunnel_port(be16(l4 + 2)) || is_nat_port(port, be16(l4));
	if (protocol == PROTOCOL_TCP)
		return is_nat_port(port, be16(l4));
	if (protocol == PROTOCOL_ICMP && !v6)
		return l4[0] == 8 && is_nat_port(port, be16(l4 + 4));
	if (protocol == PROTOCOL_ICMPV6 && v6)
		return l4[0] == 128 && is_nat_port(port, be16(l4 + 4));
	return 0;
}

/* An error whose quote is too short to tell is the kernel's. */
static __always_inline enum verdict icmp_error(const struct port *port, const struct packet *packet)
{
	__u8 *quoted = packet->l4 + 8;
	__u32 header_length = packet->v6 ? 40 : 20;
	if (quoted + header_length > packet->end)
		return PASS_ICMP_ERROR;
	__u8 protocol = packet->v6 ? quoted[6] : quoted[9];
	int later_fragment = 0;
	if (packet->v6) {
		if (quoted[0] >> 4 != 6)
			return PASS_ICMP_ERROR;
	} else {
		header_length = (quoted[0] & 0x0f) * 4;
		if (quoted[0] >> 4 != 4 || header_length < 20)
			return PASS_ICMP_ERROR;
		later_fragment = (be16(quoted + 6) & 0x1fff) != 0;
	}
	if (protocol == PROTOCOL_ESP)
		return WORK_ICMP_ERROR;
	__u8 *l4 = quoted + header_length;
	if (later_fragment || l4 + 8 > packet->end)
		return PASS_ICMP_ERROR;
	return is_ours(port, packet->v6, protocol, l4) ? WORK_ICMP_ERROR : PASS_ICMP_ERROR;
}

static __always_inline enum verdict own_icmp(const struct port *port, const struct packet *packet)
{
	if (packet->l4 + 8 > packet->end)
		return WORK_MALFORMED;
	__u8 type = packet->l4[0];
	if (type == (packet->v6 ? 128 : 8))
		return PASS_ECHO;
	if (type == (packet->v6 ? 129 : 0))
		return is_nat_port(port, be16(packet->l4 + 4)) ? WORK_NAT : PASS_HOST_REPLY;
	if (packet->v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12)
		return icmp_error(port, packet);
	return is_neighbour_discovery(packet) ? PASS_NEIGHBOUR : WORK_OWN;
}
