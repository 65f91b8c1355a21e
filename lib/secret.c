/* The cluster's secret in its file; see secret.h. */
#include "config.h"

#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "banned.h"

#define TEXT_LEN (2 * WEFT_SECRET_BYTES)

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse(const char *text, uint8_t *secret)
{
	for (size_t i = 0; i < WEFT_SECRET_BYTES; i++) {
		int hi = hex_value(text[2 * i]), lo = hex_value(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		secret[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

int secret_load(const char *path, uint8_t secret[WEFT_SECRET_BYTES], const char **why)
{
	char text[TEXT_LEN + 2];
	struct stat st;
	ssize_t n;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		*why = err == -ENOENT ? "there is no such file; make it with "
					"\"volctl cluster init\", or copy it from another machine "
					"of the cluster"
				      : "it cannot be opened";
		return err;
	}
	err = fstat(fd, &st) < 0 ? -errno : 0;
	n = err == 0 ? read(fd, text, sizeof(text)) : 0;
	close(fd);
	if (err < 0 || n < 0) {
		*why = "it cannot be read";
		return err < 0 ? err : -EIO;
	}
	if ((st.st_mode & 077) != 0) {
		*why = "others than its owner may read it; run chmod 600 on it";
		return -EPERM;
	}
	if (n < TEXT_LEN || (n > TEXT_LEN && text[TEXT_LEN] != '\n') || n > TEXT_LEN + 1 ||
	    parse(text, secret) < 0) {
		*why = "it does not hold 64 hexadecimal digits; copy it anew from another machine "
		       "of the cluster";
		return -EINVAL;
	}
	return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	ssize_t n = write(fd, text, len);

	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

int secret_create(const char *path, const char **why)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t secret[WEFT_SECRET_BYTES];
	char text[TEXT_LEN + 1];
	int fd, err;

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret)) {
		*why = "the kernel gave no random bytes";
		return -EIO;
	}
	for (size_t i = 0; i < sizeof(secret); i++) {
		text[2 * i] = digits[secret[i] >> 4];
		text[2 * i + 1] = digits[secret[i] & 15];
	}
	text[TEXT_LEN] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		*why = err == -EEXIST ? "there is a secret already; servers and volumes made with "
					"it would be lost with another one"
				      : "it cannot be made";
		return err;
	}
	err = write_all(fd, text, sizeof(text));
	close(fd);
	if (err < 0) {
		unlink(path);
		*why = "it cannot be written";
	}
	return err;
}

void secret_cluster(const uint8_t secret[WEFT_SECRET_BYTES], uint8_t cluster[WEFT_UUID_BYTES])
{
	static const char label[] = "weft-cluster";
	uint8_t text[sizeof(label) - 1 + WEFT_SECRET_BYTES], digest[EVP_MAX_MD_SIZE];

	memcpy(text, label, sizeof(label) - 1);
	memcpy(text + sizeof(label) - 1, secret, WEFT_SECRET_BYTES);
	EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha256(), NULL);
	memcpy(cluster, digest, WEFT_UUID_BYTES);
}
