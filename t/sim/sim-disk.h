/* A disk of a simulated server: see disk.c. */
#ifndef WEFT_SIM_DISK_H
#define WEFT_SIM_DISK_H

#include "sim.h"
#include "store/store.h"

struct sim_disk;

/* fd, image: what a new disk holds. */
struct sim_disk *sim_disk_new(struct proc *p, int fd, const uint8_t *image,
			      const struct store_info *info);
/* A new disk again. now: one with a page cache that can be asked, like a tmpfs; else O_DIRECT. */
void sim_disk_reset(struct sim_disk *sd, const struct store_info *info, uint64_t seed, bool now);
/* For the present life of its process. */
struct disk *sim_disk_open(struct sim_disk *sd);
void *sim_disk_map(struct sim_disk *sd);
/* Its process died, by a power cut or without one. */
void sim_disk_died(struct sim_disk *sd, bool power);
void sim_disk_slow(struct sim_disk *sd, bool slow);
/* It refuses that, SIM_REFUSE_*, when whose() agrees. */
void sim_disk_refuse(struct sim_disk *sd, unsigned what, bool (*agrees)(struct proc *p));
/* So many of a thousand writes of data are lost, or go elsewhere. */
void sim_disk_lie(struct sim_disk *sd, unsigned per_mille);
/* What is on it for good changes, in the log, the map or a superblock. What did; NULL: nothing. */
const char *sim_disk_spoil(struct sim_disk *sd, bool running);
/* spoil.c does it. */
struct fake_disk;
const char *disk_spoil(struct proc *p, struct fake_disk *d, const struct store_info *info,
		       bool running);
/* A byte of data rots. False: there is none. */
bool sim_disk_rot(struct sim_disk *sd);

#endif
