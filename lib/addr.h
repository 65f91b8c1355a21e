/*
 * Addresses as people write them: "tcp:HOST:PORT", "unix:/path", "shm:/path", "HOST:PORT",
 * "[v6]:PORT". PORT 0 lets the kernel choose. Host names are resolved once.
 */
#ifndef WEFT_ADDR_H
#define WEFT_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_TEXT_MAX 300

struct addr {
	struct sockaddr_storage sa;
	socklen_t len;
	bool shared; /* shm: a Unix socket, whose connections go on in shared memory */
};

/* 0 or -errno with a sentence in *why. default_port: when none is given; 0: one must be. */
int addr_parse(const char *text, unsigned default_port, struct addr *out, const char **why);
/* As addr_parse() takes it; buf of ADDR_TEXT_MAX. Returns buf. */
char *addr_format(const struct addr *a, char *buf);
/* That of the abstract Unix socket whose name is prefix and number, in hexadecimal digits. */
void addr_abstract(struct addr *out, const char *prefix, uint64_t number);
/* Only this machine can reach it: loopback or a Unix socket. */
bool addr_is_local(const struct addr *a);
/* Of TCP; 0: a Unix socket. */
unsigned addr_port(const struct addr *a);
/* A bound, listening, close-on-exec socket, or -errno with a sentence. A stale Unix socket file is
 * replaced when nobody answers on it, and one that is taken is waited for: the kernel keeps the
 * sockets of a killed process until its ring has come to rest, which may take as long as what it
 * had begun to write to a busy disk. a is updated to what was bound.
 */
int addr_listen(struct addr *a, const char **why);
/* How long; tests shorten it. */
extern unsigned addr_listen_wait_ms;
/* Socket activation (sd_listen_fds(3)): how many sockets were passed, from fd 3 on. */
int addr_inherited(void);

#endif
