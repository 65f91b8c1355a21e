/*
 * How fast tagger's index answers: a generated tree of many files (a million, or the first
 *argument) with tags of Zipf's distribution, written and loaded again as the daemon does it; then
 *searches with three tags, suggestions and neighbours, each many times. By hand: make
 *t/bench/tagger-index && t/bench/tagger-index [FILES [FOLDER [cpu]]]
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hash.h"
#include "log.h"
#include "tagger/derive.h"
#include "tagger/query.h"
#include "tagger/relate.h"
#include "tagger/whole.h"
#include "banned.h"

#define TAGS_OF_FILE 20u
#define WORDS	     200000u
#define FOLDER_FILES 200u
#define QUERIES	     2000u
#define WHOLES	     10u

static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static bool cpu; /* measure time of the processor: for a machine that does other things */

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* Pronounceable, and a different one for each number. */
static void word(char *out, size_t max, uint32_t n)
{
	static const char *const parts[] = {"ba", "ke", "li", "mo", "nu", "ra", "se", "ti",
					    "vo", "zu", "da", "fe", "gi", "ho", "ju", "pa"};
	size_t len = 0;

	for (uint32_t v = n * 2654435761u % (1u << 20) + 16; v > 0; v /= 16)
		len += (size_t)snprintf(out + len, max - len, "%s", parts[v % 16]);
}

/* The n-th commonest is met in proportion to 1/n. */
static uint32_t zipf(void)
{
	double u = (double)(rnd() >> 11) / (double)(1ull << 53);

	return (uint32_t)(pow((double)WORDS, u) - 1.0);
}

static void seen_of(struct index_seen *seen, uint32_t n, uint8_t kind)
{
	*seen = (struct index_seen){.kind = kind,
				    .size = rnd() % (1 << 20),
				    .mtime_ns =
					    (int64_t)(1500000000 + rnd() % 200000000) * 1000000000};
	hash_bytes(&n, sizeof(n), seen->ident);
	seen->handle_len = 8;
	memcpy(seen->handle, seen->ident, 8);
}

static void generate(struct index *ix, uint32_t files)
{
	struct record *r = calloc(1, sizeof(*r));
	uint32_t folder = INDEX_ROOT, file;
	struct index_seen seen;
	char name[96], tag[64];
	int err;

	for (uint32_t i = 0; i < files; i++) {
		bool is_folder = i % FOLDER_FILES == 0;

		memset(r, 0, sizeof(*r));
		word(tag, sizeof(tag), zipf());
		snprintf(name, sizeof(name), "%s-%u%s", tag, i, is_folder ? "" : ".txt");
		seen_of(&seen, i + 2, is_folder ? EXTRACT_KIND_FOLDER : EXTRACT_KIND_TEXT);
		r->name = (struct record_text){name, strlen(name)};
		r->mtime_ns = seen.mtime_ns;
		r->size = seen.size;
		r->parent = is_folder ? INDEX_ROOT : folder;
		r->kind = seen.kind;
		derive_record(ix, r);
		for (unsigned k = 0; !is_folder && k < TAGS_OF_FILE; k++) {
			word(tag, sizeof(tag), zipf());
			index_record_tag(ix, r, tag, tag, (float)(rnd() % 100) / 100.0f,
					 EXTRACT_SOURCE_PHRASE);
		}
		err = index_add(ix, r->parent, name, strlen(name), &seen, r, &file);
		if (err != 0)
			die("index_add", err);
		if (is_folder)
			folder = file;
	}
	free(r);
	if (index_commit(ix) != 0)
		exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, double *ms, unsigned n, uint64_t found)
{
	qsort(ms, n, sizeof(*ms), compare);
	printf("%-28s p50 %7.3f ms   p99 %7.3f ms   max %7.3f ms   (%.1f found on average)\n", what,
	       ms[n / 2], ms[n * 99 / 100], ms[n - 1], (double)found / n);
}

static void measure_search(struct index *ix, double *ms)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < QUERIES; i++) {
		char text[256], a[64], b[64], c[64];
		struct query_result r;
		const char *why;
		double begin;

		word(a, sizeof(a), zipf() % 2000);
		word(b, sizeof(b), zipf() % 2000);
		word(c, sizeof(c), zipf() % 2000);
		snprintf(text, sizeof(text), "tag:%s tag:%s tag:%s", a, b, c);
		begin = now_ms();
		if (query_run(ix, text, NULL, QUERY_BEST, 0, 50, &r, &why) != 0)
			exit(1);
		ms[i] = now_ms() - begin;
		found += r.total;
		query_result_free(&r);
	}
	report("AND of three tags", ms, QUERIES, found);
}

