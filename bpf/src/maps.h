/* SPDX-License-Identifier: Apache-2.0 */
/* What the rule knows, filled in by the loader (src/config.rs holds the same layouts), and what it counts. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "verdict.h"

#define PORTS_MAX 256
/* Counters of frames that no port takes. */
#define PORT_UNKNOWN 255
#define QUEUES_MAX 64
#define COUNTER_NO_SOCKET VERDICT_COUNT
#define COUNTERS 32
#define LOCAL_SERVICE 1
#define LOCAL_WIREGUARD 2

_Static_assert(COUNTER_NO_SOCKET < COUNTERS, "a counter for each verdict and one for redirects without a socket");

struct port_key {
	__u32 ifindex;
	__u16 vlan;
	__u16 zero;
};

struct port {
	__u16 index;
	__u16 socket_row;
	__u16 nat_first; /* nat_first > nat_last: no range */
	__u16 nat_last;
	__u8 mac[6];
	__u8 zero[2];
};

struct own_key {
	__u32 port;
	__u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct local_key {
	__u16 protocol;
	__u16 port;
};

struct host {
	__u16 port_first;
	__u16 port_last;
};

struct counters {
	__u64 frames[COUNTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORTS_MAX);
	__type(key, struct port_key);
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct own_key);
	__type(value, __u8);
} own_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct local_key);
	__type(value, __u8);
} local_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct host);
} hosts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORTS_MAX);
	__type(key, __u32);
	__type(value, struct counters);
} verdicts SEC(".maps");

/* One map for all devices: socket_row * QUEUES_MAX + queue. It is replaced together with the program, and an entry
 * leaves by itself when its socket closes. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, PORTS_MAX * QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");
