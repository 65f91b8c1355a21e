/* Cookies of a request, out of its header; see http.h. Apart, so that a fuzzer has this and not
 * libevent. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "http.h"
#include "banned.h"

int http_request_cookie(const struct http_request *r, const char *name, char *out, size_t max)
{
	const char *p = http_request_header(r, "Cookie");
	size_t n = strlen(name);

	while (p != NULL && *p != '\0') {
		size_t len = strcspn(p, ";");

		if (len > n && strncmp(p, name, n) == 0 && p[n] == '=' && len - n - 1 < max) {
			memcpy(out, p + n + 1, len - n - 1);
			out[len - n - 1] = '\0';
			return 0;
		}
		p += len;
		p += strspn(p, "; ");
	}
	return -ENOENT;
}
