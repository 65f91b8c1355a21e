/*
 * Passwords and secrets of people: hashes that are slow on purpose, tokens, comparing without
 * telling where two differ. password.c alone knows crypt(3), digest.c OpenSSL.
 */
#ifndef WEFT_PASSWORD_H
#define WEFT_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_HASH_MAX  256
#define PASSWORD_MIN_BYTES 8
#define PASSWORD_MAX_BYTES 256
#define TOKEN_TEXT_MAX	   44 /* 32 random bytes as text that URLs and cookies may hold, and a zero */
#define DIGEST_TEXT_MAX	   65

/* yescrypt. Takes tens of milliseconds and megabytes: not for a thread that others wait for. 0 or
 * -errno. */
int password_hash(const char *password, char hash[PASSWORD_HASH_MAX]);
bool password_matches(const char *password, const char *hash);

/* ---- digest.c */
/* A secret that nobody guesses. 0 or -errno. */
int token_new(char text[TOKEN_TEXT_MAX]);
/* SHA-256 in hexadecimal: what is stored of a token. */
void digest_text(const char *text, char digest[DIGEST_TEXT_MAX]);
/* In a time that depends on the lengths only. */
bool secret_equal(const char *a, const char *b);

#endif