static void measure_suggest(struct index *ix, double *ms, size_t letters)
{
	struct query_tag out[10];
	uint64_t found = 0;
	char what[64];

	for (unsigned i = 0; i < QUERIES; i++) {
		char text[64];
		double begin;

		word(text, sizeof(text), zipf());
		text[letters] = '\0';
		begin = now_ms();
		found += query_suggest(ix, text, NULL, out, 10);
		ms[i] = now_ms() - begin;
	}
	snprintf(what, sizeof(what), "suggestions, %zu letters", letters);
	report(what, ms, QUERIES, found);
}

static void measure_near(struct index *ix, double *ms)
{
	struct relation out[10];
	uint64_t found = 0;

	for (unsigned i = 0; i < QUERIES; i++) {
		uint32_t file = 2 + (uint32_t)(rnd() % (ix->next_file - 2));
		double begin = now_ms();
		int n = relate_neighbours(ix, file, NULL, out, 10);

		ms[i] = now_ms() - begin;
		if (n < 0)
			die("relate_neighbours", n);
		found += (unsigned)n;
	}
	report("neighbours", ms, QUERIES, found);
}

static void measure_whole(struct index *ix, double *ms)
{
	uint64_t found = 0;
	struct whole w;

	for (unsigned i = 0; i < WHOLES; i++) {
		double begin = now_ms();

		if (whole_make(ix, NULL, WHOLE_NODES_MAX, &w) != 0)
			exit(1);
		ms[i] = now_ms() - begin;
		found += w.ntags + w.nfiles;
		whole_free(&w);
	}
	report("graph of everything", ms, WHOLES, found);
}

/* The same for somebody who sees every other file. */
static void measure_held(struct index *ix, double *ms)
{
	struct scope_set set;
	struct query_tag out[10], *tags;
	uint64_t found = 0;
	uint32_t n, total;
	unsigned rounds = QUERIES / 20;

	for (unsigned i = 0; i < rounds; i++) {
		double begin = now_ms();

		if (scope_set("w:", ix, &set) != 0)
			exit(1);
		ms[i] = now_ms() - begin;
		free(set.bits);
	}
	report("what one may see, of all", ms, rounds, 0);
	if (scope_set("w:", ix, &set) != 0)
		exit(1);
	memset(set.bits, 0x55, (set.files + 63) / 64 * sizeof(*set.bits));
	for (unsigned i = 0; i < rounds; i++) {
		char text[64];
		double begin;

		word(text, sizeof(text), zipf());
		text[2] = '\0';
		begin = now_ms();
		found += query_suggest(ix, text, &set, out, 10);
		ms[i] = now_ms() - begin;
	}
	report("suggestions of that, 2", ms, rounds, found);
	for (unsigned i = 0; i < rounds; i++) {
		double begin = now_ms();

		if (query_tags(ix, "", &set, 0, 30, &tags, &n, &total) != 0)
			exit(1);
		ms[i] = now_ms() - begin;
		free(tags);
	}
	report("its commonest tags", ms, rounds, total);
	free(set.bits);
}

/* Of its own, of the files that LevelDB maps, and the most there ever was. */
static void memory(const char *when)
{
	long own = 0, mapped = 0, most = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		(void)sscanf(line, "RssAnon: %ld", &own);
		(void)sscanf(line, "RssFile: %ld", &mapped);
		(void)sscanf(line, "VmHWM: %ld", &most);
	}
	if (f != NULL)
		fclose(f);
	printf("memory %s: %ld MiB, and %ld MiB of mapped files; at most %ld MiB so far\n", when,
	       own / 1024, mapped / 1024, most / 1024);
}

int main(int argc, char **argv)
{
	uint32_t files = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	const char *dir = argc > 2 ? argv[2] : "tagger-index.bench";
	double *ms = calloc(QUERIES, sizeof(*ms)), begin;
	struct index_seen root;
	struct index *ix;
	const char *why;
	int err;

	cpu = argc > 3;
	begin = now_ms();
	log_init("tagger-index", LOG_LEVEL_INFO);
	seen_of(&root, 1, EXTRACT_KIND_FOLDER);
	err = index_open(dir, &root, &ix, &why);
	if (err != 0)
		die(why, err);
	if (ix->nfiles == 0) {
		generate(ix, files);
		printf("%u files written in %.1f s\n", files, (now_ms() - begin) / 1e3);
	}
	index_close(ix);
	begin = now_ms();
	err = index_open(dir, &root, &ix, &why);
	if (err != 0)
		die(why, err);
	memory("after loading");
	printf("%u files and %u tags loaded in %.1f s\n", ix->nfiles + ix->nfolders, ix->ntags,
	       (now_ms() - begin) / 1e3);
	measure_search(ix, ms);
	for (size_t letters = 1; letters <= 5; letters++)
		measure_suggest(ix, ms, letters);
	measure_near(ix, ms);
	measure_whole(ix, ms);
	measure_held(ix, ms);
	memory("at the end");
	index_close(ix);
	free(ms);
	return 0;
}
