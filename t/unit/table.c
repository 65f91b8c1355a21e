/* Tables: columns as wide as they must be, and nothing of a name reaches the terminal as a command.
 */
#include "config.h"

#include <stdlib.h>

#include "table.h"
#include "tap.h"

static char *printed(const struct table *t, int indent)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	table_print(t, f, indent, "nothing");
	fclose(f);
	return text;
}

static void prints(const struct table *t, int indent, const char *want, const char *name)
{
	char *text = printed(t, indent);

	is_str(text, want, name);
	free(text);
}

int main(void)
{
	static const char *const headings[] = {"NAME", ">SIZE", "NOTE", NULL};
	struct table *t = table_create(headings);
	char *text;

	prints(t, 2, "  nothing\n", "an empty table says so");
	table_cell(t, "a");
	table_cell(t, "%d", 12345);
	table_cell(t, "x");
	prints(t, 0, "NAME   SIZE  NOTE\na     12345  x\n",
	       "words to the left, numbers to the right");
	table_cell(t, "longer name");
	table_cell(t, "1");
	table_cell(t, "%s", "");
	prints(t, 1, " NAME          SIZE  NOTE\n a            12345  x\n longer name      1  -\n",
	       "the longest cell makes the column; nothing is shown as -");
	table_destroy(t);

	t = table_create(headings);
	table_cell(t, "\x1b[31m");
	table_cell(t, "1");
	table_cell(t, "\xc3\xa9t\xc3\xa9");
	prints(t, 0, "NAME   SIZE  NOTE\n?[31m     1  \xc3\xa9t\xc3\xa9\n", "no escape sequences");
	table_cell(t, "half a row");
	prints(t, 0, "NAME   SIZE  NOTE\n?[31m     1  \xc3\xa9t\xc3\xa9\n",
	       "half a row is not shown");
	table_destroy(t);

	t = table_create(headings);
	for (int i = 0; i < 3000; i++)
		table_cell(t, "%d", i);
	text = printed(t, 0);
	ok(strstr(text, "2999") != NULL, "a thousand rows");
	free(text);
	table_destroy(t);
	return done_testing();
}
