/*
 * Tell the kernel's nbd that a connected device has a new size. nbd-client has no word for it, and
 * the ioctls are refused on devices that were connected by netlink, so this speaks generic netlink:
 * family "nbd", command RECONFIGURE, attributes INDEX and SIZE_BYTES (linux/nbd-netlink.h).
 */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "banned.h"

#define MESSAGE_MAX   4096
#define REPLY_SECONDS 5

struct message {
	union {
		struct nlmsghdr head;
		char bytes[MESSAGE_MAX];
	};
};

static void message_start(struct message *m, uint16_t type, uint8_t command, uint8_t version)
{
	struct genlmsghdr *g;

	memset(m, 0, sizeof(*m));
	m->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g = NLMSG_DATA(&m->head);
	g->cmd = command;
	g->version = version;
}

static void message_add(struct message *m, uint16_t type, const void *data, uint16_t len)
{
	struct nlattr *a = (struct nlattr *)(void *)(m->bytes + NLMSG_ALIGN(m->head.nlmsg_len));

	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy((char *)a + NLA_HDRLEN, data, len);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + NLA_ALIGN(a->nla_len);
}

/* The family number in an answer of the controller, or 0. */
static uint16_t family_in(const struct nlmsghdr *h)
{
	const char *p = (const char *)NLMSG_DATA(h) + GENL_HDRLEN;
	const char *end = (const char *)h + h->nlmsg_len;

	while (p + NLA_HDRLEN <= end) {
		struct nlattr a;

		memcpy(&a, p, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || p + a.nla_len > end)
			return 0;
		if (a.nla_type == CTRL_ATTR_FAMILY_ID && a.nla_len >= NLA_HDRLEN + 2) {
			uint16_t id;

			memcpy(&id, p + NLA_HDRLEN, sizeof(id));
			return id;
		}
		p += NLA_ALIGN(a.nla_len);
	}
	return 0;
}

/* Send, and read until the acknowledgement: 0 or -errno. family: set when an answer has one. */
static int message_call(int fd, const struct message *m, uint16_t *family)
{
	struct message in;

	if (send(fd, m->bytes, m->head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(fd, in.bytes, sizeof(in.bytes), 0);
		struct nlmsghdr *h = &in.head;

		if (got < 0)
			return -errno;
		for (; NLMSG_OK(h, (size_t)got); h = NLMSG_NEXT(h, got)) {
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (family != NULL && h->nlmsg_type == GENL_ID_CTRL)
				*family = family_in(h);
		}
	}
}

int attach_nbd_set_size(unsigned index, uint64_t size)
{
	struct timeval limit = {REPLY_SECONDS, 0};
	uint32_t number = index;
	uint16_t family = 0;
	struct message m;
	int fd, err;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	message_start(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	message_add(&m, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof(NBD_GENL_FAMILY_NAME));
	err = message_call(fd, &m, &family);
	if (err == 0 && family == 0)
		err = -ENOENT;
	if (err == 0) {
		message_start(&m, family, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
		message_add(&m, NBD_ATTR_INDEX, &number, sizeof(number));
		message_add(&m, NBD_ATTR_SIZE_BYTES, &size, sizeof(size));
		err = message_call(fd, &m, NULL);
	}
	close(fd);
	return err;
}
