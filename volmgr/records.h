/*
 * What the metadata's values look like: records to bytes and back. Pure. weft-format(5) describes
 * them.
 */
#ifndef WEFT_RECORDS_H
#define WEFT_RECORDS_H

#include "volmgr.h"

#define RECORD_KEY_MAX 128

/* Keys; buf of RECORD_KEY_MAX. Return buf. */
char *key_server(char *buf, uint32_t number);
char *key_volume(char *buf, const char *name);
char *key_extent(char *buf, uint64_t volume, uint64_t extent);
char *key_extents(char *buf, uint64_t volume); /* the prefix */
char *key_scrub(char *buf, uint64_t volume);
char *key_deleted(char *buf, uint64_t volume);
char *key_starts(char *buf, uint64_t volume);

/* JSON text, malloc'd. */
char *record_server(const struct server *s);
/* 0, or -EUCLEAN. */
int record_server_parse(const void *value, size_t len, struct server *s);

char *record_volume(const struct vol *v, uint64_t size, uint32_t epoch, bool deleting);
int record_volume_parse(const void *value, size_t len, struct vol *v, bool *deleting);

/* All that was found since it began, also before a restart. */
struct volume_scrub scrub_total(const struct vol_scrub *s);
char *record_scrub(const struct vol_scrub *s);
int record_scrub_parse(const void *value, size_t len, struct vol_scrub *s);

/* What stays of a deleted volume: servers that are away may have slots of it. */
char *record_deleted(const struct vol *v);
int record_deleted_parse(const char *key, const void *value, size_t len, uint64_t *volume,
			 uint32_t *epoch);

/* An extent's map entry, packed. */
#define RECORD_EXTENT_MAX (16 + 12 * WEFT_SHARDS_MAX)
size_t record_extent(const struct extent_record *r, unsigned shards, uint8_t *buf);
/* shards: how many it must have. 0, or -EUCLEAN. */
int record_extent_parse(const char *key, const void *value, size_t len, unsigned shards,
			struct extent_record *r);

/* What a volume's starts found, packed. */
#define RECORD_STARTS_MAX (8 + 16 * VOLUME_STARTS_MAX + 12 * PEER_MAX)
size_t record_starts(const struct volume_starts *r, uint8_t *buf);
/* 0, or -EUCLEAN. */
int record_starts_parse(const void *value, size_t len, struct volume_starts *r);

#endif
