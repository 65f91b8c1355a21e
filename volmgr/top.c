/* See top.h. */
#include "config.h"

#include "top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "volctl.h"

#include "banned.h"

#define NARROW	      120 /* columns: below, reads and writes share theirs */
#define LINES_BETWEEN 4	  /* two headings, an empty line, the first line */

static const double parts[3] = {0.5, 0.99, 0.999};

/* ---- from an answer ------------------------------------------------------------------------ */

static void counts_read(struct watch_counts *c, const json_t *o)
{
	const json_t *list = json_object_get(o, "buckets"), *value;
	size_t i;

	c->bytes = jnum(o, "bytes");
	c->total_ns = jnum(o, "ns");
	json_array_foreach(list, i, value)
	{
		json_int_t n = json_integer_value(value);

		if (i < WATCH_BUCKETS && n > 0)
			c->bucket[i] = (uint64_t)n;
	}
	for (i = 0; i < WATCH_BUCKETS; i++)
		c->count += c->bucket[i];
}

static int list_read(struct top_list *l, const json_t *list)
{
	size_t n = json_array_size(list);

	n = n < TOP_ROWS_MAX ? n : TOP_ROWS_MAX;
	l->at = calloc(n > 0 ? n : 1, sizeof(*l->at));
	if (l->at == NULL)
		return -ENOMEM;
	for (; l->n < n; l->n++) {
		const json_t *o = json_array_get(list, l->n);
		struct top_counts *c = &l->at[l->n];

		snprintf(c->name, sizeof(c->name), "%s", jstr(o, "name"));
		snprintf(c->state, sizeof(c->state), "%s", jstr(o, "state"));
		snprintf(c->route, sizeof(c->route), "%s", jstr(o, "route"));
		counts_read(&c->reads, json_object_get(o, "reads"));
		counts_read(&c->writes, json_object_get(o, "writes"));
		counts_read(&c->routed, json_object_get(o, "routed"));
	}
	return 0;
}

int top_sample_read(struct top_sample *s, const json_t *answer)
{
	memset(s, 0, sizeof(*s));
	s->seconds = (double)jnum(answer, "ns") / 1e9;
	if (list_read(&s->volumes, json_object_get(answer, "volumes")) == 0 &&
	    list_read(&s->servers, json_object_get(answer, "servers")) == 0)
		return 0;
	top_sample_free(s);
	return -ENOMEM;
}

void top_sample_free(struct top_sample *s)
{
	free(s->volumes.at);
	free(s->servers.at);
	memset(s, 0, sizeof(*s));
}

/* ---- what lies between --------------------------------------------------------------------- */

/* Nothing when it went backwards: then volmgr has begun anew. */
static void since(const struct watch_counts *now, const struct watch_counts *then,
		  struct watch_counts *out)
{
	if (now->count < then->count || now->bytes < then->bytes)
		memset(out, 0, sizeof(*out));
	else
		io_counts_since(now, then, out);
}

static void row_fill(struct top_row *r, const struct top_counts *d, double seconds)
{
	struct watch_counts reads = d->reads;

	io_counts_sum(&reads, &d->routed);
	r->reads = (double)reads.count / seconds;
	r->read_bytes = (double)reads.bytes / seconds;
	r->writes = (double)d->writes.count / seconds;
	r->write_bytes = (double)d->writes.bytes / seconds;
	for (unsigned i = 0; i < 3; i++) {
		r->read_ns[i] = io_counts_quantile(&reads, parts[i]);
		r->write_ns[i] = io_counts_quantile(&d->writes, parts[i]);
	}
	r->routed = reads.count > 0 ? (double)d->routed.count / (double)reads.count : -1;
}

static int row_compare(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	double dx = x->reads + x->writes, dy = y->reads + y->writes;

	return dx < dy ? 1 : dx > dy ? -1 : strcmp(x->name, y->name);
}

/* The one of this name: most often it is where it was. */
static const struct top_counts *list_find(const struct top_list *l, const char *name, unsigned hint)
{
	if (hint < l->n && strcmp(l->at[hint].name, name) == 0)
		return &l->at[hint];
	for (unsigned i = 0; i < l->n; i++)
		if (strcmp(l->at[i].name, name) == 0)
			return &l->at[i];
	return NULL;
}

