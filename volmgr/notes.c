/*
 * The text of a volume's note on the servers: "size=BYTES", and what of its settings is not the
 * default: "min=N", "below=fail", "full=wait". It has to fit a label's name.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tidy.h"
#include "banned.h"

void note_settings(const struct vol *v, char text[NOTE_TEXT_MAX])
{
	char min[16] = "";
	int n;

	if (v->settings.min != 0)
		snprintf(min, sizeof(min), " min=%u", v->settings.min);
	n = snprintf(text, NOTE_TEXT_MAX, "size=%" PRIu64 "%s%s%s", v->size, min,
		     v->settings.below_min_fail ? " below=fail" : "",
		     v->settings.when_full_wait ? " full=wait" : "");
	assert(n > 0 && n < NOTE_TEXT_MAX);
}

static int word_number(const char *word, size_t len, const char *name, uint64_t *out)
{
	size_t n = strlen(name);
	char digits[24], *end;

	if (len <= n || len - n >= sizeof(digits) || memcmp(word, name, n) != 0)
		return -EINVAL;
	memcpy(digits, word + n, len - n);
	digits[len - n] = '\0';
	errno = 0;
	*out = strtoull(digits, &end, 10);
	return errno == 0 && *end == '\0' && digits[0] >= '0' && digits[0] <= '9' ? 0 : -EINVAL;
}

int note_settings_parse(const char *text, uint64_t *size, struct volume_settings *s)
{
	uint64_t min;

	*s = (struct volume_settings){0};
	*size = 0;
	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (word_number(text, len, "min=", &min) == 0 && min <= WEFT_SHARDS_MAX)
			s->min = (unsigned)min;
		else if (len == 10 && memcmp(text, "below=fail", len) == 0)
			s->below_min_fail = true;
		else if (len == 9 && memcmp(text, "full=wait", len) == 0)
			s->when_full_wait = true;
		else if (word_number(text, len, "size=", size) != 0)
			return -EINVAL;
		text += len;
		text += strspn(text, " ");
	}
	return *size > 0 && *size % WEFT_BLOCK_BYTES == 0 && *size <= VOLUME_SIZE_MAX ? 0 : -EINVAL;
}
