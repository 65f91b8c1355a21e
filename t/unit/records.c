/* Values of the metadata come back as they were, and damaged ones are refused. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "volmgr/records.h"
#include "tap.h"

static void test_server(void)
{
	struct server s = {.number = 7, .name = "a-1", .host = "h.1", .address = "unix:/x \"y\""},
		      back;
	char *text, key[RECORD_KEY_MAX];

	memset(s.store, 0xa5, sizeof(s.store));
	text = record_server(&s);
	memset(&back, 0, sizeof(back));
	is_int(record_server_parse(text, strlen(text), &back), 0, "a server's record is read");
	ok(back.number == 7 && strcmp(back.name, "a-1") == 0 && strcmp(back.host, "h.1") == 0 &&
		   strcmp(back.address, s.address) == 0 && memcmp(back.store, s.store, 16) == 0,
	   "and says what was written");
	is_int(record_server_parse(text, strlen(text) - 1, &back), -EUCLEAN,
	       "half a record is refused");
	is_int(record_server_parse("{\"number\":0}", 12, &back), -EUCLEAN, "an incomplete one too");
	free(text);
	is_str(key_server(key, 10), "1/server/000000000000000a", "server keys sort by number");
}

static void test_volume(void)
{
	struct vol v = {
		.id = 3, .name = "vol", .k = 4, .m = 2, .unit = 65536, .code = EC_ISAL_CAUCHY};
	struct vol back = {0};
	bool deleting = false;
	char *text = record_volume(&v, 1 << 30, 9, true);

	is_int(record_volume_parse(text, strlen(text), &back, &deleting), 0,
	       "a volume's record is read");
	ok(back.id == 3 && strcmp(back.name, "vol") == 0 && back.size == 1 << 30 && back.k == 4 &&
		   back.m == 2 && back.unit == 65536 && back.code == EC_ISAL_CAUCHY &&
		   back.epoch == 9 && deleting,
	   "and says what was written");
	free(text);
	text = record_volume(&v, 1000, 9, false);
	is_int(record_volume_parse(text, strlen(text), &back, &deleting), -EUCLEAN,
	       "a size that no volume can have is refused");
	free(text);
	v.k = 17;
	text = record_volume(&v, 4096, 9, false);
	is_int(record_volume_parse(text, strlen(text), &back, &deleting), -EUCLEAN,
	       "a profile that no volume can have is refused");
	free(text);
}

static void test_extent(void)
{
	struct extent_record r = {.extent = 0x1234, .generation = 5, .stale = 0x21, .mark = 9},
			     back;
	uint8_t buf[RECORD_EXTENT_MAX];
	char key[RECORD_KEY_MAX];
	size_t len;

	for (unsigned i = 0; i < 6; i++)
		r.shard[i] = (struct shard_place){i + 1, i * 1000, 0xfffffff0 + i};
	len = record_extent(&r, 6, buf);
	key_extent(key, 3, r.extent);
	is_str(key, "1/extent/0000000000000003/0000000000001234", "extent keys sort by number");
	is_int(len, 16 + 6 * 12, "an extent of 6 shards takes 88 bytes");
	is_int(record_extent_parse(key, buf, len, 6, &back), 0, "it is read");
	ok(back.extent == r.extent && back.generation == 5 && back.stale == 0x21 &&
		   back.mark == 9 && memcmp(back.shard, r.shard, sizeof(r.shard)) == 0,
	   "and says what was written");
	is_int(record_extent_parse(key, buf, len - 1, 6, &back), -EUCLEAN,
	       "a short one is refused");
	is_int(record_extent_parse(key, buf, len, 5, &back), -EUCLEAN,
	       "one of other shards is refused");
	is_int(record_extent_parse("1/extent/3/zz", buf, len, 6, &back), -EUCLEAN,
	       "a key without a number is refused");
	buf[0] = 2;
	is_int(record_extent_parse(key, buf, len, 6, &back), -EUCLEAN,
	       "a newer version is refused");
}

static void test_starts(void)
{
	struct volume_starts r = {.n = 2, .nservers = 3}, back;
	uint8_t buf[RECORD_STARTS_MAX];
	char key[RECORD_KEY_MAX];
	size_t len;

	r.start[0] = (struct volume_start){0, 1ULL << 40};
	r.start[1] = (struct volume_start){(1ULL << 40) + 77, 2ULL << 40};
	for (unsigned i = 0; i < 3; i++)
		r.server[i] = (struct volume_start_server){i + 1, (uint64_t)i << 40};
	len = record_starts(&r, buf);
	is_str(key_starts(key, 3), "1/starts/0000000000000003", "starts are kept by volume");
	is_int(len, 8 + 2 * 16 + 3 * 12, "two starts and three servers take 76 bytes");
	is_int(record_starts_parse(buf, len, &back), 0, "they are read");
	ok(back.n == 2 && back.nservers == 3 &&
		   memcmp(back.start, r.start, 2 * sizeof(r.start[0])) == 0 &&
		   back.server[2].number == 3 && back.server[2].judged_to == 2ULL << 40,
	   "and say what was written");
	for (size_t less = 0; less < len; less++)
		is_int(record_starts_parse(buf, less, &back), -EUCLEAN, "less is refused");
	r.start[0].next = 3ULL << 40;
	is_int(record_starts_parse(buf, record_starts(&r, buf), &back), -EUCLEAN,
	       "starts that are not in order are refused");
	buf[0] = 2;
	is_int(record_starts_parse(buf, len, &back), -EUCLEAN, "a newer version is refused");
}

static void test_scrub(void)
{
	struct vol_scrub s = {.state = SCRUB_WANTED, .started_s = 5, .since_s = 7}, back = {0};
	struct volume_scrub total;
	char *text;

	s.before.bad_blocks = 3;
	s.now.bad_blocks = 4;
	s.now.extents = 10;
	s.now.position = 99;
	text = record_scrub(&s);
	is_int(record_scrub_parse(text, strlen(text), &back), 0, "what a scrub found is read");
	total = scrub_total(&back);
	ok(back.state == SCRUB_WANTED && back.started_s == 5 && back.since_s == 7 &&
		   total.bad_blocks == 7 && total.extents == 10,
	   "and says what was written, of both runs");
	is_int(total.position, 99, "and where it was");
	is_int(record_scrub_parse("{}", 2, &back), -EUCLEAN, "an empty record is refused");
	is_int(record_scrub_parse(text, strlen(text) - 1, &back), -EUCLEAN,
	       "half a one is refused");
	free(text);
}

static void test_version(void)
{
	static const char *const none[] = {"",
					   "nbdsrv",
					   "nbdsrv ",
					   "bytes in memory",
					   "nbdsrv 1 2",
					   "nbdsrv <b>",
					   "nbdsrv 1.0\n",
					   "nbdsrv 12345678901234567890123456789012"};
	char version[VERSION_MAX];

	version_read(version, "nbdsrv 1.2.3-rc4+5~6");
	is_str(version, "1.2.3-rc4+5~6", "a server's version is read");
	version_read(version, "nbdsrv 1234567890123456789012345678901");
	is_str(version, "1234567890123456789012345678901", "up to its length");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		version_read(version, none[i]);
		is_str(version, "", "what is no version is none");
	}
}

int main(void)
{
	test_version();
	test_scrub();
	test_server();
	test_volume();
	test_extent();
	test_starts();
	return done_testing();
}
