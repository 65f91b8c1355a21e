/*
 * The guard: drops packets for nbdsrv's ports from addresses that are no member of the cluster,
 * before any socket sees them. What the program in the kernel (guard.bpf.c) and nbdsrv know in
 * common, and how nbdsrv uses it.
 *
 * A guard is one program on one interface: XDP where that can be attached, which is once for each
 * interface, else at the entry of traffic control. Others' programs there go on working. It decides
 * by the sender's address and the port alone, so it protects from strangers that speak, not from
 * those that forge a member's address: for these there is the authentication (weft-protocol(7)).
 * Until members are known it is open: it counts, and drops nothing.
 *
 * guard-libbpf.c does it with libbpf, guard-null.c is for builds without eBPF: there nothing ever
 * opens. One thread uses it. It ends with the process, however that ends.
 */
#ifndef WEFT_GUARD_H
#define WEFT_GUARD_H

#ifdef __bpf__
typedef __u64 guard_u64;
typedef __u32 guard_u32;
typedef __u16 guard_u16;
typedef __u8 guard_u8;
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
typedef uint64_t guard_u64;
typedef uint32_t guard_u32;
typedef uint16_t guard_u16;
typedef uint8_t guard_u8;
#endif

#define GUARD_MEMBERS_MAX 2048u
#define GUARD_PORTS_MAX	  64u
/* A filter that outlived its process, as those of traffic control may, is open after so long. */
#define GUARD_ALIVE_S	  10u

/* IPv6, as on the wire; IPv4 as ::ffff:a.b.c.d. */
struct guard_addr {
	guard_u8 byte[16];
};

/* Where nbdsrv listens; all zeros: on any address. */
struct guard_port {
	struct guard_addr addr;
	guard_u16 port; /* as on the wire */
	guard_u16 pad;
};

struct guard_state {
	guard_u32 closed; /* members are known: others are dropped */
	guard_u32 pad;
	guard_u64 until_ns; /* of CLOCK_MONOTONIC: open after it; 0: never */
};

enum guard_count { GUARD_DROPPED, GUARD_PASSED, GUARD_COUNTS };

#ifndef __bpf__

/* In struct weft_stat: the numbers must stay. */
enum guard_how { GUARD_OFF, GUARD_XDP, GUARD_XDP_GENERIC, GUARD_TC };

struct guard;

/* IPv4 and IPv6 addresses only. False: it is another one. */
bool guard_addr_from(const struct sockaddr_storage *sa, struct guard_addr *out);

/*
 * Guard these addresses and ports on an interface, open. iface NULL: nowhere, for guard_try().
 * NULL: not here; *why is a sentence without a full stop, static.
 */
struct guard *guard_open(const char *iface, const struct guard_port *ports, unsigned nports,
			 const char **why);
void guard_close(struct guard *g);
enum guard_how guard_how(const struct guard *g);
/* These and no others; from now on it is closed. 0 or -errno. */
int guard_members(struct guard *g, const struct guard_addr *list, unsigned n);
/* To be called at least every GUARD_ALIVE_S / 2 seconds. */
void guard_alive(struct guard *g);
/* Adds to sum what was counted: packets to the ports. */
void guard_counts(const struct guard *g, uint64_t sum[GUARD_COUNTS]);
/* What becomes of a frame: 1 it passes, 0 it is dropped, or -errno. */
int guard_try(struct guard *g, bool xdp, const void *frame, size_t len);

#endif
#endif
