/* SPDX-License-Identifier: Apache-2.0 */
/* The steering rule: which frames of a port the kernel gets, which the workers get, which end here.
 *
 * Its Rust twin is dataplane/wire/src/steer.rs, in the same order and with the same names; tests/root_steer.rs sends one
 * table of packets and seeded mutations through both, so the two change together. Every byte of the frame is untrusted.
 */
#include "icmp.h"
#include "local.h"
#include "maps.h"
#include "packet.h"
#include "verdict.h"

/* Broadcast and multicast: only what the link itself needs. */
static __always_inline enum verdict to_group(const struct packet *packet)
{
	if (packet->fragment || packet->l4 + 8 > packet->end)
		return DROP_GROUP;
	if (packet->protocol == PROTOCOL_UDP && is_dhcp(packet))
		return PASS_DHCP;
	if (packet->protocol == PROTOCOL_ICMPV6 && is_neighbour_discovery(packet))
		return PASS_NEIGHBOUR;
	return DROP_GROUP;
}

static __always_inline enum verdict by_port(const struct port *port, __u8 protocol, __u16 number)
{
	if (local_port(protocol, number) == LOCAL_SERVICE)
		return PASS_SERVICE;
	if (is_nat_port(port, number))
		return WORK_NAT;
	return is_host_port(number) ? PASS_HOST_REPLY : WORK_OWN;
}

/* RFC 3948 sections 2.2 and 2.3: four zero bytes mark IKE, one 0xFF is a keepalive, the rest is ESP. */
static __always_inline enum verdict own_udp_4500(const __u8 *payload, __u32 length, const __u8 *end)
{
	if (length == 1 && payload + 1 <= end && payload[0] == 0xff)
		return DROP_KEEPALIVE;
	if (length >= 4 && payload + 4 <= end && !(payload[0] | payload[1] | payload[2] | payload[3]))
		return PASS_IKE;
	return WORK_ESP_UDP;
}

static __always_inline enum verdict own_udp(const struct port *port, const struct packet *packet)
{
	if (packet->l4 + 8 > packet->end)
		return WORK_MALFORMED;
	const __u8 *payload = packet->l4 + 8;
	__u16 number = be16(packet->l4 + 2);
	__u32 length = be16(packet->l4 + 4);
	length = length > 8 ? length - 8 : 0;
	if (is_dhcp(packet))
		return PASS_DHCP;
	if (number == PORT_IKE)
		return PASS_IKE;
	if (number == PORT_IKE_NAT)
		return own_udp_4500(payload, length, packet->end);
	if (local_port(PROTOCOL_UDP, number) == LOCAL_WIREGUARD) {
		int handshake = length >= 4 && payload + 1 <= packet->end && payload[0] >= 1 && payload[0] <= 3;
		return handshake ? PASS_WIRE_GUARD : WORK_WIRE_GUARD;
	}
	return by_port(port, PROTOCOL_UDP, number);
}

static __always_inline enum verdict own_tcp(const struct port *port, const struct packet *packet)
{
	if (packet->l4 + 20 > packet->end)
		return WORK_MALFORMED;
	__u16 number = be16(packet->l4 + 2);
	if (number == PORT_SSH)
		return PASS_SSH;
	if (number == PORT_BGP)
		return PASS_BGP;
	return by_port(port, PROTOCOL_TCP, number);
}

static __always_inline enum verdict to_own(const struct port *port, const struct packet *packet)
{
	if (packet->protocol == PROTOCOL_ESP)
		return WORK_ESP;
	if (packet->protocol == PROTOCOL_UDP)
		return own_udp(port, packet);
	if (packet->protocol == PROTOCOL_TCP)
		return own_tcp(port, packet);
	if (packet->protocol == (packet->v6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP))
		return own_icmp(port, packet);
	return WORK_OWN;
}

