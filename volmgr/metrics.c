/*
 * /metrics for Prometheus, in its text format. Names by its conventions: base units, _total for
 * counters, seconds and bytes. Latency histograms are given for the busiest volumes only, so that
 * thousands of idle ones do not make pages of zeros.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "route.h"
#include "stats.h"
#include "banned.h"

#define METRICS_TYPE	       "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_HISTOGRAMS_MAX 200

void metrics_head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP weft_%s %s\n# TYPE weft_%s %s\n", name, help, name, type);
}

/* ---- cluster ------------------------------------------------------------------------------- */

static void metrics_cluster(struct cluster *c, FILE *f)
{
	unsigned clients;

	pthread_mutex_lock(&c->lock);
	clients = c->connections;
	pthread_mutex_unlock(&c->lock);
	metrics_head(f, "build_info", "gauge", "Version of volmgr; always 1.");
	fprintf(f, "weft_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	metrics_head(f, "uptime_seconds", "gauge", "How long volmgr has been running.");
	fprintf(f, "weft_uptime_seconds %" PRIu64 "\n",
		(uint64_t)(clock_ns() / NS_PER_S) - c->started_s);
	metrics_head(f, "nbd_clients", "gauge", "NBD connections.");
	fprintf(f, "weft_nbd_clients %u\n", clients);
	metrics_head(f, "servers", "gauge", "Servers that are registered.");
	fprintf(f, "weft_servers %u\n", c->nservers);
	metrics_head(f, "volumes", "gauge", "Volumes.");
	fprintf(f, "weft_volumes %u\n", c->nvols);
	metrics_head(f, "events_total", "counter", "Events that were noted.");
	fprintf(f, "weft_events_total %" PRIu64 "\n", events_last());
}

/* ---- servers ------------------------------------------------------------------------------- */

static const struct {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t in struct weft_stat */
} server_metrics[] = {
	{"server_size_bytes", "gauge", "Size of a server's store.",
	 offsetof(struct weft_stat, size_bytes)},
	{"server_free_bytes", "gauge", "What is free of it.",
	 offsetof(struct weft_stat, free_bytes)},
	{"server_read_requests_total", "counter", "Reads that a server answered.",
	 offsetof(struct weft_stat, reads)},
	{"server_write_requests_total", "counter", "Writes that a server answered.",
	 offsetof(struct weft_stat, writes)},
	{"server_read_bytes_total", "counter", "Bytes read from a server.",
	 offsetof(struct weft_stat, read_bytes)},
	{"server_written_bytes_total", "counter", "Bytes written to a server.",
	 offsetof(struct weft_stat, write_bytes)},
	{"server_checksum_errors_total", "counter", "Blocks whose checksum was wrong.",
	 offsetof(struct weft_stat, crc_errors)},
	{"server_io_errors_total", "counter", "Errors of a server's disk.",
	 offsetof(struct weft_stat, io_errors)},
	{"server_guard_dropped_packets_total", "counter",
	 "Packets of strangers that its guard dropped.", offsetof(struct weft_stat, guard_dropped)},
	{"server_guard_passed_packets_total", "counter",
	 "Packets to its ports that its guard let in.", offsetof(struct weft_stat, guard_passed)},
};

static void metrics_servers(struct cluster *c, FILE *f)
{
	metrics_head(f, "server_up", "gauge", "1 when a server can be used.");
	for (unsigned i = 0; i < c->nservers; i++)
		fprintf(f, "weft_server_up{server=\"%s\",host=\"%s\"} %d\n", c->servers[i]->name,
			c->servers[i]->host, c->servers[i]->state == SERVER_UP);
	for (size_t m = 0; m < sizeof(server_metrics) / sizeof(server_metrics[0]); m++) {
		metrics_head(f, server_metrics[m].name, server_metrics[m].type,
			     server_metrics[m].help);
		for (unsigned i = 0; i < c->nservers; i++) {
			const struct server *s = c->servers[i];
			uint64_t value;

			if (!s->stat_known)
				continue;
			memcpy(&value, (const char *)&s->stat + server_metrics[m].offset,
			       sizeof(value));
			fprintf(f, "weft_%s{server=\"%s\"} %" PRIu64 "\n", server_metrics[m].name,
				s->name, value);
		}
	}
}

/* ---- volumes ------------------------------------------------------------------------------- */

static const char *const kinds[IO_KINDS] = {
	[IO_READ] = "read", [IO_WRITE] = "write", [IO_OTHER] = "other"};

static void metrics_volume_gauges(struct cluster *c, FILE *f)
{
	metrics_head(f, "volume_size_bytes", "gauge", "Size of a volume.");
	for (unsigned i = 0; i < c->nvols; i++)
		fprintf(f, "weft_volume_size_bytes{volume=\"%s\"} %" PRIu64 "\n", c->vols[i]->name,
			c->vols[i]->size);
	metrics_head(f, "volume_ready", "gauge", "1 when a volume can be used.");
	for (unsigned i = 0; i < c->nvols; i++)
		fprintf(f, "weft_volume_ready{volume=\"%s\"} %d\n", c->vols[i]->name,
			c->vols[i]->state == VOL_READY);
	metrics_head(f, "volume_clients", "gauge", "NBD connections of a volume.");
	for (unsigned i = 0; i < c->nvols; i++)
		fprintf(f, "weft_volume_clients{volume=\"%s\"} %u\n", c->vols[i]->name,
			c->vols[i]->clients);
}

static void metrics_bytes(struct cluster *c, FILE *f, enum io_kind kind, const char *name,
			  const char *help)
{
	metrics_head(f, name, "counter", help);
	for (unsigned i = 0; i < c->nvols; i++)
		fprintf(f, "weft_%s{volume=\"%s\"} %" PRIu64 "\n", name, c->vols[i]->name,
			c->vols[i]->io_seen.kind[kind].bytes +
				(kind == IO_READ ? c->vols[i]->routed.bytes : 0));
}

/* One line a doubling is enough for the outside. */
static void metrics_histogram(FILE *f, const char *what, const char *name, const char *op,
			      const struct watch_counts *n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < WATCH_BUCKETS - 1; i++) {
		sum += n->bucket[i];
		if (i % 2 == 0)
			fprintf(f,
				"weft_%s_request_duration_seconds_bucket{%s=\"%s\",op=\"%s\","
				"le=\"%.6f\"} %" PRIu64 "\n",
				what, what, name, op, (double)io_bucket_end(i) / 1e9, sum);
	}
	fprintf(f,
		"weft_%s_request_duration_seconds_bucket{%s=\"%s\",op=\"%s\",le=\"+Inf\"} "
		"%" PRIu64 "\n",
		what, what, name, op, n->count);
	fprintf(f,
		"weft_%s_request_duration_seconds_sum{%s=\"%s\",op=\"%s\"} %.6f\n"
		"weft_%s_request_duration_seconds_count{%s=\"%s\",op=\"%s\"} %" PRIu64 "\n",
		what, what, name, op, (double)n->total_ns / 1e9, what, what, name, op, n->count);
}

