/*
 * tagger's pure parts: records over any bytes, the text pool, near hashes, ranks, the language of
 * searches, tags by hand.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tagger/derive.h"
#include "tagger/near.h"
#include "tagger/query-impl.h"
#include "tagger/record.h"
#include "tagger/textpool.h"
#include "tap.h"

#define ROUNDS 20000

static uint64_t seed;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static struct record_text text_of(const char *text)
{
	return (struct record_text){text, strlen(text)};
}

static void fill(struct record *r)
{
	*r = (struct record){.kind = EXTRACT_KIND_IMAGE,
			     .state = RECORD_DONE,
			     .flags = RECORD_SIMHASH | RECORD_PHASH,
			     .parent = 77,
			     .size = 1ull << 40,
			     .mtime_ns = -5,
			     .simhash = 0x123456789abcdefull,
			     .phash = ~0ull,
			     .handle_type = -3,
			     .handle = text_of("handle"),
			     .name = text_of("name\n\xff"),
			     .mime = text_of("image/png"),
			     .excerpt = text_of(""),
			     .why = text_of("because"),
			     .hand = text_of("+beach\n")};
	r->ntags = 2;
	r->tags[0] = (struct record_tag){UINT32_MAX, 255, EXTRACT_SOURCE_HAND};
	r->tags[1] = (struct record_tag){1, 0, EXTRACT_SOURCE_KIND};
	r->nfacts = 2;
	r->facts[0] = (struct record_fact){EXTRACT_FACT_CAMERA, text_of("Box"), 0};
	r->facts[1] = (struct record_fact){.key = EXTRACT_FACT_LATITUDE, .number = -33.5};
	r->nlinks = 1;
	r->links[0] = text_of("../a b.html");
}

static void test_record(void)
{
	static uint8_t bytes[RECORD_BYTES_MAX], again[RECORD_BYTES_MAX], broken[RECORD_BYTES_MAX];
	struct record *r = calloc(1, sizeof(*r)), *back = calloc(1, sizeof(*back));
	size_t len, good = 0;

	fill(r);
	len = record_pack(r, bytes);
	is_int(record_unpack(bytes, len, back), 0, "a record is read back");
	ok(record_pack(back, again) == len && memcmp(bytes, again, len) == 0, "and is the same");
	ok(back->facts[1].number == -33.5 && back->mtime_ns == -5 && back->handle_type == -3,
	   "with its numbers");
	for (size_t cut = 0; cut < len; cut++)
		good += record_unpack(bytes, cut, back) == 0;
	is_int(good, 0, "one that is cut anywhere is none");
	for (int i = 0; i < ROUNDS; i++) {
		memcpy(broken, bytes, len);
		for (uint32_t n = rnd() % 8 + 1; n > 0; n--)
			broken[rnd() % len] = (uint8_t)rnd();
		/* what is taken for a record can be written again */
		if (record_unpack(broken, len, back) == 0)
			good += record_pack(back, again) <= RECORD_BYTES_MAX;
	}
	ok(good > 0, "damaged ones are refused, or are records");
	free(r);
	free(back);
}

static bool count_match(void *arg, uint32_t id, uint32_t at)
{
	uint64_t *sum = arg;

	*sum += 1000 + id;
	return true;
}

static uint64_t searched(const struct textpool *p, const char *needle, bool prefix)
{
	uint64_t sum = 0;

	(prefix ? textpool_search_prefix : textpool_search)(p, needle, strlen(needle), count_match,
							    &sum);
	return sum;
}

static void test_textpool(void)
{
	struct textpool p = {0};
	char low[8];
	uint32_t at;

	is_int(searched(&p, "x", false), 0, "an empty pool has nothing");
	textpool_add(&p, 1, "banana", 6);
	at = textpool_add(&p, 2, "anagram", 7);
	textpool_add(&p, 3, "", 0);
	textpool_add(&p, 4, "ban", 3);
	is_int(searched(&p, "ana", false), 2003, "each text is found once");
	is_int(searched(&p, "ban", true), 2005, "by its beginning");
	is_int(searched(&p, "ana", true), 1002, "and only by that");
	is_int(searched(&p, "nab", false), 0, "not over the end of one");
	textpool_drop(&p, at);
	is_int(searched(&p, "ana", false), 1001, "a dropped one is not found");
	textpool_fold("A\xc4Z9", 4, low);
	ok(memcmp(low, "a\xc4z9", 4) == 0, "letters of ASCII are folded");
	textpool_free(&p);
}

static void near_found(void *arg, uint32_t id, unsigned distance)
{
	unsigned *found = arg;

	found[id]++;
}

static void test_near(void)
{
	enum { N = 400 };
	static uint64_t hash[N];
	struct near *n = near_new(8);
	unsigned missed = 0, wrong = 0;

	for (uint32_t i = 0; i < N; i++) {
		hash[i] = i % 4 == 0
				  ? (uint64_t)rnd() << 32 | rnd()
				  : hash[i - i % 4] ^ 1ull << (rnd() % 64) ^ 1ull << (rnd() % 64);
		near_add(n, hash[i], i);
	}
	for (uint32_t i = 0; i < N; i += 3)
		near_remove(n, hash[i], i);
	for (uint32_t i = 0; i < N; i++) {
		unsigned found[N] = {0};

		near_find(n, hash[i], 7, UINT32_MAX, near_found, found);
		for (uint32_t k = 0; k < N; k++) {
			unsigned want = k % 3 != 0 && __builtin_popcountll(hash[i] ^ hash[k]) <= 7;

			missed += found[k] < want;
			wrong += found[k] > want;
		}
	}
	is_int(missed, 0, "with 8 bands all within 7 bits are found");
	is_int(wrong, 0, "once, and no others");
	near_free(n);
}