static __always_inline enum verdict steer_ip(const struct port *port, __u16 ethertype, __u8 *l3, __u8 *end, int group)
{
	struct packet packet;
	int parsed = ethertype == ETHERTYPE_IPV4 ? parse_v4(l3, end, &packet) : parse_v6(l3, end, &packet);
	if (!parsed)
		return group ? DROP_GROUP : WORK_MALFORMED;
	if (group || is_group(&packet))
		return to_group(&packet);
	if (!is_own(port, &packet))
		return WORK_TRANSIT;
	if (packet.fragment)
		return WORK_FRAGMENT;
	return to_own(port, &packet);
}

/* VLAN id (0 = none, also for priority tags), ethertype, and what is behind the link header; 0 when truncated. */
static __always_inline __u8 *parse_link(__u8 *frame, __u8 *end, __u16 *vlan, __u16 *ethertype)
{
	if (frame + 14 > end)
		return 0;
	*vlan = 0;
	*ethertype = be16(frame + 12);
	if (*ethertype != ETHERTYPE_VLAN && *ethertype != ETHERTYPE_SERVICE_VLAN)
		return frame + 14;
	if (frame + 18 > end)
		return 0;
	*vlan = be16(frame + 14) & 0x0fff;
	*ethertype = be16(frame + 16);
	return frame + 18;
}

static __always_inline int is_mac(const __u8 *frame, const struct port *port)
{
	const __u8 *mac = port->mac;
	return frame[0] == mac[0] && frame[1] == mac[1] && frame[2] == mac[2] && frame[3] == mac[3] &&
	       frame[4] == mac[4] && frame[5] == mac[5];
}

static __always_inline enum verdict steer_port(const struct port *port, __u8 *frame, __u8 *l3, __u8 *end,
					       __u16 ethertype)
{
	int group = frame[0] & 1;
	if (!group && !is_mac(frame, port))
		return DROP_WRONG_MAC;
	if (ethertype == ETHERTYPE_ARP)
		return PASS_ARP;
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6)
		return DROP_ETHERTYPE;
	return steer_ip(port, ethertype, l3, end, group);
}

static __always_inline void count(__u32 row, __u32 counter)
{
	struct counters *counters = bpf_map_lookup_elem(&verdicts, &row);
	if (counters && counter < COUNTERS)
		counters->frames[counter]++;
}

/* A redirect into an empty slot answers the fallback: with no worker there, transit ends here. */
static __always_inline int redirect(struct xdp_md *context, const struct port *port)
{
	__u32 queue = context->rx_queue_index;
	int action = XDP_DROP;
	if (queue < QUEUES_MAX)
		action = bpf_redirect_map(&sockets, port->socket_row * QUEUES_MAX + queue, XDP_DROP);
	if (action == XDP_DROP)
		count(port->index, COUNTER_NO_SOCKET);
	return action;
}

SEC("xdp")
int steer(struct xdp_md *context)
{
	__u8 *frame = (__u8 *)(long)context->data;
	__u8 *end = (__u8 *)(long)context->data_end;
	__u16 ethertype;
	struct port_key key = { .ifindex = context->ingress_ifindex };
	__u8 *l3 = parse_link(frame, end, &key.vlan, &ethertype);
	if (!l3) {
		count(PORT_UNKNOWN, DROP_TRUNCATED);
		return XDP_DROP;
	}
	struct port *port = bpf_map_lookup_elem(&ports, &key);
	if (!port) {
		count(PORT_UNKNOWN, DROP_UNKNOWN_PORT);
		return XDP_DROP;
	}
	enum verdict verdict = steer_port(port, frame, l3, end, ethertype);
	count(port->index, verdict);
	/* What the kernel is to get of a VLAN port goes through a worker, which takes the tag off. */
	if (verdict <= VERDICT_PASS_LAST && !key.vlan)
		return XDP_PASS;
	if (verdict <= VERDICT_WORK_LAST)
		return redirect(context, port);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Apache-2.0";
