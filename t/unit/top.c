/* What volctl top makes of two answers: rates, latencies, the routed share, order, and lines that
 * fit a terminal. */
#include "config.h"

#include <stdlib.h>

#include "top.h"
#include "tap.h"

/* count requests of bytes each in bucket 10, and as many others in bucket 30 */
static json_t *counts(unsigned count, unsigned others, unsigned bytes)
{
	json_t *list = json_array();

	for (unsigned i = 0; i <= 30; i++)
		json_array_append_new(list, json_integer(i == 10   ? (json_int_t)count
							 : i == 30 ? (json_int_t)others
								   : 0));
	return json_pack("{s:i, s:I, s:i, s:o}", "count", (int)(count + others), "bytes",
			 (json_int_t)(count + others) * bytes, "ns", 0, "buckets", list);
}

static json_t *one(const char *name, unsigned reads, unsigned routed, unsigned writes)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", name, "state", "up", "reads",
			 counts(reads, 0, 4096), "routed", counts(routed, routed / 100, 4096),
			 "writes", counts(writes, 0, 65536));
}

static json_t *remote(json_t *server)
{
	json_object_set_new(server, "route", json_string("remote"));
	return server;
}

static json_t *answer(double seconds, unsigned n)
{
	return json_pack("{s:I, s:[o, o], s:[o]}", "ns", (json_int_t)(seconds * 1e9), "volumes",
			 one("idle", 5, 0, 5), one("busy", 100 * n, 300 * n, 50 * n), "servers",
			 remote(one("server-1", 10 * n, 0, 20 * n)));
}

static struct top_sample sample(double seconds, unsigned n)
{
	json_t *a = answer(seconds, n);
	struct top_sample s;

	ok(top_sample_read(&s, a) == 0, "an answer is read");
	json_decref(a);
	return s;
}

static char *printed(const struct top_view *v, unsigned columns, unsigned lines)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	top_view_print(v, f, columns, lines);
	fclose(f);
	return text;
}

static void fits(const struct top_view *v, unsigned columns, unsigned lines)
{
	char *text = printed(v, columns, lines), *at = text, name[80];
	unsigned n = 0;
	bool good = true;

	for (char *end; (end = strchr(at, '\n')) != NULL; at = end + 1, n++)
		good &= (size_t)(end - at) <= columns;
	snprintf(name, sizeof(name), "it fits %u columns and %u lines", columns, lines);
	ok(good && n <= lines && n > 0, name);
	free(text);
}

static void test_rates(const struct top_view *v)
{
	const struct top_row *busy = &v->volumes.at[0];

	is_str(busy->name, "busy", "the busiest is first");
	is_str(v->volumes.at[1].name, "idle", "who does nothing is last");
	is_int(busy->reads, 403 / 2, "reads a second, routed ones too");
	is_int(busy->writes, 25, "writes a second");
	is_int(busy->write_bytes, 25 * 65536, "bytes a second");
	ok(busy->routed > 0.75 && busy->routed < 0.76, "three of four were routed");
	ok(busy->read_ns[0] <= io_bucket_end(10) && busy->read_ns[0] > io_bucket_end(9),
	   "half of the reads took as long as the most");
	ok(busy->read_ns[2] > io_bucket_end(29), "one of a thousand took much longer");
	ok(v->volumes.at[1].routed < 0 && v->volumes.at[1].read_ns[0] == 0,
	   "without reads there is no share and no time");
	is_int(v->all.reads, busy->reads, "and all together");
	is_int(v->servers.at[0].writes, 10, "servers too");
}

static void test_print(const struct top_view *v)
{
	char *text = printed(v, 0, 0);
	json_t *json = top_view_json(v);

	ok(strstr(text, "VOLUME") != NULL && strstr(text, "p99.9") != NULL &&
		   strstr(text, "server-1") != NULL,
	   "all of it is printed where there is no terminal");
	ok(strstr(text, "remote") != NULL, "that no reads are routed to a remote server");
	free(text);
	fits(v, 200, 50);
	fits(v, 100, 24);
	fits(v, 40, 8);
	fits(v, 1, 1);
	ok(json != NULL && json_array_size(json_object_get(json, "volumes")) == 2, "and as JSON");
	is_str(json_string_value(json_object_get(
		       json_array_get(json_object_get(json, "servers"), 0), "route")),
	       "remote", "which servers are routed, too");
	ok(json_is_null(
		   json_object_get(json_array_get(json_object_get(json, "volumes"), 1), "routed")),
	   "no share is null");
	json_decref(json);
}

static void test_times(void)
{
	char buf[TOP_TIME_MAX];

	is_str(top_time(0, buf), "-", "no time");
	is_str(top_time(1500, buf), "1.5us", "microseconds");
	is_str(top_time(85400, buf), "85us", "many");
	is_str(top_time(1234000, buf), "1.2ms", "milliseconds");
	is_str(top_time(54321000, buf), "54ms", "many");
	is_str(top_time(3400000000, buf), "3.4s", "seconds");
}

/* volmgr began anew, or says something else: no nonsense is shown. */
static void test_odd(void)
{
	struct top_sample then = sample(100, 1000), now = sample(5, 1), none;
	struct top_view v;
	json_t *odd = json_pack("{s:[i, s, {s:s}], s:i}", "volumes", 1, "x", "reads", "many",
				"servers", 7);

	ok(top_view_make(&v, &then, &now) == 0 && v.volumes.at[0].reads == 0,
	   "counters that went back count as nothing");
	top_view_free(&v);
	ok(top_sample_read(&none, odd) == 0 && none.servers.n == 0,
	   "an answer of other types is read as nothing");
	ok(top_view_make(&v, &none, &now) == 0 && v.volumes.at[0].reads == 0,
	   "what was not there before has no rate yet");
	top_view_free(&v);
	top_sample_free(&none);
	top_sample_free(&then);
	top_sample_free(&now);
	json_decref(odd);
}

int main(void)
{
	struct top_sample then = sample(10, 1), now = sample(12, 2);
	struct top_view v;

	ok(top_view_make(&v, &then, &now) == 0, "two answers make a view");
	test_rates(&v);
	test_print(&v);
	test_times();
	test_odd();
	top_view_free(&v);
	top_sample_free(&then);
	top_sample_free(&now);
	return done_testing();
}
