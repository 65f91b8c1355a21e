/*
 * Gives files to tagger's workers and prints what comes back, one JSON object a line: for tests,
 *and to see what an extractor makes of a file.
 *
 *	extract [--workers DIR] [--n N] [--time MS] [--memory BYTES] [--ocr] [--speech] [--known
 *HASH]
 *		[--picture WxH | --sprite CxR] [--out FILE] [--quiet] FILE... (or names on standard
 *input)
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "control.h"
#include "tagger/pool.h"

#include "banned.h"

#define UNDER_WAY 64u

struct run {
	struct control *control;
	struct pool *pool;
	struct control_timer *next;
	char **files; /* NULL: names come on standard input */
	bool picture, quiet;
	struct pool_picture shape;
	const char *out;
	const char *known; /* a hash that every file is asked about */
	unsigned int under_way;
	uint64_t done, failed;
};

struct file {
	struct run *run;
	char name[];
};

static json_t *hex64(uint64_t v)
{
	return json_sprintf("%016llx", (unsigned long long)v);
}

static unsigned long long big_endian(const uint8_t *p)
{
	unsigned long long v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static json_t *json_of(const struct extract *e, const char *name)
{
	json_t *o = json_object(), *tags = json_array(), *facts = json_object(),
	       *links = json_array();

	json_object_set_new(o, "file", json_string(name));
	json_object_set_new(o, "kind", json_string(extract_kind_names[e->kind]));
	json_object_set_new(o, "mime", json_string(e->mime));
	if (e->failed)
		json_object_set_new(o, "why", json_string(e->why));
	for (size_t i = 0; i < e->ntags; i++)
		json_array_append_new(tags, json_pack("{sssssfss}", "text", e->tags[i].text, "stem",
						      e->tags[i].stem, "weight",
						      (double)e->tags[i].weight, "source",
						      extract_source_names[e->tags[i].source]));
	for (size_t i = 0; i < e->nfacts; i++) {
		const char *key = extract_fact_names[e->facts[i].key];

		if (json_object_get(facts, key) == NULL)
			json_object_set_new(facts, key,
					    e->facts[i].text != NULL
						    ? json_string(e->facts[i].text)
						    : json_real(e->facts[i].number));
	}
	for (size_t i = 0; i < e->nlinks; i++)
		json_array_append_new(links, json_string(e->links[i]));
	json_object_set_new(o, "same", json_boolean(e->same));
	json_object_set_new(o, "tags", tags);
	json_object_set_new(o, "facts", facts);
	json_object_set_new(o, "links", links);
	json_object_set_new(
		o, "hash",
		json_sprintf("%016llx%016llx", big_endian(e->hash), big_endian(e->hash + 8)));
	if (e->has_simhash)
		json_object_set_new(o, "simhash", hex64(e->simhash));
	if (e->has_phash)
		json_object_set_new(o, "phash", hex64(e->phash));
	if (e->excerpt != NULL)
		json_object_set_new(o, "excerpt", json_string(e->excerpt));
	return o;
}

static void run_next(struct run *r);

static void file_end(struct file *f)
{
	struct run *r = f->run;

	r->under_way--;
	r->done++;
	free(f);
	run_next(r);
}

static void extract_done(void *arg, int err, struct extract *e)
{
	struct file *f = arg;
	json_t *o;

	if (err != 0) {
		printf("{\"file\":\"%s\",\"error\":%d}\n", f->name, err);
	} else {
		f->run->failed += e->failed;
		if (!f->run->quiet) {
			o = json_of(e, f->name);
			json_dumpf(o, stdout, JSON_COMPACT);
			putchar('\n');
			json_decref(o);
		}
		extract_free(e);
	}
	file_end(f);
}

static void picture_done(void *arg, int err, const char *type, const void *data, size_t len)
{
	struct file *f = arg;
	FILE *to = err == 0 && f->run->out != NULL ? fopen(f->run->out, "w") : NULL;

	printf("{\"file\":\"%s\",\"error\":%d,\"bytes\":%zu,\"type\":\"%s\"}\n", f->name, err, len,
	       type != NULL ? type : "");
	if (to != NULL) {
		fwrite(data, 1, len, to);
		fclose(to);
	}
	file_end(f);
}

static bool next_name(struct run *r, char *name, size_t cap)
{
	if (r->files != NULL) {
		if (*r->files == NULL)
			return false;
		snprintf(name, cap, "%s", *r->files++);
		return true;
	}
	if (fgets(name, (int)cap, stdin) == NULL)
		return false;
	name[strcspn(name, "\n")] = '\0';
	return true;
}

static void give(struct run *r, const char *name, int fd, const struct stat *st)
{
	size_t len = strlen(name);
	struct file *f = malloc(sizeof(*f) + len + 1);
	const char *slash = strrchr(name, '/');
	struct pool_request request = {.fd = fd,
				       .name = slash != NULL ? slash + 1 : name,
				       .size = (uint64_t)st->st_size,
				       .mtime_ns = st->st_mtim.tv_sec * 1000000000ll};
	int err;

	if (f == NULL)
		abort();
	for (unsigned int i = 0; r->known != NULL && i < EXTRACT_HASH_BYTES; i++)
		if (sscanf(r->known + 2 * i, "%2hhx", &request.known_hash[i]) != 1)
			abort();
	f->run = r;
	memcpy(f->name, name, len + 1);
	err = r->picture ? pool_make_picture(r->pool, &request, &r->shape, picture_done, f)
			 : pool_extract(r->pool, &request, extract_done, f);
	if (err != 0) {
		fprintf(stderr, "%s: %s\n", name, strerror(-err));
		free(f);
		return;
	}
	r->under_way++;
}

static void run_next(struct run *r)
{
	char name[4096];
	struct stat st;

	while (r->under_way < UNDER_WAY) {
		int fd;

		if (!next_name(r, name, sizeof(name)))
			break;
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			fprintf(stderr, "%s: not a file that can be opened\n", name);
			if (fd >= 0)
				close(fd);
			continue;
		}
		give(r, name, fd, &st);
	}
	if (r->under_way == 0)
		control_stop(r->control);
}

