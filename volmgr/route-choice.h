/*
 * Past volmgr or through it? For reads of servers on other machines neither always wins: it depends
 * on how large they are, how many are under way, and on the machine. So one is in force, and every
 * two seconds both are tried for a moment, one right after the other; which of them brought more
 * bytes is in force then. Kept for each volume and size of reads. Pure.
 */
#ifndef WEFT_VOLMGR_ROUTE_CHOICE_H
#define WEFT_VOLMGR_ROUTE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_CHOICES	  3u /* up to 64 KiB, up to 256 KiB, larger */

#define CHOICE_HOLD_NS	  2000000000u
#define CHOICE_TRY_NS	  40000000u
#define CHOICE_READS_MIN  8u   /* fewer in a trial tell nothing */
#define CHOICE_ENOUGH	  950u /* of 1,000: past volmgr it is, as this takes less of its time */
#define CHOICE_RATIO_MAX  4000u
#define CHOICE_RATIO_PART 4u /* of a new ratio in the kept one */

struct route_choice {
	enum { CHOICE_HOLD, CHOICE_TRY_SAME, CHOICE_TRY_OTHER } phase;
	bool through;	   /* volmgr: what is in force */
	uint64_t begun_ns; /* the phase; 0: no read yet */
	uint64_t bytes;	   /* that came in it */
	uint32_t reads;
	uint64_t same;	/* bytes a second when the same was tried; 0: not known */
	uint32_t ratio; /* past it to through it, of 1,000; 0: not known */
};

static inline unsigned route_choice_of(uint32_t len)
{
	return len <= 64u << 10 ? 0 : len <= 256u << 10 ? 1 : 2;
}

/* A read of this kind was answered. */
void route_choice_done(struct route_choice *c, uint32_t len);
/* Another begins: is it to go past volmgr? */
bool route_choice_past(struct route_choice *c, uint64_t now_ns);

#endif
