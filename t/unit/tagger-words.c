/* From text to keyphrases and fingerprints. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/words.h"

#include "tap.h"

static struct words *words;
static struct words_result result;

static void feed(const char *text, enum words_zone zone)
{
	words_feed(words, text, strlen(text), zone);
}

static void of(const char *text)
{
	words_reset(words);
	feed(text, ZONE_BODY);
	words_finish(words, &result);
}

/* Its place among the phrases, or -1. */
static int place(const char *stem)
{
	for (size_t i = 0; i < result.n_phrases; i++)
		if (strcmp(result.phrases[i].stem, stem) == 0)
			return (int)i;
	return -1;
}

static int distance(uint64_t a, uint64_t b)
{
	return __builtin_popcountll(a ^ b);
}

static void test_words(void)
{
	of("The lock-free queue is a queue. Lock-free queues of the kernel: queueing, QUEUED!");
	ok(place("queue") == 0, "forms of a word are one, and the most frequent is first");
	ok(place("lock free queue") >= 0 || place("lock free") >= 0,
	   "words that stand together are a phrase");
	ok(place("the") < 0 && place("of") < 0, "stop words are none");
	of("x 12 123456 0xdeadbeef c0ffee00c0ffee00 aGVsbG8gd29ybGQhIQ91827364 a_b");
	ok(place("123456") < 0 && place("12") < 0 && place("c0ffee00c0ffee00") < 0,
	   "nor are numbers");
	of("mail bob@example.org bob@example.org or ftp://host.example/path/to "
	   "ftp://host.example/path/to");
	ok(place("bob") < 0 && place("exampl") < 0 && place("path") < 0, "nor are addresses");
	of("The user's files don't matter to users; user's wishes can't.");
	ok(place("user") == 0 && place("don") < 0 && place("can") < 0,
	   "apostrophes are understood");
	of("");
	is_int(result.n_phrases, 0, "no text has no phrases");
	ok(!result.has_hashes && result.language == NULL, "nor anything else");
}

static void test_zones(void)
{
	words_reset(words);
	feed("apples apples apples bananas", ZONE_BODY);
	feed("cherries", ZONE_TITLE);
	feed("damsons", ZONE_KEYWORDS);
	feed("buffer_pool_create(bufferPool)", ZONE_CODE);
	words_finish(words, &result);
	ok(place("damson") >= 0 && place("damson") < place("banana"),
	   "keywords count more than text");
	ok(place("cherri") >= 0 && place("cherri") < place("banana"), "titles too");
	is_int(result.phrases[place("damson")].zone, ZONE_KEYWORDS, "and the zone is told");
	ok(place("buffer_pool_create") >= 0 &&
		   result.phrases[place("buffer_pool_create")].identifier,
	   "identifiers are kept whole");
	ok(place("buffer pool") >= 0, "and taken apart");
	for (size_t i = 0; i + 1 < result.n_phrases; i++)
		if (result.phrases[i].weight < result.phrases[i + 1].weight)
			ok(false, "the heaviest phrase comes first");
	ok(result.phrases[0].weight == 1, "with weight 1");
}

static void test_languages(void)
{
	of("机器学习模型需要大量数据。机器学习模型的训练很慢。数据是机器学习的基础。");
	is_str(result.language != NULL ? result.language : "", "zh", "Chinese is known");
	ok(place("机器学习") >= 0 || place("学习") >= 0 || place("机器") >= 0,
	   "and cut into words");
	ok(place("的") < 0, "without particles");
	of("Кошка спит на окне, и кошка не видит птицу. Кошки спят.");
	is_str(result.language != NULL ? result.language : "", "ru", "Russian is known");
	ok(place("кошк") == 0, "and stemmed");
	of("Les chats et les chiens sont dans la maison. Le chat dort sur une chaise avec un "
	   "chien.");
	is_str(result.language != NULL ? result.language : "", "fr", "French is known");
	of("Müller's façade ﬁne ＡＢＣ Straße STRASSE straße");
	ok(place("strass") >= 0 || place("strasse") >= 0, "letters are folded to one form");
}

static void test_hashes(void)
{
	char text[8192], other[8192];
	struct words_result first;
	size_t n = 0;
	unsigned int seed = 7;

	for (int i = 0; i < 400; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "word%c%c%c ",
				      'a' + rand_r(&seed) % 26, 'a' + rand_r(&seed) % 26,
				      'a' + rand_r(&seed) % 26);
	of(text);
	first = result;
	ok(first.has_hashes, "a long text has fingerprints");
	memcpy(other, text, sizeof(text));
	memcpy(other + n / 2, "zzzz", 4);
	of(other);
	ok(distance(first.simhash, result.simhash) <= 6,
	   "one word changed: few bits of simhash differ");
	of("quite another text about ships and the sea and all that sails on it in storms and "
	   "calm, with "
	   "captains, sailors, ropes, anchors, harbours, whales, gulls and the long way home at "
	   "last");
	ok(distance(first.simhash, result.simhash) > 12, "another text: many");
}

static void test_key(void)
{
	char key[WORDS_PHRASE_BYTES], text[200];

	ok(words_key(words, "Honey  Bees", key), "a tag that comes whole has a key");
	is_str(key, "honey bee", "as a phrase of a text has");
	ok(words_key(words, "知识图谱", key), "Chinese too");
	is_str(key, "知识图谱", "as it is");
	ok(!words_key(words, "", key) && !words_key(words, "  ", key), "nothing has none");
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ok(!words_key(words, text, key), "nor has what is too long");
}

/* Beyond every limit, with bytes of any kind. */
static void test_limits(void)
{
	size_t len = 4u << 20;
	char *text = malloc(len);
	unsigned int seed = 3;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(i % 7 == 6 ? ' ' : 'a' + rand_r(&seed) % 26);
	words_reset(words);
	words_feed(words, text, len, ZONE_BODY);
	ok(words_full(words), "too much text is enough");
	words_finish(words, &result);
	ok(result.words <= WORDS_TOKENS_MAX && result.n_phrases <= WORDS_PHRASES_MAX,
	   "within the limits");
	for (size_t i = 0; i < len; i++)
		text[i] = (char)rand_r(&seed);
	words_reset(words);
	words_feed(words, text, len, ZONE_CODE);
	words_finish(words, &result);
	ok(true, "noise is survived");
	memset(text, 'a', len);
	words_reset(words);
	words_feed(words, text, len, ZONE_BODY);
	memset(text, 0xe4, len);
	words_feed(words, text, len, ZONE_BODY);
	words_finish(words, &result);
	is_int(result.n_phrases, 0, "a word of megabytes is none");
	free(text);
	of("after all this the words are counted anew: words");
	ok(place("word") == 0, "a reset forgets");
}

int main(void)
{
	words = words_create();
	if (words == NULL)
		return 1;
	test_words();
	test_zones();
	test_languages();
	test_hashes();
	test_limits();
	test_key();
	words_destroy(words);
	return done_testing();
}
