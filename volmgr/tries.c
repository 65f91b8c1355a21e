/*
 * Wrong guesses at passwords, by name and by address: after a few, each further one doubles the
 * time that must pass before the next. A fixed table; when it is full, the entry that was touched
 * longest ago gives way, so a flood of names costs no memory. A name alone waits only after many,
 * as who is called so has not guessed: its own user comes from elsewhere. Pure but for the table.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "people.h"
#include "banned.h"

#define TRIES_FORGET_S 3600

struct tries {
	char key[HTTP_PEER_MAX + 8];
	unsigned failed;
	int64_t last;
};

static struct tries table[TRIES_MAX];

static struct tries *tries_find(const char *key)
{
	for (size_t i = 0; i < TRIES_MAX; i++)
		if (table[i].failed > 0 && strcmp(table[i].key, key) == 0)
			return &table[i];
	return NULL;
}

unsigned tries_wait(const char *key, int64_t now, unsigned free)
{
	const struct tries *t = tries_find(key);
	unsigned over;
	int64_t wait, left;

	if (t == NULL || t->failed < free || now - t->last > TRIES_FORGET_S)
		return 0;
	over = t->failed - free;
	wait = over < 9 ? 1 << over : TRIES_WAIT_MAX_S;
	if (wait > TRIES_WAIT_MAX_S)
		wait = TRIES_WAIT_MAX_S;
	left = t->last + wait - now;
	return left > 0 ? (unsigned)left : 0;
}

void tries_failed(const char *key, int64_t now)
{
	struct tries *t = tries_find(key), *oldest = &table[0];

	if (t == NULL) {
		for (size_t i = 1; i < TRIES_MAX; i++)
			if (table[i].last < oldest->last)
				oldest = &table[i];
		t = oldest;
		*t = (struct tries){0};
		snprintf(t->key, sizeof(t->key), "%s", key);
	} else if (now - t->last > TRIES_FORGET_S) {
		t->failed = 0;
	}
	t->failed++;
	t->last = now;
}

void tries_forget(const char *key)
{
	struct tries *t = tries_find(key);

	if (t != NULL)
		*t = (struct tries){0};
}
