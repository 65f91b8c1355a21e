/* See password.h: what needs OpenSSL. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "password.h"
#include "banned.h"

#define TOKEN_BYTES 32

static_assert(TOKEN_TEXT_MAX == (TOKEN_BYTES * 8 + 5) / 6 + 1, "six bits a letter");
static_assert(DIGEST_TEXT_MAX == 2 * SHA256_DIGEST_LENGTH + 1, "two letters a byte");

int token_new(char text[TOKEN_TEXT_MAX])
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t bytes[TOKEN_BYTES + 1] = {0};

	if (getrandom(bytes, TOKEN_BYTES, 0) != TOKEN_BYTES)
		return -EIO;
	for (unsigned i = 0; i < TOKEN_TEXT_MAX - 1; i++) {
		unsigned bit = i * 6, pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];

		text[i] = letters[pair >> (10 - bit % 8) & 63];
	}
	text[TOKEN_TEXT_MAX - 1] = '\0';
	return 0;
}

void digest_text(const char *text, char digest[DIGEST_TEXT_MAX])
{
	uint8_t raw[SHA256_DIGEST_LENGTH];

	SHA256((const uint8_t *)text, strlen(text), raw);
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(digest + 2 * i, 3, "%02x", raw[i]);
}

bool secret_equal(const char *a, const char *b)
{
	size_t len = strlen(a);

	return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}