static int rows_make(struct top_rows *rows, const struct top_list *then, const struct top_list *now,
		     double seconds, struct top_counts *total)
{
	rows->at = calloc(now->n > 0 ? now->n : 1, sizeof(*rows->at));
	if (rows->at == NULL)
		return -ENOMEM;
	for (; rows->n < now->n; rows->n++) {
		const struct top_counts *c = &now->at[rows->n];
		const struct top_counts *old = list_find(then, c->name, rows->n);
		struct top_row *r = &rows->at[rows->n];
		struct top_counts d = {.reads.count = 0};

		if (old != NULL) {
			since(&c->reads, &old->reads, &d.reads);
			since(&c->writes, &old->writes, &d.writes);
			since(&c->routed, &old->routed, &d.routed);
		}
		memcpy(r->name, c->name, sizeof(r->name));
		memcpy(r->state, c->state, sizeof(r->state));
		memcpy(r->route, c->route, sizeof(r->route));
		row_fill(r, &d, seconds);
		if (total == NULL)
			continue;
		io_counts_sum(&total->reads, &d.reads);
		io_counts_sum(&total->writes, &d.writes);
		io_counts_sum(&total->routed, &d.routed);
	}
	qsort(rows->at, rows->n, sizeof(*rows->at), row_compare);
	return 0;
}

int top_view_make(struct top_view *v, const struct top_sample *then, const struct top_sample *now)
{
	double seconds = now->seconds - then->seconds;
	struct top_counts total = {.reads.count = 0};

	memset(v, 0, sizeof(*v));
	if (seconds <= 0) /* another volmgr, on a machine that was started anew */
		seconds = 1;
	if (rows_make(&v->volumes, &then->volumes, &now->volumes, seconds, &total) != 0 ||
	    rows_make(&v->servers, &then->servers, &now->servers, seconds, NULL) != 0) {
		top_view_free(v);
		return -ENOMEM;
	}
	snprintf(v->all.name, sizeof(v->all.name), "all");
	row_fill(&v->all, &total, seconds);
	return 0;
}

void top_view_free(struct top_view *v)
{
	free(v->volumes.at);
	free(v->servers.at);
	memset(v, 0, sizeof(*v));
}

/* ---- for people ---------------------------------------------------------------------------- */

char *top_time(uint64_t ns, char buf[TOP_TIME_MAX])
{
	double us = (double)ns / 1e3;

	if (ns == 0)
		snprintf(buf, TOP_TIME_MAX, "-");
	else if (us < 9.95)
		snprintf(buf, TOP_TIME_MAX, "%.1fus", us);
	else if (us < 999.5)
		snprintf(buf, TOP_TIME_MAX, "%.0fus", us);
	else if (us < 9950)
		snprintf(buf, TOP_TIME_MAX, "%.1fms", us / 1e3);
	else if (us < 999500)
		snprintf(buf, TOP_TIME_MAX, "%.0fms", us / 1e3);
	else
		snprintf(buf, TOP_TIME_MAX, "%.1fs", us / 1e6);
	return buf;
}

static void time_cells(struct table *t, const uint64_t ns[3])
{
	char text[TOP_TIME_MAX];

	for (unsigned i = 0; i < 3; i++)
		table_cell(t, "%s", top_time(ns[i], text));
}

/* Of a remote server it is never anything. */
static void routed_cell(struct table *t, const struct top_row *r)
{
	if (strcmp(r->route, "remote") == 0)
		table_cell(t, "remote");
	else if (r->routed < 0)
		table_cell(t, "-");
	else
		table_cell(t, "%.0f%%", r->routed * 100);
}

static void name_cell(struct table *t, const struct top_row *r)
{
	if (*r->state == '\0' || strcmp(r->state, "up") == 0)
		table_cell(t, "%s", r->name);
	else
		table_cell(t, "%s (%s)", r->name, r->state);
}

static void row_wide(struct table *t, const struct top_row *r)
{
	name_cell(t, r);
	table_cell(t, "%.0f", r->reads);
	table_cell(t, "%.1f", r->read_bytes / 1e6);
	time_cells(t, r->read_ns);
	table_cell(t, "%.0f", r->writes);
	table_cell(t, "%.1f", r->write_bytes / 1e6);
	time_cells(t, r->write_ns);
	routed_cell(t, r);
}

/* Latencies of whichever there were more of. */
static void row_narrow(struct table *t, const struct top_row *r)
{
	name_cell(t, r);
	table_cell(t, "%.0f", r->reads);
	table_cell(t, "%.0f", r->writes);
	table_cell(t, "%.1f", (r->read_bytes + r->write_bytes) / 1e6);
	time_cells(t, r->reads >= r->writes ? r->read_ns : r->write_ns);
	routed_cell(t, r);
}

