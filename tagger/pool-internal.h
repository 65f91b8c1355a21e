/*
 * What pool.c (requests) and pool-worker.c (processes) share.
 */
#ifndef WEFT_TAGGER_POOL_INTERNAL_H
#define WEFT_TAGGER_POOL_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"
#include "tagger/pool.h"
#include "tagger/work.h"

#define POOL_DEPTH_MAX 8u /* requests that one worker holds */

/* One request, from pool_extract() to its done(). */
struct job {
	struct job *next;
	int fd;
	struct work_request request;
	bool routed; /* it was with the first class */
	void (*done_extract)(void *arg, int err, struct extract *e);
	void (*done_picture)(void *arg, int err, const char *type, const void *data, size_t len);
	void *arg;
	int err; /* while on the list of those that ended without a worker */
};

struct job_list {
	struct job *head, **tail;
	unsigned int n;
};

enum worker_end { END_NONE, END_TIME, END_LIED, END_RETIRED };

/* One process. */
struct pool_worker {
	struct pool *pool;
	enum work_class class;
	pid_t pid;
	int fd, pidfd;
	struct control_watch *watch, *death;
	struct job *jobs[POOL_DEPTH_MAX]; /* in the order in which they were sent */
	unsigned int n_jobs;
	bool ready;	     /* its sandbox is shut */
	bool grown;	     /* gets no more requests, and is replaced when it has answered all */
	enum worker_end end; /* why we ended it; gets no more requests */
	uint64_t since_ms;   /* when it began with jobs[0], or when it became idle */
	uint64_t answers;
	uint8_t *answer; /* of jobs[0], as far as it came */
	size_t answer_len, answer_cap;
};

struct pool {
	struct control *control;
	char *dir;
	struct pool_config config;
	unsigned int n_max[WORK_CLASSES];
	struct pool_worker *workers[POOL_WORKERS_MAX];
	unsigned int n_workers;
	struct job_list waiting[WORK_CLASSES];
	struct job_list ended;			  /* their done() is called from the loop */
	unsigned int starts_failed[WORK_CLASSES]; /* in a row */
	uint64_t retry_ms[WORK_CLASSES];	  /* after too many of these; 0: not yet */
	unsigned int busy;
	uint32_t next_id;
	struct control_timer *tick, *soon;
	struct pool_stats stats;
	uint8_t packet[sizeof(struct work_answer) + WORK_PAYLOAD_MAX];
};

/* pool.c */
uint64_t pool_now_ms(void);
/* A worker's answer to jobs[0], whole. False: it is none; the worker lies. */
bool pool_answer(struct pool_worker *w, enum work_kind kind);
/* jobs[0] cost a worker. */
void pool_fail(struct pool *p, struct job *job, const char *why);
/* A worker is gone, its jobs are back. */
/* One that has not become ready. */
void pool_start_failed(struct pool *p, enum work_class class);
void pool_give_back(struct pool *p, struct job *job, enum work_class class);
void pool_dispatch(struct pool *p);

/* pool-worker.c */
struct pool_worker *pool_worker_start(struct pool *p, enum work_class class, int *err);
/* 0, or -EAGAIN when it takes no more. */
int pool_worker_send(struct pool_worker *w, struct job *job);
void pool_worker_kill(struct pool_worker *w, enum worker_end end);
/* Ends it by closing its socket: it has nothing to do. */
void pool_worker_retire(struct pool_worker *w);
/* It, its process and its memory are gone when this returns; its jobs are the caller's. */
void pool_worker_destroy(struct pool_worker *w);
uint64_t pool_worker_resident(const struct pool_worker *w); /* bytes; 0: not known */

#endif
