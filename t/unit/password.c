/* Passwords, tokens, digests. */
#include "config.h"

#include <string.h>

#include "password.h"
#include "tap.h"

static void test_passwords(void)
{
	char one[PASSWORD_HASH_MAX], two[PASSWORD_HASH_MAX];

	ok(password_hash("correct horse", one) == 0 && password_hash("correct horse", two) == 0,
	   "a password is hashed");
	ok(strncmp(one, "$y$", 3) == 0, "by yescrypt");
	ok(strcmp(one, two) != 0, "with another salt each time");
	ok(password_matches("correct horse", one), "it matches its hash");
	ok(!password_matches("correct horse ", one), "another one does not");
	ok(!password_matches("", one), "nor an empty one");
	ok(!password_matches("correct horse", "*"), "a hash that is none matches nothing");
	ok(!password_matches("", ""), "an empty hash matches nothing");
}

static void test_tokens(void)
{
	char one[TOKEN_TEXT_MAX], two[TOKEN_TEXT_MAX], digest[DIGEST_TEXT_MAX];

	ok(token_new(one) == 0 && token_new(two) == 0, "tokens are made");
	ok(strlen(one) == TOKEN_TEXT_MAX - 1 && strcmp(one, two) != 0, "of full length, each new");
	ok(strspn(one, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
		   strlen(one),
	   "of letters that a URL may hold");
	digest_text("abc", digest);
	ok(strcmp(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
	   "a digest is that of the standard's example");
	ok(secret_equal("abc", "abc") && !secret_equal("abc", "abd") && !secret_equal("abc", "ab"),
	   "secrets are compared");
}

int main(void)
{
	test_passwords();
	test_tokens();
	return done_testing();
}
