/* SPDX-License-Identifier: Apache-2.0 */
/* What the host and the port own: addresses, ports, ranges. */
#pragma once

#include "maps.h"
#include "packet.h"

static __always_inline int is_nat_port(const struct port *port, __u16 number)
{
	return number >= port->nat_first && number <= port->nat_last;
}

/* A link-local IPv6 destination in a frame for our MAC can be nobody else's: routers do not forward it. */
static __always_inline int is_own(const struct port *port, const struct packet *packet)
{
	if (is_link_local(packet))
		return 1;
	struct own_key key = { .port = port->index };
	__builtin_memcpy(key.address, packet->destination, 16);
	return bpf_map_lookup_elem(&own_addresses, &key) != 0;
}

/* LOCAL_SERVICE, LOCAL_WIREGUARD or 0. */
static __always_inline int local_port(__u16 protocol, __u16 number)
{
	struct local_key key = { .protocol = protocol, .port = number };
	__u8 *kind = bpf_map_lookup_elem(&local_ports, &key);
	return kind ? *kind : 0;
}

static __always_inline int is_host_port(__u16 number)
{
	__u32 zero = 0;
	struct host *host = bpf_map_lookup_elem(&hosts, &zero);
	return host && number >= host->port_first && number <= host->port_last;
}
