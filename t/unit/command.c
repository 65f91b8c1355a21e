/* Configured commands as words, with a name in them, and what their output is made to; what an
 * extent misses without a host. */
#include "config.h"

#include <string.h>

#include "command.h"
#include "power.h"
#include "tap.h"

static struct command_line line, filled;
static const char *why;

static void test_words(void)
{
	is_int(command_parse("  /bin/volctl\tvolume  attach %v ", 'v', &line, &why), 0,
	       "a command is taken");
	ok(line.words == 4 && strcmp(line.word[0], "/bin/volctl") == 0 &&
		   strcmp(line.word[3], "%v") == 0 && line.word[4] == NULL,
	   "as words");
	is_int(command_fill(&line, "vol-1", &filled), 0, "a name is put in");
	ok(filled.words == 4 && strcmp(filled.word[3], "vol-1") == 0 && filled.word[4] == NULL,
	   "as one word");
	is_int(command_parse("/x a%v;b%% '%v", 'v', &line, &why), 0, "it is no shell's");
	ok(command_fill(&line, "n", &filled) == 0 && filled.words == 3 &&
		   strcmp(filled.word[1], "an;b%") == 0 && strcmp(filled.word[2], "'n") == 0,
	   "only %v and %% stand for something");
}

static void test_refused(void)
{
	static const char *const bad[] = {"",	     " ",    "volctl attach", "/x %h",
					  "/x 100%", "/x %", "/%v",	      "/x %%%"};
	char text[COMMAND_TEXT_MAX + 8];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		if (command_parse(bad[i], 'v', &line, &why) == 0 || why == NULL)
			diag("taken: %s", bad[i]);
		ok(command_parse(bad[i], 'v', &line, &why) != 0 && why != NULL,
		   "what is no command is refused");
	}
	memset(text, 'x', sizeof(text));
	text[0] = '/';
	text[sizeof(text) - 1] = '\0';
	ok(command_parse(text, 'v', &line, &why) != 0, "one that is too long is refused");
	for (size_t i = 0; i < 2 * (COMMAND_WORDS_MAX + 1); i += 2)
		memcpy(text + i, "/ ", 2);
	text[2 * (COMMAND_WORDS_MAX + 1)] = '\0';
	ok(command_parse(text, 'v', &line, &why) != 0, "and one with too many words");
	for (size_t i = 0; i < COMMAND_TEXT_MAX - 2; i += 2)
		memcpy(text + i, "%v", 2);
	memcpy(text, "/ ", 2);
	text[COMMAND_TEXT_MAX - 2] = '\0';
	is_int(command_parse(text, 'v', &line, &why), 0, "one that is full of names is taken");
	ok(command_fill(&line, "a-long-name", &filled) != 0, "and not filled beyond its end");
}

static void test_said(void)
{
	static const struct {
		const char *output, *said;
	} cases[] = {
		{"", ""},
		{"\n\n", ""},
		{"one", "one"},
		{"one\ntwo\n\n", "two"},
		{"\x1b[31mred\n", "?[31mred"},
	};
	char said[COMMAND_SAID_MAX], many[COMMAND_SAID_MAX * 2];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		command_last_line(cases[i].output, strlen(cases[i].output), said);
		is_str(said, cases[i].said, "the last line is kept, as text");
	}
	memset(many, 'y', sizeof(many));
	command_last_line(many, sizeof(many), said);
	ok(strlen(said) == COMMAND_SAID_MAX - 1, "a long one is cut");
}

static void test_power(void)
{
	/* 4+2, writes need 5 */
	ok(power_extent(4, 5, 6, 6) == POWER_SAME, "what is elsewhere misses nothing");
	ok(power_extent(4, 5, 6, 5) == POWER_LESS, "one of six: less redundancy");
	ok(power_extent(4, 5, 6, 4) == POWER_WAITING, "two: writes wait");
	ok(power_extent(4, 5, 6, 3) == POWER_UNAVAILABLE, "three: reads, too");
	ok(power_extent(4, 5, 4, 4) == POWER_SAME, "what waits already is not its doing");
	ok(power_extent(4, 5, 4, 3) == POWER_UNAVAILABLE, "but the next one is");
	ok(power_extent(4, 5, 3, 2) == POWER_LESS, "what cannot be read already is not its doing");
	ok(power_extent(1, 1, 1, 0) == POWER_UNAVAILABLE, "without parity any server counts");
}

int main(void)
{
	test_words();
	test_refused();
	test_said();
	test_power();
	return done_testing();
}
