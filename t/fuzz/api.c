/* Fuzz target: bodies and names of API requests. Whatever comes, the answer is a volume, a server,
 * a size that keeps all limits, or a refusal with a sentence. */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "volmgr/api.h"
#include "volmgr/recover.h"
#include "volmgr/records.h"
#include "volmgr/tidy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_refusal(const struct refusal *r)
{
	assert(r->status >= 400 && r->status < 600 && r->code[0] != '\0' && r->message[0] != '\0');
}

static void fuzz_bodies(const uint8_t *data, size_t len)
{
	struct volume_spec spec;
	struct api_server server;
	struct volume_change change;
	struct api_scrub scrub;
	struct recover rec = {0};
	struct refusal r;

	if (api_parse_volume(data, len, &spec, &r) == 0)
		assert(volume_spec_check(&spec, &r) == 0 && name_valid(spec.name));
	else
		check_refusal(&r);
	if (api_parse_server(data, len, &server, &r) == 0)
		assert(server.address[0] != '\0');
	else
		check_refusal(&r);
	if (api_parse_change(data, len, &change, &r) != 0)
		check_refusal(&r);
	if (api_parse_scrub(data, len, &scrub, &r) != 0)
		check_refusal(&r);
	if (api_parse_recover(data, len, &rec, &r) == 0)
		assert(rec.naddresses <= SERVERS_MAX);
	else
		check_refusal(&r);
	free(rec.addresses);
}

/* What the metadata's disk may have made of a record. */
static void fuzz_records(const uint8_t *data, size_t len)
{
	struct extent_record extent;
	struct vol_scrub scrub;
	struct server server;
	struct volume_starts starts;
	struct vol vol;
	bool deleting;

	memset(&vol, 0, sizeof(vol));
	if (record_volume_parse(data, len, &vol, &deleting) == 0)
		assert(vol.k >= 1 && vol.k + vol.m <= WEFT_SHARDS_MAX && name_valid(vol.name));
	memset(&server, 0, sizeof(server));
	if (record_server_parse(data, len, &server) == 0)
		assert(name_valid(server.name) && server.number >= 1);
	memset(&scrub, 0, sizeof(scrub));
	if (record_scrub_parse(data, len, &scrub) == 0)
		assert(scrub.state <= SCRUB_DONE);
	if (record_starts_parse(data, len, &starts) == 0)
		assert(starts.n <= VOLUME_STARTS_MAX && starts.nservers <= PEER_MAX);
	if (len > 0)
		(void)record_extent_parse("1/extent/0000000000000001/0000000000000001", data, len,
					  1 + data[0] % WEFT_SHARDS_MAX, &extent);
}

static void fuzz_texts(const uint8_t *data, size_t len)
{
	char text[256];
	uint8_t uuid[WEFT_UUID_BYTES];
	struct volume_settings settings;
	struct refusal r;
	uint64_t n;

	if (len >= sizeof(text))
		return;
	memcpy(text, data, len);
	text[len] = '\0';
	if (name_valid(text))
		assert(strlen(text) <= NAME_MAX_BYTES && strpbrk(text, "/ \n") == NULL);
	if (api_parse_number(text, 0, &n, &r) != 0)
		check_refusal(&r);
	if (note_settings_parse(text, &n, &settings) == 0)
		assert(n > 0 && n <= VOLUME_SIZE_MAX && settings.min <= WEFT_SHARDS_MAX);
	(void)uuid_parse(text, uuid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_bodies(data, len);
	fuzz_records(data, len);
	fuzz_texts(data, len);
	return 0;
}
