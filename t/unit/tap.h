/*
 * The Test Anything Protocol for compiled unit tests, in one header. A test calls ok() and its
 * relatives and ends with "return done_testing();".
 */
#ifndef WEFT_TAP_H
#define WEFT_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 1, 2), unused)) static void diag(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("# ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

__attribute__((unused)) static bool tap_result(bool pass, const char *name, const char *file,
					       int line)
{
	printf("%sok %d - %s\n", pass ? "" : "not ", ++tap_count, name);
	if (!pass) {
		tap_failed++;
		diag("failed: %s at %s:%d", name, file, line);
	}
	fflush(stdout);
	return pass;
}

#define ok(cond, name) tap_result(cond, name, __FILE__, __LINE__)
#define is_int(got, want, name)                                                                    \
	do {                                                                                       \
		intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                         \
		if (!tap_result(got_ == want_, name, __FILE__, __LINE__))                          \
			diag("got %" PRIdMAX ", want %" PRIdMAX, got_, want_);                     \
	} while (0)
#define is_str(got, want, name)                                                                    \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (!tap_result(strcmp(got_, want_) == 0, name, __FILE__, __LINE__))               \
			diag("got \"%s\", want \"%s\"", got_, want_);                              \
	} while (0)

__attribute__((unused)) static int done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed == 0 ? 0 : 1;
}

__attribute__((unused)) static int skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	return 0;
}

#endif