static bool higher(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	return a->score != b->score ? a->score > b->score : a->file < b->file;
}

static void test_rank(void)
{
	struct query_rank r;
	struct query_hit *best;
	bool good = true;

	query_rank_init(&r, 100, higher, NULL);
	for (uint32_t i = 0; i < 1000; i++)
		query_rank_add(&r, (struct query_hit){i, (float)(i * 37 % 1000)});
	best = query_rank_end(&r);
	for (uint32_t i = 0; i < 100; i++)
		good &= best[i].score == (float)(999 - i);
	ok(good && r.n == 100, "the best of many, best first");
	free(best);
}

static int parsed(const char *text)
{
	struct query_parsed *q = malloc(sizeof(*q));
	const char *why = NULL;
	int err = query_parse(text, q, &why);

	if (err != 0 && why == NULL)
		err = 1;
	free(q);
	return err;
}

static void test_query(void)
{
	static const char *const good[] = {"",
					   "a",
					   "a b",
					   "a AND b",
					   "a OR b",
					   "a|b",
					   "-a",
					   "NOT a",
					   "(a)",
					   "((a b) | -c)",
					   "\"a b\"",
					   "tag:\"a b\"",
					   "size:>10M",
					   "size:1K..2M",
					   "size:0",
					   "date:2024",
					   "date:2024-02..",
					   "date:<=2024-12-31",
					   "in:",
					   "in:a/b",
					   "is:failed",
					   "kind:image",
					   "ORANGE",
					   "\"unclosed"};
	static const char *const bad[] = {
		"(",	  ")",	    "a |",    "| a",	      "-",
		"(a",	  "a)",	    "tag:",   "kind:x",	      "is:x",
		"size:x", "size:>", "date:x", "date:2024-13", "date:2024-1-1-1"};
	char many[QUERY_TEXT_MAX + 2];
	bool all = true;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (parsed(good[i]) != 0) {
			diag("refused: %s", good[i]);
			all = false;
		}
	ok(all, "searches that are right are understood");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parsed(bad[i]) != -EINVAL) {
			diag("taken: %s", bad[i]);
			all = false;
		}
	ok(all, "others are refused with a reason");
	memset(many, '(', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	is_int(parsed(many), -EINVAL, "not too long");
	many[QUERY_TEXT_MAX] = '\0';
	is_int(parsed(many), -EINVAL, "not nested too deeply");
	for (size_t i = 0; i < QUERY_TEXT_MAX; i++)
		many[i] = i % 2 ? ' ' : 'a';
	is_int(parsed(many), -EINVAL, "not with too many parts");
	for (int i = 0; i < ROUNDS; i++) {
		static const char letters[] = "ab \"()|-:.<>=OR NOTtag:size:date:in:1M2024\xc3\xa4";
		size_t n = rnd() % 60;

		for (size_t k = 0; k < n; k++)
			many[k] = letters[rnd() % (sizeof(letters) - 1)];
		many[n] = '\0';
		if (parsed(many) > 0)
			all = false;
	}
	ok(all, "random ones are understood or refused");
}

static void hand_count(void *arg, enum derive_hand what, const char *tag)
{
	char *out = arg;
	size_t len = strlen(out);

	snprintf(out + len, 256 - len, "%c%s,", (int)what, tag);
}

static void test_hand(void)
{
	char hand[RECORD_HAND_MAX], next[RECORD_HAND_MAX], list[256] = "";
	int len;

	len = derive_hand_set("", 0, "sea", DERIVE_ADDED, hand);
	len = derive_hand_set(hand, (size_t)len, "sun", DERIVE_PINNED, next);
	len = derive_hand_set(next, (size_t)len, "sea", DERIVE_REMOVED, hand);
	derive_hand_each(hand, (size_t)len, hand_count, list);
	is_str(list, "*sun,-sea,", "what is said last of a tag counts");
	len = derive_hand_set(hand, (size_t)len, "sun", DERIVE_NONE, next);
	list[0] = '\0';
	derive_hand_each(next, (size_t)len, hand_count, list);
	is_str(list, "-sea,", "and can be taken back");
	list[0] = '\0';
	derive_hand_each("x\n+\n+ok\n?no\n+\xff\n-also", 20, hand_count, list);
	is_str(list, "+ok,-also,", "lines that are none are left out");
	ok(!derive_tag_valid("") && !derive_tag_valid("a\nb") && !derive_tag_valid("\xff") &&
		   derive_tag_valid("\xe6\x9c\x88"),
	   "tags are text without control characters");
	len = 0;
	for (int i = 0; i < 1000 && len >= 0; i++) {
		char tag[32];

		snprintf(tag, sizeof(tag), "tag number %d", i);
		len = derive_hand_set(hand, (size_t)len, tag, DERIVE_ADDED, next);
		if (len > 0)
			memcpy(hand, next, (size_t)len);
	}
	is_int(len, -ENOSPC, "there is an end to them");
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
	seed |= 1;
	diag("seed %llu", (unsigned long long)seed);
	test_record();
	test_textpool();
	test_near();
	test_rank();
	test_query();
	test_hand();
	return done_testing();
}
