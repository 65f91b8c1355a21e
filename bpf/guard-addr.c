/* Addresses as the guard's maps and MEMBERS have them; see guard.h. */
#include "config.h"

#include "bpf/guard.h"

#include <netinet/in.h>
#include <string.h>

#include "banned.h"

bool guard_addr_from(const struct sockaddr_storage *sa, struct guard_addr *out)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

	memset(out, 0, sizeof(*out));
	if (sa->ss_family == AF_INET) {
		out->byte[10] = out->byte[11] = 0xff;
		memcpy(&out->byte[12], &in->sin_addr, 4);
		return true;
	}
	if (sa->ss_family != AF_INET6)
		return false;
	memcpy(out, &in6->sin6_addr, sizeof(*out));
	return true;
}