static void run_first(void *arg)
{
	run_next(arg);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"workers", 1, NULL, 'w'}, {"n", 1, NULL, 'n'},	     {"time", 1, NULL, 't'},
		{"memory", 1, NULL, 'm'},  {"ocr", 0, NULL, 'o'},    {"speech", 0, NULL, 's'},
		{"picture", 1, NULL, 'p'}, {"sprite", 1, NULL, 'S'}, {"out", 1, NULL, 'O'},
		{"known", 1, NULL, 'k'},   {"quiet", 0, NULL, 'q'},  {0},
	};
	struct pool_config config = {0};
	struct run r = {0};
	struct pool_stats stats;
	unsigned int a = 0, b = 0;
	double start = seconds();
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'w':
			config.dir = optarg;
			break;
		case 'n':
			config.workers = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 't':
			config.time_limit_ms = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			config.memory_max_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'o':
			config.ocr = true;
			break;
		case 's':
			config.speech = true;
			break;
		case 'p':
		case 'S':
			if (sscanf(optarg, "%ux%u", &a, &b) != 2)
				return 2;
			r.picture = true;
			r.shape = (struct pool_picture){.sprite = c == 'S',
							.width = c == 'S' ? 160 : (uint16_t)a,
							.height = c == 'S' ? 90 : (uint16_t)b,
							.columns = (uint8_t)a,
							.rows = (uint8_t)b};
			break;
		case 'O':
			r.out = optarg;
			break;
		case 'k':
			r.known = optarg;
			break;
		case 'q':
			r.quiet = true;
			break;
		default:
			return 2;
		}
	}
	r.files = optind < argc ? argv + optind : NULL;
	if (control_create(&r.control) < 0)
		return 1;
	config.control = r.control;
	if (pool_create(&config, &r.pool) < 0)
		return 1;
	r.next = control_timer_start(r.control, 0, 0, run_first, &r);
	control_run(r.control);
	pool_get_stats(r.pool, &stats);
	fprintf(stderr,
		"%llu files, %llu failed, %.2f s; died %llu, time %llu, sandbox %llu, replaced "
		"%llu\n",
		(unsigned long long)r.done, (unsigned long long)r.failed, seconds() - start,
		(unsigned long long)stats.died, (unsigned long long)stats.killed_time,
		(unsigned long long)stats.killed_sandbox, (unsigned long long)stats.replaced);
	pool_destroy(r.pool);
	control_timer_free(r.next);
	control_destroy(r.control);
	return 0;
}
