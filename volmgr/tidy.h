/* Notes on the servers, and slots that are in no use; see tidy.c. On the control thread. */
#ifndef WEFT_TIDY_H
#define WEFT_TIDY_H

#include "volmgr.h"

void tidy_start(struct cluster *c);
void tidy_end(void);
/* Something changed: look at all servers again, soon. */
void tidy_all(struct cluster *c);
/* This volume was deleted; the metadata says so, too. */
void tidy_add_deleted(uint64_t volume, uint32_t epoch);
bool tidy_was_deleted(uint64_t volume);
/* Is it one of the servers that keep the notes? */
bool tidy_keeps_notes(const struct cluster *c, uint32_t server);
/* May it be freed? */
bool tidy_uses(const struct vol *v);

/* notes.c: pure */
#define NOTE_TEXT_MAX 64
void note_settings(const struct vol *v, char text[NOTE_TEXT_MAX]);
/* 0, or -EINVAL: it says something that we do not know. */
int note_settings_parse(const char *text, uint64_t *size, struct volume_settings *s);

#endif
