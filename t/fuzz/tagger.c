/*
 * Fuzzes what tagger itself parses: records of the index (first byte even), searches, and the
 * attribute with a user's tags.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/derive.h"
#include "tagger/query-impl.h"
#include "tagger/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void hand(void *arg, enum derive_hand what, const char *tag)
{
	assert(derive_tag_valid(tag));
}

static void search(const uint8_t *data, size_t len)
{
	struct query_parsed *q = malloc(sizeof(*q));
	char *text = malloc(len + 1);
	const char *why;

	memcpy(text, data, len);
	text[len] = '\0';
	if (query_parse(text, q, &why) != 0)
		assert(why != NULL);
	free(text);
	free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t out[RECORD_BYTES_MAX];
	struct record *r;

	if (len == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		r = malloc(sizeof(*r));
		if (record_unpack(data + 1, len - 1, r) == 0)
			assert(record_pack(r, out) > 0);
		free(r);
		break;
	case 1:
		search(data + 1, len - 1);
		break;
	default:
		derive_hand_each((const char *)data + 1, len - 1, hand, NULL);
	}
	return 0;
}
