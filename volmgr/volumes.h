/* What volumes.c (the list, start and stop) and volumes-change.c (create, resize, delete) share. */
#ifndef WEFT_VOLUMES_H
#define WEFT_VOLUMES_H

#include "volmgr.h"

void vol_set_state(struct vol *v, enum vol_state state);
/* Read the extent map and make the engine, on the data thread with the fewest volumes. */
void volume_open(struct vol *v);
/* A volume in VOL_DELETING has started: go on where the deletion was. */
void volume_delete_go_on(struct vol *v);

#endif