/* All kinds of one volume or server. False: there was nothing. */
static bool metrics_kinds(FILE *f, const char *what, const char *name, const struct io_stat *st,
			  const struct watch_counts *routed)
{
	bool used = routed->count > 0;

	for (int k = 0; k < IO_KINDS; k++)
		used |= st->kind[k].count > 0;
	for (int k = 0; used && k < IO_KINDS; k++)
		metrics_histogram(f, what, name, kinds[k], &st->kind[k]);
	if (routed->count > 0)
		metrics_histogram(f, what, name, "routed_read", routed);
	return used;
}

static void metrics_histograms(struct cluster *c, FILE *f)
{
	unsigned shown = 0;

	metrics_head(f, "volume_request_duration_seconds", "histogram",
		     "How long requests of clients took, from their last byte to the answer; "
		     "routed_read: "
		     "past volmgr.");
	for (unsigned i = 0; i < c->nvols && shown < METRICS_HISTOGRAMS_MAX; i++) {
		const struct vol *v = c->vols[i];

		shown += metrics_kinds(f, "volume", v->name, &v->io_seen, &v->routed);
	}
	metrics_head(f, "server_request_duration_seconds", "histogram",
		     "How long servers took for reads and writes, as volmgr or the kernel saw it.");
	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];
		struct watch_counts routed;

		route_server_count(c, s, &routed);
		metrics_kinds(f, "server", s->name, &s->io, &routed);
	}
}

/* What data threads change is changed under the lock; holding it for all is a copy of numbers. */
static void metrics_write(struct cluster *c, FILE *f)
{
	metrics_cluster(c, f);
	metrics_servers(c, f);
	pthread_mutex_lock(&c->lock);
	metrics_volume_gauges(c, f);
	metrics_bytes(c, f, IO_READ, "volume_read_bytes_total", "Bytes that clients read.");
	metrics_bytes(c, f, IO_WRITE, "volume_written_bytes_total", "Bytes that clients wrote.");
	metrics_head(f, "volume_routed_reads_total", "counter",
		     "Reads that the kernel routed past volmgr.");
	for (unsigned i = 0; i < c->nvols; i++)
		fprintf(f, "weft_volume_routed_reads_total{volume=\"%s\"} %" PRIu64 "\n",
			c->vols[i]->name, c->vols[i]->routed.count);
	metrics_histograms(c, f);
	metrics_work(c, f);
	pthread_mutex_unlock(&c->lock);
}

static struct cluster *scraped; /* there is one */

static void metrics_answer(void *arg, int status, const json_t *tagger)
{
	struct http_request *r = arg;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f != NULL) {
		metrics_write(scraped, f);
		metrics_tagger(status == 200 ? tagger : NULL, f);
		fclose(f);
	}
	http_reply(r, text != NULL ? 200 : 500, METRICS_TYPE, text, len);
	free(text);
}

void api_metrics(struct cluster *c, struct http_request *r)
{
	struct refusal refusal;

	if (!c->people->settings.metrics && api_auth_need(r, ROLE_READ, &refusal) != 0) {
		refuse_hint(&refusal, "Give Prometheus a token, or let metrics be read by all in "
				      "the settings.");
		api_refuse(r, &refusal);
		return;
	}
	scraped = c;
	api_tagger_ask(c, HTTP_GET, "status", metrics_answer, r);
}
