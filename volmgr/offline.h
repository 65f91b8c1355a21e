/* What volmgr does instead of serving; see offline.c. */
#ifndef WEFT_OFFLINE_H
#define WEFT_OFFLINE_H

#include "volmgr.h"

/* Metadata, data threads and servers are there, nothing else. Returns the exit status. */
int offline_check(struct cluster *c);

#endif
