/*
 * The event loop of a daemon's control thread: messages from other threads, timers, signals,
 * descriptors. libevent runs it, together with HTTP; it never touches a byte of a volume.
 */
#ifndef WEFT_CONTROL_H
#define WEFT_CONTROL_H

#include <stdint.h>

struct control;
struct event_base;

int control_create(struct control **out);
void control_destroy(struct control *c);
/* Runs until control_stop(). */
void control_run(struct control *c);
void control_stop(struct control *c);
/* For lib/http.h. */
struct event_base *control_base(struct control *c);

/* Run fn(m) on the control thread, soon, in the order of posting. Any thread. */
struct control_message {
	void (*fn)(struct control_message *m);
	struct control_message *next;
};
void control_post(struct control *c, struct control_message *m);
/* Run what was posted, now. The control thread, outside the loop: at the end. */
void control_drain(struct control *c);

/* fn(arg) on each of these signals. */
int control_signal(struct control *c, int signo, void (*fn)(void *arg, int signo), void *arg);

/* Once after ms, or every ms when repeat. NULL: out of memory. */
struct control_timer;
struct control_timer *control_timer_start(struct control *c, unsigned ms, int repeat,
					  void (*fn)(void *arg), void *arg);
/* NULL is fine. Also from inside fn. */
void control_timer_free(struct control_timer *t);

/* fn(arg) whenever fd can be read (or written, when write), until the watch is freed. fd stays the
 * caller's. NULL: out of memory. */
struct control_watch;
struct control_watch *control_watch_start(struct control *c, int fd, int write,
					  void (*fn)(void *arg), void *arg);
/* NULL is fine. Also from inside fn. */
void control_watch_free(struct control_watch *w);

#endif
