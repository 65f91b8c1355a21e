/*
 * What volctl top shows: two answers of /counters, what lies between them, and how that is said.
 * Pure: it neither asks nor waits, and knows of a terminal only its size.
 */
#ifndef WEFT_TOP_H
#define WEFT_TOP_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "iostat.h"

#define TOP_ROWS_MAX   2048 /* of volumes, and of servers */
#define TOP_NAME_BYTES 64

/* One volume or server, since volmgr started. */
struct top_counts {
	char name[TOP_NAME_BYTES], state[16], route[16];
	struct watch_counts reads, writes, routed;
};

struct top_list {
	struct top_counts *at;
	unsigned n;
};

struct top_sample {
	double seconds; /* volmgr's clock */
	struct top_list volumes, servers;
};

/* From an answer; what is missing is nothing. 0, or -ENOMEM. Freed by top_sample_free(). */
int top_sample_read(struct top_sample *s, const json_t *answer);
void top_sample_free(struct top_sample *s);

/* One line. Latencies of reads are of those through volmgr and routed ones together. */
struct top_row {
	char name[TOP_NAME_BYTES], state[16], route[16]; /* of servers */
	double reads, read_bytes, writes, write_bytes;	 /* a second */
	uint64_t read_ns[3], write_ns[3]; /* 50, 99 and 99.9 of 100; 0: there were none */
	double routed;			  /* part of the reads, 0 to 1; -1: there were none */
};

struct top_rows {
	struct top_row *at; /* busiest first */
	unsigned n;
};

struct top_view {
	struct top_row all;
	struct top_rows volumes, servers;
};

/* 0, or -ENOMEM. Freed by top_view_free(). */
int top_view_make(struct top_view *v, const struct top_sample *then, const struct top_sample *now);
void top_view_free(struct top_view *v);

/* For people: at most so many lines of so many columns; 0: as many as there are. */
void top_view_print(const struct top_view *v, FILE *out, unsigned columns, unsigned lines);
/* For scripts. */
json_t *top_view_json(const struct top_view *v);

/* "85us", "1.2ms", "3.4s"; "-" for 0. */
#define TOP_TIME_MAX 16
char *top_time(uint64_t ns, char buf[TOP_TIME_MAX]);

#endif
