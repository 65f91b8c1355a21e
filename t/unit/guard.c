/* The guard's programs, in the kernel but on no interface: frames of all shapes go in, and pass or
 * not. As root, where the kernel has what it takes. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/guard.h"

#include "tap.h"

#define PORT	    7001
#define OTHER_PORT  7002 /* listened on by one address only */
#define FRAME_MAX   512
#define WHOLE_BYTES 54 /* headers of Ethernet and IPv6 */

struct frame {
	uint8_t byte[FRAME_MAX];
	size_t len;
	const char *from, *to;
	unsigned port, vlans, more; /* more: extension headers */
	uint8_t next;		    /* what they are */
	bool six, fragment_later, options;
	uint8_t protocol;
};

static void put(struct frame *f, const void *bytes, size_t len)
{
	memcpy(f->byte + f->len, bytes, len);
	f->len += len;
}

static void put8(struct frame *f, unsigned v)
{
	put(f, &(uint8_t){(uint8_t)v}, 1);
}

static void put16(struct frame *f, unsigned v)
{
	put8(f, v >> 8);
	put8(f, v);
}

static void put_zeros(struct frame *f, size_t n)
{
	memset(f->byte + f->len, 0, n);
	f->len += n;
}

static void put_addr(struct frame *f, const char *text)
{
	uint8_t addr[16];

	inet_pton(f->six ? AF_INET6 : AF_INET, text, addr);
	put(f, addr, f->six ? 16 : 4);
}

static void put_ip4(struct frame *f)
{
	put8(f, f->options ? 0x46 : 0x45);
	put8(f, 0);
	put16(f, f->options ? 44 : 40);
	put16(f, 1);
	put16(f, f->fragment_later ? 100 : 0x2000);
	put8(f, 64);
	put8(f, f->protocol);
	put16(f, 0);
	put_addr(f, f->from);
	put_addr(f, f->to);
	put_zeros(f, f->options ? 4 : 0);
}

static void put_ip6(struct frame *f)
{
	put8(f, 0x60);
	put_zeros(f, 3);
	put16(f, 20 + 8 * f->more);
	put8(f, f->more > 0 ? f->next : f->protocol);
	put8(f, 64);
	put_addr(f, f->from);
	put_addr(f, f->to);
	for (unsigned i = 1; i <= f->more; i++) {
		put8(f, i < f->more ? f->next : f->protocol);
		put8(f, 0);
		put16(f, f->fragment_later ? 100 << 3 : 0);
		put_zeros(f, 4);
	}
}

static void build(struct frame *f)
{
	f->len = 0;
	put_zeros(f, 12);
	for (unsigned i = f->vlans; i > 0; i--) {
		put16(f, i == 2 ? 0x88a8 : 0x8100);
		put16(f, 5);
	}
	put16(f, f->six ? 0x86dd : 0x0800);
	if (f->six)
		put_ip6(f);
	else
		put_ip4(f);
	put16(f, 40000);
	put16(f, f->port);
	put_zeros(f, 16);
}

/* Both programs; -1: they do not agree. */
static int passes(struct guard *g, const struct frame *f)
{
	int xdp = guard_try(g, true, f->byte, f->len), tc = guard_try(g, false, f->byte, f->len);

	if (tc == -EINVAL && f->len < WHOLE_BYTES) /* this way newer kernels take no such frames */
		tc = xdp;
	return xdp == tc ? xdp : -1;
}

static const struct frame usual = {
	.from = "192.0.2.66", .to = "192.0.2.1", .port = PORT, .protocol = 6};

static int built(struct guard *g, struct frame f)
{
	build(&f);
	return passes(g, &f);
}

static struct guard_addr addr(const char *text)
{
	struct sockaddr_storage sa = {.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET};
	struct guard_addr a;

	if (sa.ss_family == AF_INET)
		inet_pton(AF_INET, text, &((struct sockaddr_in *)&sa)->sin_addr);
	else
		inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&sa)->sin6_addr);
	guard_addr_from(&sa, &a);
	return a;
}

#define WITH(...)                                                                                  \
	({                                                                                         \
		struct frame f_ = usual;                                                           \
		__VA_ARGS__;                                                                       \
		f_;                                                                                \
	})
#define SIX(...) WITH(f_.six = true; f_.from = "2001:db8::66"; f_.to = "2001:db8::1"; __VA_ARGS__)

/* ---- what is tried ------------------------------------------------------------------------- */

