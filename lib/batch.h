/*
 * A thread for which the scheduler interrupts nobody: SCHED_BATCH, as long as that costs it little.
 *
 * A server that is woken for each request of a busy gateway on the same machine interrupts it each
 * time, and finds one request. Woken as a batch thread it runs when the gateway has given out all
 * that it has. Where others compute without end, a batch thread waits for its turn much longer than
 * an ordinary one; so how long this thread waited is looked at now and then, and while that is too
 * long it is an ordinary one. See sched(7).
 *
 * A struct batch belongs to one thread, that which called batch_start().
 */
#ifndef WEFT_BATCH_H
#define WEFT_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define BATCH_LOOK_NS	   50000000u   /* from one look to the next, at least */
#define BATCH_WAIT_MAX_NS  1000000u    /* before a turn on the processor, in the mean */
#define BATCH_TURNS_MIN	   8u	       /* a mean of fewer says nothing */
#define BATCH_PAUSE_NS	   1000000000u /* ordinary for so long, at first; then twice as long */
#define BATCH_PAUSE_MAX_NS 4000000000u /* and so on up to this */

struct batch {
	int fd;	 /* of the kernel's account of this thread; -1: there is none */
	bool on; /* it is a batch thread now */
	uint64_t look_ns, until_ns, pause_ns;
	uint64_t waited_ns, turns; /* as of the last look */
};

/* Stays an ordinary thread where the kernel refuses, or keeps no account. */
void batch_start(struct batch *b);
void batch_end(struct batch *b);
/* Now and then, before the thread sleeps. Costs nothing but once in BATCH_LOOK_NS. */
void batch_look(struct batch *b, uint64_t now_ns);

/* The decision, without the system: what batch_look() makes of the thread's account, the time it
 * waited and the turns it had since it began. True: be a batch thread. */
bool batch_judge(struct batch *b, uint64_t now_ns, uint64_t waited_ns, uint64_t turns);

#endif
