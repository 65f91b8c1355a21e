/* See password.h. */
#include "config.h"

#include <assert.h>
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "password.h"
#include "banned.h"

#define PASSWORD_METHOD "$y$" /* yescrypt, with the library's cost */

static_assert(CRYPT_OUTPUT_SIZE >= PASSWORD_HASH_MAX, "a hash that fits ours fits the library's");

/* Too large for a thread's stack to be sure. */
static struct crypt_data *password_data(void)
{
	return calloc(1, sizeof(struct crypt_data));
}

static void password_data_free(struct crypt_data *data)
{
	if (data != NULL)
		explicit_bzero(data, sizeof(*data));
	free(data);
}

int password_hash(const char *password, char hash[PASSWORD_HASH_MAX])
{
	struct crypt_data *data = password_data();
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *made = NULL;
	int err = 0;

	if (data == NULL)
		return -ENOMEM;
	if (crypt_gensalt_rn(PASSWORD_METHOD, 0, NULL, 0, salt, sizeof(salt)) != NULL)
		made = crypt_rn(password, salt, data, sizeof(*data));
	if (made == NULL)
		err = errno != 0 ? -errno : -EINVAL;
	else if ((size_t)snprintf(hash, PASSWORD_HASH_MAX, "%s", made) >= PASSWORD_HASH_MAX)
		err = -E2BIG;
	password_data_free(data);
	return err;
}

bool password_matches(const char *password, const char *hash)
{
	struct crypt_data *data = password_data();
	const char *made = data != NULL ? crypt_rn(password, hash, data, sizeof(*data)) : NULL;
	bool same = made != NULL && secret_equal(made, hash);

	password_data_free(data);
	return same;
}