static void test_members(struct guard *g)
{
	struct guard_addr list[] = {addr("192.0.2.10"), addr("2001:db8::10")};
	uint64_t sum[GUARD_COUNTS] = {0};

	is_int(built(g, usual), 1, "a stranger passes as long as no members are known");
	is_int(guard_members(g, list, 2), 0, "members are told");
	is_int(built(g, usual), 0, "a stranger does not any more");
	is_int(built(g, WITH(f_.from = "192.0.2.10")), 1, "a member does");
	is_int(built(g, SIX()), 0, "a stranger by IPv6 does not");
	is_int(built(g, SIX(f_.from = "2001:db8::10")), 1, "a member by IPv6 does");
	list[0] = addr("192.0.2.66");
	is_int(guard_members(g, list, 1), 0, "other members are told");
	is_int(built(g, usual), 1, "who was a stranger is let in");
	is_int(built(g, WITH(f_.from = "192.0.2.10")), 0, "who is none any more is not");
	guard_members(g, list + 1, 1);
	guard_counts(g, sum);
	/* each by both programs */
	is_int(sum[GUARD_DROPPED], 6, "those that were dropped are counted");
	is_int(sum[GUARD_PASSED], 8, "and those that passed");
}

static void test_shapes(struct guard *g)
{
	is_int(built(g, WITH(f_.port = 22)), 1, "another port is nobody's business");
	is_int(built(g, WITH(f_.protocol = 17)), 1, "nor is another protocol");
	is_int(built(g, WITH(f_.port = OTHER_PORT)), 1, "nor another address with that port");
	is_int(built(g, WITH(f_.port = OTHER_PORT; f_.to = "192.0.2.2")), 0,
	       "the address that is listened on is");
	is_int(built(g, WITH(f_.vlans = 1)), 0, "a tag of a VLAN hides nothing");
	is_int(built(g, WITH(f_.vlans = 2)), 0, "nor do two");
	is_int(built(g, SIX(f_.vlans = 1)), 0, "nor with IPv6");
	is_int(built(g, WITH(f_.options = true)), 0, "nor options of IPv4");
	is_int(built(g, WITH(f_.fragment_later = true)), 1, "a later fragment passes");
	for (unsigned n = 1; n <= 9; n++)
		if (built(g, SIX(f_.more = n; f_.next = 60)) != 0)
			diag("%u headers pass", n);
	is_int(built(g, SIX(f_.more = 8; f_.next = 60)), 0, "nor eight headers of IPv6");
	is_int(built(g, SIX(f_.more = 12; f_.next = 60)), 0,
	       "a stranger with more of them is not let in");
	is_int(built(g, SIX(f_.more = 12; f_.next = 60; f_.port = 22)), 0, "to whatever port");
	is_int(built(g, SIX(f_.more = 12; f_.next = 60; f_.from = "2001:db8::10")), 1,
	       "a member is");
	is_int(built(g, SIX(f_.more = 1; f_.next = 44)), 0,
	       "a first fragment of IPv6 is looked at");
	is_int(built(g, SIX(f_.more = 1; f_.next = 44; f_.fragment_later = true)), 1,
	       "a later one passes");
	is_int(built(g, SIX(f_.protocol = 58)), 1, "ICMPv6 passes");
}

/* Cut anywhere, or of nothing but noise: the kernel has to decide, and passes what is none of
 * ours. */
static void test_broken(struct guard *g)
{
	struct frame f = SIX(f_.vlans = 2; f_.more = 3; f_.next = 60);
	bool sane = true;
	size_t whole;

	build(&f);
	whole = f.len - 16;
	for (f.len = 14; f.len < whole; f.len++)
		sane &= passes(g, &f) != 0;
	ok(sane, "a frame that ends before the ports is not dropped");
	f.len = whole;
	is_int(passes(g, &f), 0, "one that ends with them is");
	srand(4711);
	for (int i = 0; i < 3000; i++) {
		f.len = 14 + (size_t)rand() % (FRAME_MAX - 14);
		for (size_t k = 0; k < f.len; k++)
			f.byte[k] = (uint8_t)rand();
		if (i % 2 == 0)
			memcpy(f.byte + 12, i % 4 == 0 ? "\x08\x00\x45" : "\x86\xdd\x60", 3);
		sane &= passes(g, &f) >= 0;
	}
	ok(sane, "noise is decided by both programs alike");
}

int main(void)
{
	struct guard_port ports[2] = {{.port = htons(PORT)},
				      {.addr = addr("192.0.2.2"), .port = htons(OTHER_PORT)}};
	const char *why = NULL;
	struct guard *g;

	ok(guard_open("no-such-iface", ports, 2, &why) == NULL && why != NULL && *why != '\0',
	   "without the interface there is a reason");
	g = guard_open(NULL, ports, 2, &why);
	if (g == NULL) {
		diag("%s", why);
		ok(getenv("WEFT_NEED_BPF") == NULL, "without eBPF there is a reason");
		return done_testing();
	}
	test_members(g);
	test_shapes(g);
	test_broken(g);
	guard_close(g);
	return done_testing();
}
