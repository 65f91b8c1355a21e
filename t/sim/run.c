/*
 * t/sim/run: runs seeds. Each worker is a process, so that a broken promise, or an assert of an
 * engine, ends only that; the next seed goes on in a new one.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "sim.h"

#define JOBS_MAX 64

struct shared {
	uint64_t seed[JOBS_MAX]; /* that each worker is at */
	uint64_t done[JOBS_MAX], steps[JOBS_MAX], hash[JOBS_MAX];
};

struct options {
	uint64_t from, count, every;
	unsigned jobs, failures;
	bool single;
};

static const struct geometry geometries[] = {
	{1, 1, 3, 4 << 10, 0},	 {2, 1, 4, 64 << 10, 0}, {2, 1, 4, 16 << 10, 0},
	{1, 2, 4, 64 << 10, 0},	 {2, 2, 5, 32 << 10, 0}, {2, 2, 4, 128 << 10, 0},
	{3, 1, 5, 64 << 10, 0},	 {4, 2, 6, 64 << 10, 0}, {4, 2, 7, 16 << 10, 0},
	{2, 0, 3, 64 << 10, 0},	 {3, 3, 7, 8 << 10, 0},	 {1, 3, 5, 64 << 10, 0},
	{2, 2, 5, 256 << 10, 0},
};

/* ---- one seed ------------------------------------------------------------------------------ */

static struct server *servers[SIM_SERVERS_MAX]; /* made once, used by all seeds */

static void seed_servers(struct sim *s)
{
	for (unsigned i = 0; i < s->g.servers; i++) {
		if (servers[i] == NULL) {
			servers[i] = server_new(s, i + 1);
			s->nprocs--;
		}
		s->servers[i] = servers[i];
		server_reset(servers[i], s);
	}
}

void sim_seed(uint64_t seed, uint64_t *hash, uint64_t *steps)
{
	static struct sim sim;
	struct sim *s = &sim;

	memset(s, 0, sizeof(*s));
	s->seed = s->random = seed;
	s->more = ~seed;
	s->late = seed / 8 % 2 == 1;
	s->now_ns = NS_PER_S;
	sim_now = s;
	s->g = geometries[sim_below(s, sizeof(geometries) / sizeof(geometries[0]))];
	s->g.size = (1 + sim_below(s, 3)) * (uint64_t)s->g.k * WEFT_SHARD_BYTES;
	s->meta = meta_new(s);
	s->model = model_new(s, s->g.size);
	seed_servers(s);
	for (unsigned i = 0; i < SIM_MGRS; i++)
		s->mgrs[i] = mgr_new(s, i + 1);
	s->client = client_new(s);
	s->load = load_new(s);
	s->faults = faults_new(s);
	faults_story(s->faults);
	*hash = s->hash;
	*steps = s->steps;
	sim_now = NULL;
	for (unsigned i = 0; i < SIM_MGRS; i++)
		mgr_free(s->mgrs[i]);
	faults_free(s->faults);
	load_free(s->load);
	client_free(s->client);
	net_free(s);
	meta_free(s->meta);
	model_free(s->model);
}

/* ---- workers ------------------------------------------------------------------------------- */

static struct shared *shared;
static unsigned job;

static void on_signal(int sig)
{
	sim_dump();
	fprintf(stderr, "# seed %" PRIu64 ": signal %d\n", shared->seed[job], sig);
	_Exit(1);
}

static void worker(const struct options *o)
{
	log_init("sim", LOG_LEVEL_DEBUG);
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	for (uint64_t seed = shared->seed[job]; seed < o->from + o->count * o->every;
	     seed += o->jobs * o->every) {
		uint64_t hash, steps;

		shared->seed[job] = seed;
		sim_seed(seed, &hash, &steps);
		shared->done[job]++;
		shared->steps[job] += steps;
		shared->hash[job] += hash;
	}
	fflush(stdout);
	_Exit(0);
}

static pid_t start(const struct options *o, unsigned n)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		job = n;
		worker(o);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	return pid;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const struct options *o, unsigned failed, double took)
{
	uint64_t done = 0, steps = 0, hash = 0;

	for (unsigned i = 0; i < o->jobs; i++) {
		done += shared->done[i];
		steps += shared->steps[i];
		hash += shared->hash[i];
	}
	printf("%" PRIu64 " seeds passed, %u failed; %" PRIu64 " events; %.1f seeds a second\n",
	       done, failed, steps, (double)done / took);
	printf("hash %016" PRIx64 "\n", hash);
}

static int run(const struct options *o)
{
	pid_t pids[JOBS_MAX];
	unsigned failed = 0, alive = o->jobs;
	double began = seconds();

	for (unsigned i = 0; i < o->jobs; i++) {
		shared->seed[i] = o->from + i * o->every;
		pids[i] = start(o, i);
	}
	while (alive > 0) {
		int status;
		pid_t pid = wait(&status);
		unsigned i = 0;

		while (i < o->jobs && pids[i] != pid)
			i++;
		if (pid < 0 || i == o->jobs)
			break;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			alive--;
			continue;
		}
		printf("failed: --seed %" PRIu64 "\n", shared->seed[i]);
		shared->seed[i] += o->jobs * o->every;
		if (++failed < o->failures)
			pids[i] = start(o, i);
		else
			alive--;
	}
	report(o, failed, seconds() - began);
	return failed == 0 ? 0 : 1;
}

/* ---- options ------------------------------------------------------------------------------- */

static void usage(FILE *to)
{
	fputs("usage: run --seeds N [--from S] [--every E] [--jobs J] [--failures F]\n"
	      "       run --seed S [--trace]\n"
	      "  --seeds N     run so many seeds\n"
	      "  --from S      the first of them (1)\n"
	      "  --every E     every E-th from there on (1)\n"
	      "  --jobs J      so many at once (1)\n"
	      "  --failures F  stop a job after so many failed seeds (1)\n"
	      "  --seed S      run this one\n"
	      "  --trace       and tell all that happens in it\n",
	      to);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "run: %s is no number\n", text);
		exit(2);
	}
	return n;
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"from", required_argument, NULL, 'f'},
		{"every", required_argument, NULL, 'e'},
		{"jobs", required_argument, NULL, 'j'},
		{"failures", required_argument, NULL, 'F'},
		{"seed", required_argument, NULL, 's'},
		{"trace", no_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->count = number(optarg);
			break;
		case 'f':
			o->from = number(optarg);
			break;
		case 'e':
			o->every = number(optarg);
			break;
		case 'j':
			o->jobs = (unsigned)number(optarg);
			break;
		case 'F':
			o->failures = (unsigned)number(optarg);
			break;
		case 's':
			o->from = number(optarg);
			o->count = 1;
			break;
		case 't':
			sim_tracing = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind != argc || o->count == 0 || o->every == 0 || o->jobs == 0 ||
	    o->jobs > JOBS_MAX) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options o = {.from = 1, .every = 1, .jobs = 1, .failures = 1};

	parse(argc, argv, &o);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	return run(&o);
}