static void rows_print(const struct top_rows *rows, const char *what, FILE *out, bool wide,
		       unsigned max)
{
	const char *const wide_headings[] = {what,     ">READS/s",  ">MB/s", ">p50", ">p99",
					     ">p99.9", ">WRITES/s", ">MB/s", ">p50", ">p99",
					     ">p99.9", ">ROUTED",   NULL};
	const char *const narrow_headings[] = {what,   ">READS/s", ">WRITES/s", ">MB/s", ">p50",
					       ">p99", ">p99.9",   ">ROUTED",	NULL};
	struct table *t = table_create(wide ? wide_headings : narrow_headings);

	for (unsigned i = 0; t != NULL && i < rows->n && i < max; i++)
		if (wide)
			row_wide(t, &rows->at[i]);
		else
			row_narrow(t, &rows->at[i]);
	table_print(t, out, 0, "There are none.");
	table_destroy(t);
}

static void all_print(const struct top_view *v, FILE *out)
{
	char p99[TOP_TIME_MAX], w99[TOP_TIME_MAX];

	fprintf(out, "%.0f reads/s (%.1f MB/s, p99 %s", v->all.reads, v->all.read_bytes / 1e6,
		top_time(v->all.read_ns[1], p99));
	if (v->all.routed >= 0)
		fprintf(out, ", %.0f%% routed", v->all.routed * 100);
	fprintf(out, "), %.0f writes/s (%.1f MB/s, p99 %s)\n", v->all.writes,
		v->all.write_bytes / 1e6, top_time(v->all.write_ns[1], w99));
}

/* Lines cut to what fits. */
static void clip(const char *text, FILE *out, unsigned columns, unsigned lines)
{
	for (unsigned n = 0; *text != '\0' && (lines == 0 || n < lines); n++) {
		size_t len = strcspn(text, "\n");
		size_t fits = columns > 0 && len > columns ? columns : len;

		fprintf(out, "%.*s\n", (int)fits, text);
		text += len + (text[len] == '\n');
	}
}

void top_view_print(const struct top_view *v, FILE *out, unsigned columns, unsigned lines)
{
	bool wide = columns == 0 || columns >= NARROW;
	unsigned servers = v->servers.n, volumes = v->volumes.n, room;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return;
	if (lines > 0) { /* half of it is for the servers, if they need so much */
		room = lines > LINES_BETWEEN ? lines - LINES_BETWEEN : 1;
		if (volumes + servers > room) {
			servers = servers < room / 2 ? servers : room / 2;
			volumes = volumes < room - servers ? volumes : room - servers;
			servers = v->servers.n < room - volumes ? v->servers.n : room - volumes;
		}
	}
	all_print(v, f);
	rows_print(&v->volumes, "VOLUME", f, wide, volumes);
	fputc('\n', f);
	rows_print(&v->servers, "SERVER", f, wide, servers);
	if (fclose(f) == 0)
		clip(text, out, columns, lines);
	free(text);
}

/* ---- for scripts --------------------------------------------------------------------------- */

static json_t *times_json(const uint64_t ns[3])
{
	return json_pack("{s:f, s:f, s:f}", "p50", (double)ns[0] / 1e3, "p99", (double)ns[1] / 1e3,
			 "p99.9", (double)ns[2] / 1e3);
}

static json_t *row_json(const struct top_row *r)
{
	json_t *o = json_pack("{s:s, s:f, s:f, s:f, s:f, s:o, s:o}", "name", r->name, "reads",
			      r->reads, "read_bytes", r->read_bytes, "writes", r->writes,
			      "write_bytes", r->write_bytes, "read_us", times_json(r->read_ns),
			      "write_us", times_json(r->write_ns));

	json_object_set_new(o, "routed", r->routed < 0 ? json_null() : json_real(r->routed));
	if (*r->state != '\0')
		json_object_set_new(o, "state", json_string(r->state));
	if (*r->route != '\0')
		json_object_set_new(o, "route", json_string(r->route));
	return o;
}

static json_t *rows_json(const struct top_rows *rows)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < rows->n; i++)
		json_array_append_new(list, row_json(&rows->at[i]));
	return list;
}

json_t *top_view_json(const struct top_view *v)
{
	return json_pack("{s:o, s:o, s:o}", "all", row_json(&v->all), "volumes",
			 rows_json(&v->volumes), "servers", rows_json(&v->servers));
}
