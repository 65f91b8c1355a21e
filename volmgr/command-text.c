/* Words of a command; see command.h. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "command.h"
#include "banned.h"

#define BLANKS " \t"

/* Every % is followed by one more, or by the holder. */
static bool holders_good(const char *word, char holder)
{
	for (; (word = strchr(word, '%')) != NULL; word += 2)
		if (word[1] != '%' && word[1] != holder)
			return false;
	return true;
}

int command_parse(const char *text, char holder, struct command_line *out, const char **why)
{
	char *p = out->text;

	*out = (struct command_line){.words = 0};
	*why = "a command is too long";
	if (strlen(text) >= sizeof(out->text))
		return -EINVAL;
	memcpy(out->text, text, strlen(text) + 1);
	for (p += strspn(p, BLANKS); *p != '\0'; p += strspn(p, BLANKS)) {
		if (out->words == COMMAND_WORDS_MAX)
			return -EINVAL;
		out->word[out->words++] = p;
		p += strcspn(p, BLANKS);
		if (*p != '\0')
			*p++ = '\0';
	}
	*why = "a command begins with the whole path of its program";
	if (out->words == 0 || out->word[0][0] != '/')
		return -EINVAL;
	*why = holder == 'v' ? "in this command %v stands for the volume, %% for %, nothing else"
			     : "in this command %h stands for the host, %% for %, nothing else";
	for (unsigned i = 0; i < out->words; i++)
		if (!holders_good(out->word[i], holder))
			return -EINVAL;
	return strchr(out->word[0], '%') == NULL ? 0 : -EINVAL;
}

int command_fill(const struct command_line *from, const char *name, struct command_line *out)
{
	size_t at = 0, len = strlen(name);

	*out = (struct command_line){.words = from->words};
	for (unsigned i = 0; i < from->words; i++) {
		out->word[i] = out->text + at;
		for (const char *p = from->word[i]; *p != '\0'; p++) {
			bool filled = *p == '%' && *++p != '%';

			if (at + (filled ? len : 1) + 1 >= sizeof(out->text))
				return -ENAMETOOLONG;
			memcpy(out->text + at, filled ? name : p, filled ? len : 1);
			at += filled ? len : 1;
		}
		if (at + 1 >= sizeof(out->text))
			return -ENAMETOOLONG;
		out->text[at++] = '\0';
	}
	return 0;
}

void command_last_line(const char *output, size_t len, char said[COMMAND_SAID_MAX])
{
	size_t begin, n = 0;

	while (len > 0 && (unsigned char)output[len - 1] <= ' ')
		len--;
	for (begin = len; begin > 0 && output[begin - 1] != '\n';)
		begin--;
	/* ASCII only: an answer of the API must be text, whatever a program says */
	for (; begin < len && n < COMMAND_SAID_MAX - 1; begin++)
		said[n++] = output[begin] >= ' ' && output[begin] < 0x7f ? output[begin] : '?';
	said[n] = '\0';
}
