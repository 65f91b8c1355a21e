/* The metadata interface on LevelDB: batches are whole, conditions hold or nothing is written,
 * order stays. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "volmgr/meta.h"
#include "tap.h"

static char dir[] = "/tmp/weft-meta-XXXXXX";

static int put(struct meta *m, const char *key, const char *value)
{
	struct meta_batch *b = meta_batch_new();

	meta_batch_put(b, key, value, strlen(value));
	return meta_commit_wait(m, b);
}

static bool has(struct meta *m, const char *key, const char *value)
{
	void *v;
	size_t len;
	bool same;

	if (m->ops->get(m, key, &v, &len) != 0)
		return false;
	same = len == strlen(value) && memcmp(v, value, len) == 0;
	free(v);
	return same;
}

static void test_conditions(struct meta *m)
{
	struct meta_batch *b = meta_batch_new();

	meta_batch_require(b, "1/volume/a", NULL, 0);
	meta_batch_put(b, "1/volume/a", "first", 5);
	is_int(meta_commit_wait(m, b), 0,
	       "a batch that requires no key is written when there is none");
	b = meta_batch_new();
	meta_batch_require(b, "1/volume/a", NULL, 0);
	meta_batch_put(b, "1/volume/a", "second", 6);
	meta_batch_put(b, "1/other", "x", 1);
	is_int(meta_commit_wait(m, b), -ECANCELED, "and refused when there is one");
	ok(has(m, "1/volume/a", "first"), "the value stays");
	ok(!has(m, "1/other", "x"), "and nothing else of the batch is written");
	b = meta_batch_new();
	meta_batch_require(b, "1/volume/a", "first", 5);
	meta_batch_put(b, "1/volume/a", "third", 5);
	is_int(meta_commit_wait(m, b), 0, "a batch that requires the present value is written");
	b = meta_batch_new();
	meta_batch_require(b, "1/volume/a", "first", 5);
	meta_batch_delete(b, "1/volume/a");
	is_int(meta_commit_wait(m, b), -ECANCELED, "and refused when the value is another");
	ok(has(m, "1/volume/a", "third"), "the value stays");
}

static int collect(void *arg, const char *key, const void *value, size_t len)
{
	char *text = arg;
	size_t n = strlen(text);

	snprintf(text + n, 256 - n, "%s=%.*s ", key, (int)len, (const char *)value);
	return strcmp(key, "1/s/3") == 0 ? 7 : 0;
}

static void test_each(struct meta *m)
{
	char text[256] = "";

	put(m, "1/s/2", "b");
	put(m, "1/s/1", "a");
	is_int(m->ops->each(m, "1/s/", collect, text), 0, "all keys of a prefix are visited");
	is_str(text, "1/s/1=a 1/s/2=b ", "in order, with their values");
	put(m, "1/s/3", "c");
	put(m, "1/s/4", "d");
	is_int(m->ops->each(m, "1/s/", collect, text), 7, "a visitor can stop it");
}

/* A counter raised by compare and swap from several threads loses no step. */
#define STEPS	25
#define THREADS 4

static void *raise_counter(void *arg)
{
	struct meta *m = arg;

	for (int i = 0; i < STEPS;) {
		struct meta_batch *b;
		char next[32];
		void *v;
		size_t len;

		if (m->ops->get(m, "1/next/x", &v, &len) != 0)
			return NULL;
		b = meta_batch_new();
		meta_batch_require(b, "1/next/x", v, len);
		snprintf(next, sizeof(next), "%ld", strtol(v, NULL, 10) + 1);
		free(v);
		meta_batch_put(b, "1/next/x", next, strlen(next) + 1);
		if (meta_commit_wait(m, b) == 0)
			i++;
	}
	return NULL;
}

static void test_threads(struct meta *m)
{
	pthread_t th[THREADS];
	struct meta_batch *b = meta_batch_new();
	void *v = NULL;
	size_t len;

	meta_batch_put(b, "1/next/x", "0", 2);
	meta_commit_wait(m, b);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&th[i], NULL, raise_counter, m);
	for (int i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
	m->ops->get(m, "1/next/x", &v, &len);
	is_int(v != NULL ? strtol(v, NULL, 10) : -1, STEPS * THREADS,
	       "compare and swap from four threads loses no step");
	free(v);
}

static atomic_int order, disordered;

static void in_order(void *arg, int err)
{
	if (atomic_fetch_add(&order, 1) != (int)(intptr_t)arg || err != 0)
		atomic_fetch_add(&disordered, 1);
}

static void test_queue(struct meta *m)
{
	for (int i = 0; i < 500; i++) {
		struct meta_batch *b = meta_batch_new();
		char key[32];

		snprintf(key, sizeof(key), "1/q/%03d", i);
		meta_batch_put(b, key, "v", 1);
		m->ops->commit(m, b, in_order, (void *)(intptr_t)i);
	}
	put(m, "1/q/end", "v");
	is_int(atomic_load(&order), 500, "500 queued batches are all done before a later one");
	is_int(atomic_load(&disordered), 0, "in their order, without error");
}

int main(void)
{
	struct meta *m;
	const char *why;
	char cmd[128];

	if (mkdtemp(dir) == NULL)
		return skip_all("no temporary directory");
	is_int(meta_leveldb_open(dir, &m, &why), 0, "the metadata is opened in an empty directory");
	is_int(put(m, "1/k", "v"), 0, "a batch is written");
	ok(has(m, "1/k", "v"), "and read");
	test_conditions(m);
	test_each(m);
	test_threads(m);
	test_queue(m);
	m->ops->close(m);
	is_int(meta_leveldb_open(dir, &m, &why), 0, "it is opened again");
	ok(has(m, "1/volume/a", "third"), "and the values are still there");
	m->ops->close(m);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd) != 0)
		diag("%s is left behind", dir);
	return done_testing();
}
