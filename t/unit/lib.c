/* The small parts of lib: checksums, sizes, addresses, the secret's file. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "conf.h"
#include "crc32c.h"
#include "guard.h"
#include "secret.h"
#include "tap.h"

static void test_crc32c(void)
{
	uint8_t zeros[32] = {0}, ones[32];

	memset(ones, 0xff, sizeof(ones));
	ok(crc32c(0, "123456789", 9) == 0xe3069283, "CRC32C's check value");
	/* RFC 3720, B.4 */
	ok(crc32c(0, zeros, 32) == 0x8a9136aa, "32 bytes of zeros");
	ok(crc32c(0, ones, 32) == 0x62a8ab43, "32 bytes of ones");
	ok(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xe3069283, "it goes on from a part");
}

static void test_sizes(void)
{
	uint64_t n = 0;

	ok(conf_size("4096", &n) == 0 && n == 4096, "plain bytes");
	ok(conf_size("1.5G", &n) == 0 && n == 1610612736, "a fraction of a GiB");
	ok(conf_size("2TiB", &n) == 0 && n == 2ULL << 40, "TiB");
	ok(conf_size("64k", &n) == 0 && n == 65536, "small letters");
	ok(conf_size("", &n) == -EINVAL, "nothing is refused");
	ok(conf_size("-1", &n) == -EINVAL, "negative sizes are refused");
	ok(conf_size("0x10", &n) == -EINVAL, "hexadecimal is refused");
	ok(conf_size("1.3", &n) == -EINVAL, "part of a byte is refused");
	ok(conf_size("10X", &n) == -EINVAL, "an unknown suffix is refused");
	ok(conf_size("99999999P", &n) == -ERANGE, "more than 64 bits are refused");
	ok(conf_number("12", 1, 16, &n) == 0 && n == 12, "a number");
	ok(conf_number("17", 1, 16, &n) == -ERANGE, "a number out of range");
	ok(conf_number("1x", 1, 16, &n) == -EINVAL, "a number with something behind it");
}

static void test_addresses(void)
{
	struct addr a;
	const char *why = "";
	char text[ADDR_TEXT_MAX];
	pid_t pid;
	int fd;

	ok(addr_parse("tcp:127.0.0.1:10809", 0, &a, &why) == 0, "tcp:HOST:PORT");
	is_str(addr_format(&a, text), "tcp:127.0.0.1:10809", "and back");
	ok(addr_is_local(&a), "loopback is local");
	ok(addr_parse("[::1]:80", 0, &a, &why) == 0 && addr_is_local(&a), "IPv6 loopback");
	is_str(addr_format(&a, text), "tcp:[::1]:80", "IPv6 and back");
	ok(addr_parse("0.0.0.0:1", 0, &a, &why) == 0 && !addr_is_local(&a), "any address is not");
	ok(addr_parse("127.0.0.1", 10809, &a, &why) == 0, "the default port");
	ok(addr_parse("127.0.0.1", 0, &a, &why) == -EINVAL, "no port and no default");
	ok(addr_parse("127.0.0.1:99999", 0, &a, &why) == -EINVAL, "a port out of range");
	ok(addr_parse("shm:/x/y", 0, &a, &why) == 0 && a.shared && addr_is_local(&a),
	   "shared memory");
	is_str(addr_format(&a, text), "shm:/x/y", "and back");
	ok(addr_parse("shm:", 0, &a, &why) == -EINVAL, "shared memory without a path");
	ok(addr_parse("unix:", 0, &a, &why) == -EINVAL, "an empty path");
	ok(addr_parse("", 1, &a, &why) == -EINVAL, "an empty address");
	addr_parse("127.0.0.1:0", 0, &a, &why);
	fd = addr_listen(&a, &why);
	ok(fd >= 0, "the kernel chooses a port");
	ok(strcmp(addr_format(&a, text), "tcp:127.0.0.1:0") != 0, "and says which");
	addr_listen_wait_ms = 200;
	ok(addr_listen(&a, &why) == -EADDRINUSE, "a port that is taken is refused");
	addr_listen_wait_ms = 60000;
	pid = fork();
	if (pid == 0) {
		nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
		_exit(0);
	}
	close(fd);
	fd = addr_listen(&a, &why);
	ok(pid > 0 && fd >= 0, "one that is given up in a moment is waited for");
	waitpid(pid, NULL, 0);
	close(fd);
}

static void test_secret(void)
{
	char dir[] = "/tmp/weft-unit-XXXXXX", path[64];
	uint8_t a[WEFT_SECRET_BYTES], b[WEFT_SECRET_BYTES];
	const char *why = "";

	if (mkdtemp(dir) == NULL)
		exit(1);
	snprintf(path, sizeof(path), "%s/secret", dir);
	is_int(secret_load(path, a, &why), -ENOENT, "no secret yet");
	is_int(secret_create(path, &why), 0, "a secret is made");
	is_int(secret_create(path, &why), -EEXIST, "but never over another");
	is_int(secret_load(path, a, &why), 0, "and loaded");
	chmod(path, 0644);
	is_int(secret_load(path, b, &why), -EPERM, "not when others may read it");
	chmod(path, 0600);
	if (truncate(path, 20) < 0)
		exit(1);
	is_int(secret_load(path, b, &why), -EINVAL, "not when it is cut");
	unlink(path);
	rmdir(dir);
}

/* A page that is not there, met by a copy and without one. */
static void test_guard(void)
{
	FILE *file = tmpfile();
	char text[200] = "";
	int said[2], status = 0;
	uint8_t *map, byte;
	pid_t pid;

	if (file == NULL || pipe(said) < 0)
		abort();
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
	if (map == MAP_FAILED)
		abort();
	ok(!guard_copy(&byte, map, 1), "a copy from a page that cannot be had says so");
	pid = fork();
	if (pid == 0) {
		const struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(said[1], STDERR_FILENO);
		guard_begin();
		_exit(*(volatile uint8_t *)map);
	}
	close(said[1]);
	if (read(said[0], text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "without a copy it ends the process");
	ok(strstr(text, "cannot be had") != NULL, "which says why");
	close(said[0]);
	munmap(map, 4096);
	fclose(file);
}

int main(void)
{
	test_crc32c();
	test_sizes();
	test_addresses();
	test_secret();
	test_guard();
	return done_testing();
}
